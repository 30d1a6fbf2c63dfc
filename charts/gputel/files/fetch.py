"""Fetch the file that OBJECT_URL names to the path given, whole, checked and once.

A failure that may pass is tried again for ten minutes; then, or at once for what cannot pass, the
exit status is 1 with one line that says why. OBJECT_AUTHORIZATION is the value of that header,
OBJECT_SHA256 what the content must have. HTTPS_PROXY counts for https:// addresses, whose headers a
proxy cannot read; http:// addresses are asked directly, whatever HTTP_PROXY says.
"""

import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

BLOCK = 1 << 20
PATIENCE_S = float(os.environ.get("OBJECT_PATIENCE_S", "600"))
PASSING = (408, 425, 429, 500, 502, 503, 504)
TUNNEL = urllib.request.ProxyHandler(
    {scheme: proxy for scheme, proxy in urllib.request.getproxies().items() if scheme == "https"}
)


def main() -> int:
    """Fetch until it is there, or cannot come."""
    url, target = os.environ["OBJECT_URL"], Path(sys.argv[1])
    if not url.startswith(("http://", "https://")):
        return told(f"OBJECT_URL: {shown(url)} is not an http:// or https:// address")
    until, pause_s = time.monotonic() + PATIENCE_S, 1.0
    while True:
        try:
            size, digest = fetch(url, target)
        except urllib.error.HTTPError as error:
            reason, may_pass = f"answered {error.code} {error.reason}", error.code in PASSING
        except (ValueError, http.client.InvalidURL):  # whose words quote what they refuse
            return told(f"{shown(url)}: OBJECT_URL or OBJECT_AUTHORIZATION cannot be sent as it is")
        except http.client.HTTPException as error:
            reason, may_pass = f"broke the protocol ({type(error).__name__})", True
        except OSError as error:
            reason, may_pass = str(getattr(error, "reason", error)), True
        else:
            return verdict(url, target, size, digest)
        if not may_pass or time.monotonic() + pause_s > until:
            return told(f"{shown(url)}: {reason}")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 30.0)


def fetch(url: str, target: Path) -> tuple[int, str]:
    """Bring the file beside the target; its size, and its sha256 in hex."""
    request = urllib.request.Request(url, headers={"User-Agent": "gputel"})
    if authorization := os.environ.get("OBJECT_AUTHORIZATION", "").strip():
        request.add_unredirected_header("Authorization", authorization)
    opener = urllib.request.build_opener(Redirects, TUNNEL)
    size, content = 0, hashlib.sha256()
    with opener.open(request, timeout=60) as reply, partial(target).open("wb") as file:
        while block := reply.read(BLOCK):
            file.write(block)
            content.update(block)
            size += len(block)
        expected = reply.headers.get("Content-Length")
    if expected is not None and size != int(expected):
        raise OSError(f"broke off after {size} of {expected} bytes")
    return size, content.hexdigest()


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and shows the secret to nobody but the host that it is for."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # noqa: D102
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme != "https" and (before.scheme == "https" or after.scheme != "http"):
            reason = f"a redirect from {before.scheme} to {after.scheme}, which is not followed"
            raise urllib.error.HTTPError(req.full_url, code, reason, headers, fp)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        secret = req.unredirected_hdrs.get("Authorization")
        if request is not None and secret and origin(before) == origin(after):
            request.add_unredirected_header("Authorization", secret)
        return request


def origin(url) -> tuple[str, str | None, int | None]:
    """Scheme, host and port."""
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def verdict(url: str, target: Path, size: int, digest: str) -> int:
    """Give the file its name, if it is the one that was asked for."""
    wanted = os.environ.get("OBJECT_SHA256", "").lower()
    if wanted and wanted != digest:
        return told(f"{shown(url)}: has the sha256 {digest}, not the {wanted} that was asked for")
    partial(target).replace(target)
    print(f"{target}: {size} bytes, sha256 {digest}")
    return 0


def partial(target: Path) -> Path:
    """The name of a file that is not whole yet."""
    return target.with_name(target.name + ".part")


def shown(url: str) -> str:
    """The URL without its query, which may be a signature, and without a password."""
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:  # a password with one of / ? # in it
        return f"{scheme}://***"
    host, slash, path = re.split("[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def printable(text: str) -> str:
    """The text with escapes for what a terminal or a log would take for more than text."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def told(problem: str) -> int:
    """Say what is wrong; the exit status for it."""
    print("fetch: " + printable(problem), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
