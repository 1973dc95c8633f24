"""Fixed binary records, described as Python's struct does: `--record '<QIIIc'`. Each letter is a column, from 1.

Of struct's language: an order first, < (little-endian), > or ! (big-endian), or = (this machine's); then letters, each with a
count before it if wanted (3I are three columns; 16s is one of sixteen bytes). x is a byte of padding and no column. Native
sizes and padding (@, or no order) depend on a compiler and are refused. Roles of columns are as in `columns`.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import TraceError, UsageError
from agewalk.trace.convert.cells import Objects, Operations
from agewalk.trace.convert.columns import PLACES, Columns, pages_of, time_unit
from agewalk.trace.convert.source import MAX_TOUCHED, Source
from agewalk.trace.convert.text import Rows
from agewalk.trace.format import Batch

LETTERS: Final = {
    "b": "i1", "B": "u1", "?": "u1", "h": "i2", "H": "u2", "i": "i4", "I": "u4", "l": "i4", "L": "u4", "q": "i8", "Q": "u8",
    "e": "f2", "f": "f4", "d": "f8", "c": "S1",
}  # fmt: skip
MAX_RECORD: Final = 1 << 16  # bytes
MAX_COLUMNS: Final = 1 << 10
_ORDER: Final = {"<": "<", ">": ">", "!": ">", "=": "="}
_AT_ONCE: Final = 1 << 18  # rows


def record_type(record: str) -> np.dtype[np.void]:
    """The record as columns "1", "2" ... with their places in it. Raises UsageError for what cannot be read."""
    hint = "as in --record '<QIIIc': < or >, then letters of Python's struct module"
    text = record.strip()
    if not text or text[0] == "@" or text[0] not in _ORDER:
        raise UsageError(
            f"record {record[:40]!r} has native sizes and padding, which depend on a compiler",
            hint="begin with < (little-endian) or > (big-endian), and write padding as x, as in '<IxxxxQ'",
        )
    order = _ORDER[text[0]]
    body = text[1:]
    formats: list[str] = []
    offsets: list[int] = []
    place = at = 0
    while at < len(body):
        match = re.compile(r"\s*([0-9]*)(\S)").match(body, at)
        if match is None:
            break
        at = match.end()
        digits, letter = match.groups()
        if len(digits) > 6:
            raise UsageError(f"record {record[:40]!r}: a count of {digits[:12]}... is too large", hint=hint)
        count = int(digits or 1)
        if letter not in LETTERS and letter not in "xs":
            native = " (native sizes alone)" if letter in "nNP" else ""
            raise UsageError(
                f"record {record[:40]!r}: unknown letter {letter!r}{native}", hint=f"known are x s {' '.join(LETTERS)}"
            )
        width = 1 if letter in "xs" else np.dtype(LETTERS[letter]).itemsize
        if place + count * width > MAX_RECORD or len(formats) + (count if letter not in "xs" else 1) > MAX_COLUMNS:
            raise UsageError(
                f"record {record[:40]!r} is longer than {MAX_RECORD} bytes or has over {MAX_COLUMNS} columns", hint=hint
            )
        if letter == "s" and count:
            formats.append(f"S{count}")
            offsets.append(place)
        elif letter in LETTERS:
            formats += [order + LETTERS[letter] if width > 1 else LETTERS[letter]] * count
            offsets += [place + i * width for i in range(count)]
        place += count * width
    if not place:
        raise UsageError(f"record {record[:40]!r} has no bytes", hint=hint)
    names = [str(i) for i in range(1, len(formats) + 1)]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": place})


class RecordReader:
    """Reads a file of fixed records."""

    def __init__(self, record: str, columns: Columns, max_touched: int = MAX_TOUCHED) -> None:
        columns.check()
        self._type = record_type(record)
        self._columns = columns
        self._max_touched = max_touched
        self._index = {role: self._column(column, role) for role, column in columns.asked().items()}
        self._place = next((p for p in PLACES if p in self._index), "")
        if not self._place:
            raise UsageError(
                "no column says which page was touched",
                hint="number it with --object-column, --address-column or --gfn-column, as in --object-column 1",
            )
        if "time" in self._index and self._kind("time") == "S":
            raise UsageError(f"column {self._index['time']} is text, not a time", hint="see --time-column")
        for role in ("gfn", "address", "size", "vcpu"):
            if role in self._index and self._kind(role) not in "iu":
                raise UsageError(f"column {self._index[role]} is no whole number", hint=f"see --{role}-column")

    def _kind(self, role: str) -> str:
        return self._type[self._index[role]].kind

    def _column(self, asked: str, role: str) -> str:
        if not re.fullmatch(r"[0-9]{1,4}", asked) or not 1 <= int(asked) <= len(self._type.names or ()):
            raise UsageError(
                f"no column {asked[:40]!r} for {role}: the record has columns 1 to {len(self._type.names or ())}",
                hint="columns of records are numbered from 1; x is padding and no column",
            )
        return str(int(asked))

    def read(self, source: Source) -> Iterator[Batch]:
        """Accesses. Raises TraceError with the record's number (from 0)."""
        account = source.account
        source.row_name = "record"
        unit = time_unit(self._columns.time_unit or "s")
        if "time" not in self._index:
            account.assume("no column of times: the n-th record is at n nanoseconds (--time-column)")
        elif self._columns.time_unit is None:
            account.assume("times are seconds (--time-unit says otherwise)")
        times = _Times(source, unit.numerator, unit.denominator, guessed=self._columns.time_unit is None)
        objects = Objects(source)
        operations = Operations(source, self._columns)
        done = 0
        for block in source.records(self._type.itemsize):
            every = np.frombuffer(block, self._type)
            for low in range(0, len(every), _AT_ONCE):
                part = every[low : low + _AT_ONCE]
                yield from self._rows(source, part, done, times, objects, operations)
                done += len(part)

    def _rows(
        self,
        source: Source,
        part: NDArray[np.void],
        done: int,
        times: "_Times",
        objects: Objects,
        operations: Operations,
    ) -> Iterator[Batch]:
        index = self._index
        time = times.take(part[index["time"]], done) if "time" in index else np.arange(done, done + len(part))
        if self._place == "object":
            page = self._objects(part[index["object"]], done, objects)
        else:
            page = self._whole(source, part[index[self._place]], done, self._place)
        vcpu = self._whole(source, part[index["vcpu"]], done, "vcpu") if "vcpu" in index else 0
        if np.max(vcpu) > 255:
            at = done + int(np.argmax(vcpu > np.uint64(255)))
            raise source.error(f"record {at}: vcpu is over 255", hint="is --vcpu-column right?")
        write = self._writes(part[index["write"]], done, operations) if "write" in index else False
        rows = Batch.of(time, page, vcpu=vcpu, write=write)
        size = self._whole(source, part[index["size"]], done, "size") if "size" in index else None
        if size is not None:
            source.account.skip("requests of size 0", int((size == 0).sum()))
            rows, size = rows.take(size > 0), size[size > 0]
        source.account.used += len(rows)
        if self._place == "address" and size is not None:
            yield from self._requests(source, rows, size, done)
        else:
            if self._place == "address":
                rows = Batch(rows.time_ns, rows.vcpu, rows.gfn >> np.uint64(12), rows.write, rows.context)
            if len(rows):
                yield rows

    def _requests(self, source: Source, rows: Batch, size: NDArray[np.uint64], done: int) -> Iterator[Batch]:
        """Every page of [address, address + size) of each row."""
        out = Rows()
        columns = (rows.time_ns, rows.gfn, size, rows.vcpu, rows.write)
        for time, address, length, vcpu, write in zip(*(c.tolist() for c in columns), strict=True):
            first, pages = pages_of(address, length)
            if pages << 12 > self._max_touched or first + pages > 1 << 52:
                raise source.error(
                    f"records from {done} on: a request of {length} bytes at {address:#x} is too large",
                    hint="is --size-column right? --max-touched allows more",
                )
            yield from out.add(time, first, pages, vcpu, write)
        yield from out.finish()

    def _whole(self, source: Source, values: NDArray[Any], done: int, what: str) -> NDArray[np.uint64]:
        if values.dtype.kind == "i" and len(values) and (below := values < 0).any():
            at = int(below.argmax())
            raise source.error(f"record {done + at}: {what} is {values[at]}", hint="is the record described right?")
        return values.astype(np.uint64)

    def _objects(self, values: NDArray[Any], done: int, objects: Objects) -> NDArray[np.uint64]:
        if values.dtype.kind == "u":
            return values.astype(np.uint64)
        if values.dtype.kind == "i":
            return values.astype(np.int64).view(np.uint64)
        kinds, inverse = np.unique(values, return_inverse=True)
        first = np.full(len(kinds), len(values))
        np.minimum.at(first, inverse, np.arange(len(values)))
        keys = np.zeros(len(kinds), np.uint64)
        for i in np.argsort(first).tolist():
            keys[i] = objects.text_key(_text(kinds[i]))
        return keys[inverse]

    def _writes(self, values: NDArray[Any], done: int, operations: Operations) -> NDArray[np.bool_]:
        kinds, at, inverse = np.unique(values, return_index=True, return_inverse=True)
        said = [operations.is_write(_text(kind), done + place) for kind, place in zip(kinds, at.tolist(), strict=True)]
        return np.array(said, np.bool_)[inverse]


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


