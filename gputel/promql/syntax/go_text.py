"""Numbers and strings as Go reads and writes them: PromQL's literals are Go's.

Source: strconv of Go, and util/strutil/quote.go of Prometheus.
"""

from __future__ import annotations

import math
import re

_INTEGER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+")
_NAMED = re.compile(r"[+-]?(?:inf|infinity)|nan", re.IGNORECASE)
_INT64 = 2**63

_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
           "\\": "\\", "'": "'", '"': '"'}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))",
    re.DOTALL,
)
_SHOWN = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t",
          "\v": r"\v", "\\": r"\\", '"': r"\""}  # fmt: skip


def parse_float(text: str) -> float:
    """A number in all the forms that Go's ParseFloat takes. Raises ValueError for others."""
    if _HEX.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            raise ValueError(f"value out of range: {text[:100]}") from None
    if not (_DECIMAL.fullmatch(text) or _NAMED.fullmatch(text)):
        raise ValueError(f"invalid syntax: {text[:100]}")
    value = float(text)
    if math.isinf(value) and _DECIMAL.fullmatch(text):
        raise ValueError(f"value out of range: {text[:100]}")
    return value


def parse_number(text: str) -> float:
    """A number of an expression: an integer by Go's rules (``010`` is 8), or a float."""
    if _INTEGER.fullmatch(text):
        base = 16 if text[:2] in ("0x", "0X") else 8 if text[0] == "0" else 10
        if len(text) < 70 and (value := int(text, base)) < _INT64:
            return float(value)
    return parse_float(text)


def format_float(value: float) -> str:
    """The number in the fewest digits, with an exponent from 1e+06 on and below 0.0001."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    digits, exponent = _digits(value)
    if -4 <= exponent < 6:
        return plain_float(value)
    sign = "-" if math.copysign(1, value) < 0 else ""
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def plain_float(value: float) -> str:
    """The number in the fewest digits, never with an exponent."""
    if not math.isfinite(value):
        return format_float(value)
    digits, exponent = _digits(value)
    sign = "-" if math.copysign(1, value) < 0 else ""
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _digits(value: float) -> tuple[str, int]:
    """The shortest digits that tell the number apart, and the exponent of the first of them."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    first = len(digits) - len(fraction) - 1 + int(exponent or 0)
    return digits.rstrip("0") or "0", first if digits else 0


def unquoted(text: str) -> str:
    """The text of a literal in double, single or back quotes.

    Back quotes take everything as it is. Raises ValueError for an escape that Go does not know.
    """
    quote, inside = text[0], text[1:-1]
    if quote == "`" or "\\" not in inside:
        return inside
    parts: list[bytes] = []
    last = 0
    for match in _ESCAPE.finditer(inside):
        parts += [inside[last : match.start()].encode(), _escaped(match, quote)]
        last = match.end()
    parts.append(inside[last:].encode())
    return b"".join(parts).decode(errors="replace")


def _escaped(match: re.Match[str], quote: str) -> bytes:
    simple, octal, byte, short, long, unknown = match.groups()
    if simple and (simple not in "'\"" or simple == quote):
        return _SIMPLE[simple].encode()
    if octal or byte:
        code = int(octal, 8) if octal else int(byte, 16)
        if code > 255:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return bytes([code])
    if short or long:
        code = int(short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return chr(code).encode()
    shown = simple or unknown
    raise ValueError(
        f"unknown escape sequence U+{ord(shown):04X} '{shown}': write \\\\ for a backslash, or put "
        "the text in backquotes"
        if shown
        else "escape sequence not terminated"
    )


def quoted(text: str) -> str:
    """The text as a literal in double quotes."""
    return '"' + "".join(map(_shown, text)) + '"'


def _shown(char: str) -> str:
    if char in _SHOWN:
        return _SHOWN[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
