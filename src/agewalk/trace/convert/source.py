"""Other tools' files as streams of bytes, blocks of lines or fixed records, plain or compressed, with progress."""

import io
import os
import shutil
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self

from agewalk.core.errors import TraceError, UsageError
from agewalk.trace.convert.account import Account
from agewalk.trace.convert.xz import XzStream

BLOCK: Final = 1 << 22  # bytes read at once
MAX_LINE: Final = 1 << 16  # bytes; no format that is read here has lines anywhere near
MAX_TOUCHED: Final = 1 << 36  # bytes that one row or snapshot touches, unless more is asked for: 64 GiB
_MAGIC: Final[dict[bytes, Literal["gzip", "zstd", "bz2", "xz"]]] = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
}


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines: the number of the first (from 1) and their bytes, each line ended by a newline."""

    first: int
    data: bytes


STDIN: Final = "-"


def has_passes(path: str | Path) -> bool:
    """Whether a file can be read more than once: a pipe, a terminal or a socket cannot. What is not there is told by `Source`."""
    try:
        mode = (os.fstat(0) if str(path) == STDIN else Path(path).stat()).st_mode
    except (OSError, ValueError):
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def name_of(path: str | Path) -> str:
    """A source as messages call it."""
    return "standard input" if str(path) == STDIN else str(path)


@contextmanager
def kept(path: str | Path) -> Iterator[Path]:
    """A pipe's content in a temporary file, which can be read more than once. Raises UsageError if it does not fit."""
    with NamedTemporaryFile(prefix="agewalk-", suffix=".pipe") as file:
        try:
            with open(0, "rb", closefd=False) if str(path) == STDIN else Path(path).open("rb") as pipe:
                shutil.copyfileobj(pipe, file, BLOCK)
            file.flush()
        except OSError as e:
            raise UsageError(
                f"{name_of(path)}: cannot be kept in {file.name}: {e.strerror}",
                hint="name another directory in TMPDIR, or say --numbering, so that the pipe is read once",
            ) from None
        yield Path(file.name)