class _Times:
    """Times of records as nanoseconds since the first record's."""

    def __init__(self, source: Source, numerator: int, denominator: int, *, guessed: bool) -> None:
        self._source = source
        self._numerator, self._denominator = numerator, denominator
        self._guessed = guessed
        self._origin: Any = None
        self._last = 0

    def take(self, values: NDArray[Any], done: int) -> NDArray[np.uint64]:
        """Nanoseconds of the next records. Raises TraceError for times that run back, are negative or too large."""
        if values.dtype.kind == "f":
            values = values.astype(np.float64)
            if not np.isfinite(values).all():
                at = int(np.argmin(np.isfinite(values)))
                raise self._error(done + at, f"time is {values[at]}")
        else:
            values = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64)
        self._origin = values[0] if self._origin is None else self._origin
        if self._guessed and abs(float(values[-1])) >= 10**11:
            raise self._error(done + len(values) - 1, f"time is {values[-1]}, no number of seconds")
        back = np.concatenate([values[:1] < self._origin, values[1:] < values[:-1]])
        if back.any():
            at = int(back.argmax())
            raise self._error(
                done + at, f"time runs back to {values[at]}", "sort the file by time; is --time-column right?"
            )
        if float(values[-1]) - float(self._origin) >= 2**63 * self._denominator / self._numerator:
            raise self._error(done + len(values) - 1, f"time {values[-1]} is too large")
        if values.dtype.kind == "f":
            scaled = (values - self._origin) * (self._numerator / self._denominator)
            time: NDArray[np.uint64] = np.rint(scaled).astype(np.uint64)
        else:
            since = (values - self._origin).astype(np.uint64)
            per, unit = np.uint64(self._denominator), np.uint64(self._numerator)
            time = since // per * unit + since % per * unit // per
        if int(time[0]) < self._last:
            raise self._error(done, f"time runs back to {values[0]}", "sort the file by time; is --time-column right?")
        self._last = int(time[-1])
        return time

    def _error(self, record: int, problem: str, hint: str = "is --time-column or --time-unit right?") -> TraceError:
        return self._source.error(f"record {record}: {problem}", hint=hint)
