"""Why a GET failed, in a few plain words that are the same each time."""

from __future__ import annotations

import errno
import re
import ssl

import aiohttp

from gputel.masking import mask
from gputel.printable import printable
from gputel.streamer.scrape.http.body import ENDED_EARLY

_ERRNO = re.compile(r"\[Errno (\d+)\]")
_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "the connection was reset",
    errno.EPIPE: "the connection was reset",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "no route to the host",
    errno.ETIMEDOUT: "the host does not answer",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this machine has too many open files",
}


def reason_of(error: Exception, host: str) -> str:
    """The reason for what aiohttp or the system raised while it talked to the host."""
    tls = _tls_reason(error) or _tls_reason(error.__cause__)
    if tls:
        return tls
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {printable(host)} does not resolve"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return ENDED_EARLY
    if isinstance(error, aiohttp.InvalidURL):
        return "the URL cannot be used"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    return _system_reason(error)


def _tls_reason(error: BaseException | None) -> str | None:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {printable(error.verify_message)}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        error = error.os_error
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "it ended early").replace("_", " ").lower()
        return f"no TLS with the server: {reason}"
    return None


def _system_reason(error: Exception) -> str:
    """The reason in an OSError, which may hold one for each address of a name."""
    numbers = [int(number) for number in _ERRNO.findall(str(error))]
    if isinstance(error, OSError) and error.errno:
        numbers.insert(0, error.errno)
    for number, words in _WORDS.items():
        if number in numbers:
            return words
    return mask(printable(" ".join(str(error).split()))[:200]) or type(error).__name__
