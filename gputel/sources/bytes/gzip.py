"""The contents of a gzip file."""

from __future__ import annotations

import zlib

from gputel.sources.bytes.packed import PackedBytes

_GZIP_WBITS = 16 + zlib.MAX_WBITS
_COMPRESSED_BYTES = 32 * 1024


class GzipBytes(PackedBytes):
    """The contents of all members of a gzip file, up to its end or its first damage.

    Everything that can be decompressed before the damage is read.
    """

    def _begin(self) -> None:
        self._inflater = zlib.decompressobj(_GZIP_WBITS)
        self._compressed = b""
        self._salvaged = b""

    def _next(self, limit: int) -> bytes:
        while not self.damage and self._feed():
            before = self._inflater.copy()
            try:
                data = self._inflater.decompress(self._compressed, limit)
            except zlib.error as error:
                self._salvage(before, str(error))
                break
            self._compressed = self._inflater.unconsumed_tail
            if data:
                return data
        data, self._salvaged = self._salvaged[:limit], self._salvaged[limit:]
        return data

    def _feed(self) -> bool:
        """Read compressed bytes if none are left in the buffer; False at the end of the file."""
        if self._inflater.eof:
            self._compressed = self._inflater.unused_data.lstrip(b"\0")
        if not self._compressed:
            self._compressed = self._read_compressed()
        if self._inflater.eof:
            self._compressed = self._compressed.lstrip(b"\0")
            if self._compressed:
                self._inflater = zlib.decompressobj(_GZIP_WBITS)
        elif not self._compressed:
            self.damage = "the gzip data ends in its middle"
        return bool(self._compressed)

    def _read_compressed(self) -> bytes:
        buffer = bytearray(_COMPRESSED_BYTES)
        return bytes(buffer[: self._raw.read_into(memoryview(buffer))])

    def _salvage(self, inflater: zlib._Decompress, error: str) -> None:
        """Decompress byte by byte up to the damage; a larger step would lose what is before it."""
        pieces = []
        try:
            for place in range(len(self._compressed)):
                pieces.append(inflater.decompress(self._compressed[place : place + 1]))
        except zlib.error:
            pass
        self._salvaged = b"".join(pieces)
        self.damage = f"the gzip data is damaged ({error})"
