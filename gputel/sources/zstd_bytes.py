"""The contents of a zstd file."""

from __future__ import annotations

import io

import pyarrow as pa

from gputel.sources.byte_stream import PlainBytes

_STEP_BYTES = 64 * 1024


class ZstdBytes:
    """The contents of a zstd file, all its frames, up to its end or its first damage.

    What is handed out before a damage ends at most 64 KiB before it.
    """

    seekable = False

    def __init__(self, raw: PlainBytes) -> None:
        self.damage: str | None = None
        self._raw = raw
        self._restart()

    def _restart(self) -> None:
        self._raw.seek(0)
        self.damage = None
        self._unpacked = pa.CompressedInputStream(pa.PythonFile(_Packed(self._raw), "r"), "zstd")

    def read_into(self, view: memoryview) -> int:
        """See ByteStream."""
        data = self._next(min(len(view), _STEP_BYTES))
        view[: len(data)] = data
        return len(data)

    def _next(self, limit: int) -> bytes:
        if self.damage:
            return b""
        try:
            data: bytes = self._unpacked.read(limit)
        except (OSError, pa.ArrowException) as error:
            cut = "Truncated" in str(error)
            what = "ends in its middle" if cut else f"is damaged ({error})"
            self.damage = f"the zstd data {what}"
            return b""
        return data

    def seek(self, offset: int) -> None:
        """See ByteStream."""
        self._restart()
        while offset:
            data = self._next(min(offset, _STEP_BYTES))
            if not data:
                return
            offset -= len(data)

    def twin(self) -> ZstdBytes:
        """See ByteStream."""
        return ZstdBytes(self._raw.twin())

    def fingerprint(self) -> str:
        """See ByteStream; it is of the compressed bytes."""
        return self._raw.fingerprint()

    def close(self) -> None:
        """See ByteStream."""
        self._raw.close()


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