class _Counted(io.RawIOBase):
    """A file from its first byte on, whose first bytes have been looked at; counts what is taken. Nothing seeks in it."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.head = raw.read(max(map(len, _MAGIC)))
        self._ahead = self.head
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        cut = len(self._ahead) if size < 0 else size
        data, self._ahead = self._ahead[:cut], self._ahead[cut:]
        data = data or self._raw.read(size)
        self.taken += len(data)
        return data


class Source:
    """An open file of another tool; a context manager. gzip, zstd, bzip2 and xz are recognised by their first bytes.

    `account` is where a reader says what it did with each row. packed: whether to look for compression. "-" is standard
    input. A pipe will do: it is read once, from its beginning (`has_passes`).
    Raises TraceError for a file that cannot be read or a compressed stream that is cut or damaged.
    """

    def __init__(self, path: str | Path, *, packed: bool = True, name: str = "") -> None:
        self.path = Path(path)
        self.account = Account()
        self.row_name = "line"  # as errors call a row
        self._packed = packed
        self._lines = 0
        self.name = name or name_of(path)
        self._raw: BinaryIO | None = None
        self._begin: int | None = None
        self._counted: _Counted | None = None
        self._stream: Any = None

    @property
    def consumed(self) -> int:
        """Bytes of the file on disk taken so far."""
        return 0 if self._counted is None else self._counted.taken

    def __enter__(self) -> Self:
        try:
            if str(self.path) == STDIN:
                self._raw = open(0, "rb", closefd=False)
                self._begin = self._raw.tell() if has_passes(STDIN) else None
            else:
                self._raw = self.path.open("rb")
            self._counted = _Counted(self._raw)
        except FileNotFoundError:
            raise TraceError(f"{self.name}: no such file") from None
        except IsADirectoryError:
            raise TraceError(f"{self.name}: is a directory", hint="name one file") from None
        except (OSError, ValueError) as e:
            raise TraceError(f"{self.name}: cannot be read: {getattr(e, 'strerror', None) or e}") from None
        magic = self._counted.head
        if not magic:
            raise self.error("the file is empty (0 bytes)", hint="did the tool that should have written it run?")
        kind = next((k for m, k in _MAGIC.items() if magic.startswith(m)), None) if self._packed else None
        self._stream = self._counted
        if kind:
            self.account.assume(f"compressed with {kind}, by its first bytes (--no-packed reads them as they are)")
        if kind == "xz":
            self._stream = XzStream(self._counted)
        elif kind:
            import pyarrow as pa

            self._stream = pa.CompressedInputStream(self._counted, kind)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._raw is not None:
            if self._begin is not None:
                os.lseek(0, self._begin, os.SEEK_SET)  # standard input from a file is read from its beginning again
            self._raw.close()

    def error(self, problem: str, *, line: int | None = None, hint: str = "") -> TraceError:
        """A TraceError that names the file, and the line if given."""
        where = "" if line is None else f", {self.row_name} {line}"
        return TraceError(f"{self.name}{where}: {problem}", hint=hint)

    def read(self, size: int) -> bytes:
        """At most `size` decompressed bytes; none at the end."""
        try:
            return bytes(self._stream.read(size))
        except (OSError, ValueError, EOFError) as e:
            text = " ".join(str(e).split())[:120]
            raise self.error(f"cannot be read on: {text}", hint="the file is truncated or damaged") from None

    def audit(self) -> None:
        """Raise TraceError unless the account of a text speaks of every line that was read."""
        told = self.account.rows + self.account.aside.total()
        if self._lines and told != self._lines:
            hint = "this is a fault in agewalk: please report it with the file's first lines"
            raise self.error(f"{self._lines} lines were read, and {told} accounted for", hint=hint)

    def read_all(self, limit: int) -> bytes:
        """Everything, also out of a zlib stream (damo's json_compressed), refused when larger than `limit`."""
        parts: list[bytes] = []
        total = 0
        unzip = None
        while data := self.read(BLOCK):
            if not parts and total == 0 and unzip is None and data[:1] == b"\x78":
                unzip = zlib.decompressobj()
            if unzip is not None:
                try:
                    data = unzip.decompress(data, limit + 1 - total)
                except zlib.error as e:
                    raise self.error(f"damaged zlib stream: {e}", hint="the file is truncated or damaged") from None
                if unzip.unused_data:
                    raise self.error(
                        "something follows the zlib stream", hint="the file is damaged, or put together from several"
                    )
            parts.append(data)
            total += len(data)
            if total > limit:
                raise self.error(f"larger than {limit >> 20} MiB", hint="record in several shorter files")
        if unzip is not None and not unzip.eof:
            raise self.error("the zlib stream is cut short", hint="the file is truncated: copy or record it again")
        return b"".join(parts)

    def records(self, size: int) -> Iterator[bytes]:
        """Blocks of whole records of `size` bytes. Raises TraceError if the last one is incomplete."""
        rest = b""
        done = 0
        while data := self.read(BLOCK):
            data = rest + data if rest else data
            whole = len(data) - len(data) % size
            rest = data[whole:]
            done += whole
            if whole:
                yield data[:whole]
        if rest:
            raise self.error(
                f"ends inside a record: {len(rest)} of {size} bytes at byte {done}",
                hint="the file is truncated, or not of this format",
            )

    def lines(self, *, open_end: bool = False) -> Iterator[Lines]:
        """Blocks of whole lines. Raises TraceError for a line that is too long or a last one without its newline.

        open_end: the last line may lack its newline; the account says so, for the file may be truncated there.
        """
        rest = b""
        line = 1
        while data := self.read(BLOCK):
            data = rest + data if rest else data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            if len(rest) > MAX_LINE:
                at = line + data.count(b"\n")
                raise self.error(
                    f"more than {MAX_LINE} bytes without a newline", line=at, hint="not a text of this format"
                )
            if cut:
                count = data.count(b"\n", 0, cut)
                self._lines += count
                yield Lines(line, data[:cut])
                line += count
        if rest and open_end:
            self.account.assume("the last line has no newline at its end, and is taken as complete")
            self._lines += 1
            yield Lines(line, rest + b"\n")
        elif rest:
            raise self.error(
                "the last line has no newline at its end",
                line=line,
                hint="the file is truncated: record or copy it again",
            )
