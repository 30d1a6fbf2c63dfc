"""Opens a source file in the format that its first bytes show; its name does not matter."""

from __future__ import annotations

from pathlib import Path

from gputel.errors import SourceError
from gputel.sources.bytes.gzip import GzipBytes
from gputel.sources.bytes.stream import ByteStream, PlainBytes

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_OTHERS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"PAR1": "Parquet",
}


def open_bytes(path: Path, descriptor: int | None = None) -> ByteStream:
    """The unpacked bytes of a file. Raises SourceError if gputel cannot read its format.

    If the ``descriptor`` of an open file is given, ``path`` is only its name in errors.
    """
    plain = PlainBytes.open(path, descriptor)
    if not plain.size:
        raise SourceError(f"{path}: is empty; a DCGM CSV starts with a header line")
    magic = plain.read_at(0, 8)
    if magic.startswith(_GZIP_MAGIC):
        return GzipBytes(plain)
    if magic.startswith(_ZSTD_MAGIC):
        from gputel.sources.bytes.zstd import ZstdBytes

        return ZstdBytes(plain)
    for known, name in _OTHERS.items():
        if magic.startswith(known):
            raise SourceError(f"{path}: is a {name} file; unpack it to CSV, or use gzip or zstd")
    return plain
