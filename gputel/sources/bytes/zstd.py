"""The contents of a zstd file."""

from __future__ import annotations

import io

import pyarrow as pa

from gputel.sources.bytes.packed import PackedBytes
from gputel.sources.bytes.stream import PlainBytes

_STEP_BYTES = 64 * 1024


class ZstdBytes(PackedBytes):
    """The contents of all frames of a zstd file, up to its end or its first damage.

    At most the last 64 KiB before a damage are not read.
    """

    def _begin(self) -> None:
        self._unpacked = pa.CompressedInputStream(pa.PythonFile(_Packed(self._raw), "r"), "zstd")

    def _next(self, limit: int) -> bytes:
        if self.damage:
            return b""
        try:
            data: bytes = self._unpacked.read(min(limit, _STEP_BYTES))
        except (OSError, pa.ArrowException) as error:
            cut = "Truncated" in str(error)
            what = "ends in its middle" if cut else f"is damaged ({error})"
            self.damage = f"the zstd data {what}"
            return b""
        return data


class _Packed(io.RawIOBase):
    """The compressed bytes, as Arrow reads a file of Python's."""

    def __init__(self, raw: PlainBytes) -> None:
        self._raw = raw

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """As PlainBytes.read_into."""
        return self._raw.read_into(memoryview(buffer))
