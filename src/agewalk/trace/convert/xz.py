"""xz files as streams of bytes. The standard library's LZMAFile ignores what follows the last stream; this one refuses it."""

import lzma
from typing import Final, Protocol

_TAKEN: Final = 1 << 16  # compressed bytes at once
_MEMORY: Final = 1 << 28  # bytes that the decoder may take: xz -9 wants 65 MiB


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class XzStream:
    """Decompressed bytes of one or more xz streams. Raises OSError for what is damaged, cut short or no xz."""

    def __init__(self, raw: _Readable) -> None:
        self._raw = raw
        self._decoder: lzma.LZMADecompressor | None = None
        self._ahead = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        while True:
            if self._decoder is None or (self._decoder.needs_input and not self._ahead):
                self._ahead = self._ahead or self._raw.read(_TAKEN)
                if self._decoder is None:
                    self._ahead = self._ahead.lstrip(b"\0")  # streams are padded with zeros
                    if not self._ahead:
                        if self._raw_ended():
                            return b""
                        continue
                    self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
                elif not self._ahead:
                    raise OSError("the xz stream is cut short")
            try:
                data = self._decoder.decompress(self._ahead, size)
            except lzma.LZMAError as e:
                raise OSError(f"xz: {e}") from None
            self._ahead = b""
            if self._decoder.eof:
                self._ahead = self._decoder.unused_data
                self._decoder = None
            if data:
                return data

    def _raw_ended(self) -> bool:
        self._ahead = self._raw.read(_TAKEN)
        return not self._ahead
