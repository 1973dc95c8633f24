"""Separated text, as libCacheSim reads it, or any with a time and a page, address or object column.

Columns are named (by the header) or numbered from 1, as libCacheSim does. What is not said is looked up by its usual
name; the first that is there is taken:

    time      time_ns (nanoseconds), time, timestamp, clock_time, ts, real_time (seconds)
    gfn       gfn, page                 a page number
    address   address, addr, vaddr, paddr    bytes; gfn = address >> 12
    object    obj_id, obj, id, key, lbn      one page an object
    write     write, op                 1/0, true/false, w/r, set/get ...
    vcpu      vcpu, cpu

A name that is taken may stand in the header once. Numbers are decimal or 0x-hexadecimal; a time may have a fraction, taken
exactly. Without a time column, the n-th access is at n nanoseconds.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agewalk.core.errors import TraceError, UsageError
from agewalk.trace.convert.source import Source
from agewalk.trace.format import Batch

if TYPE_CHECKING:
    import _csv

USUAL: Final = {
    "time": ("time_ns", "time", "timestamp", "clock_time", "ts", "real_time"),
    "gfn": ("gfn", "page"),
    "address": ("address", "addr", "vaddr", "paddr"),
    "object": ("obj_id", "obj", "id", "key", "lbn"),
    "write": ("write", "op"),
    "vcpu": ("vcpu", "cpu"),
}
PLACES: Final = ("gfn", "address", "object")
TIME_UNITS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_WRITES: Final = {
    "1",
    "true",
    "t",
    "yes",
    "w",
    "write",
    "store",
    "set",
    "put",
    "add",
    "replace",
    "update",
    "delete",
    "2a",
}
_READS: Final = {"0", "false", "f", "no", "r", "read", "load", "get", "gets", "28", ""}
_ROWS: Final = 1 << 16
_TOP: Final = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvLayout:
    """Which column is what. A column is a header's name or a number from 1; None means by its usual name, if any."""

    time: str | None = None
    gfn: str | None = None
    address: str | None = None
    object: str | None = None
    write: str | None = None
    vcpu: str | None = None
    delimiter: str = ","
    header: bool = True
    time_unit: str | None = None

    def check(self) -> None:
        """Raise UsageError for what contradicts itself."""
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise UsageError(f"delimiter {self.delimiter!r} is not one character", hint="as in --delimiter ';'")
        if self.time_unit is not None and self.time_unit not in TIME_UNITS:
            raise UsageError(f"unknown time unit {self.time_unit!r}", hint=f"one of {', '.join(TIME_UNITS)}")
        if sum(getattr(self, p) is not None for p in PLACES) > 1:
            raise UsageError("more than one of the gfn, address and object columns is given", hint="name one of them")


def read_csv(source: Source, layout: CsvLayout) -> Iterator[Batch]:
    """Accesses of separated text; the page key is the gfn, address >> 12 or object number. Raises TraceError with the line."""
    layout.check()
    reader = csv.reader(_texts(source), delimiter=layout.delimiter, strict=True)
    try:
        yield from _rows(source, layout, reader)
    except csv.Error as e:
        raise source.error(
            str(e), line=reader.line_num, hint="is the delimiter right, and every quote closed?"
        ) from None


def _separated(source: Source, reader: "_csv.Reader", error: csv.Error) -> TraceError:
    return source.error(str(error), line=reader.line_num, hint="is the delimiter right, and every quote closed?")


def numbers_objects(source: Source, layout: CsvLayout) -> bool:
    """Whether the pages of this text are numbers of objects, without neighbourhood. Reads the header alone."""
    if any(getattr(layout, p) is not None for p in PLACES) or not layout.header:
        return layout.object is not None
    reader = csv.reader(_texts(source), delimiter=layout.delimiter, strict=True)
    try:
        names = [n.strip().lower() for n in next(reader, [])]
    except csv.Error as e:
        raise _separated(source, reader, e) from None
    return next((p for p in PLACES if any(n in names for n in USUAL[p])), None) == "object"


def _rows(source: Source, layout: CsvLayout, reader: "_csv.Reader") -> Iterator[Batch]:
    names = [n.strip().lower() for n in next(reader, [])] if layout.header else []
    columns: dict[str, int] | None = None
    parse = _Parser(source)
    time: list[int] = []
    page: list[int] = []
    vcpu: list[int] = []
    write: list[bool] = []
    width = len(names)
    last = count = 0
    for row in reader:
        line = reader.line_num
        if not row:
            continue
        width = width or len(row)
        if columns is None:
            columns = _columns(source, layout, names, width)
            unit = 10**9
            if "time" in columns:
                named_ns = layout.header and names[columns["time"]] == "time_ns"
                unit = TIME_UNITS[layout.time_unit or ("ns" if named_ns else "s")]
            place = next(p for p in PLACES if p in columns)
            shift = 12 if place == "address" else 0
        if len(row) != width:
            raise source.error(
                f"{len(row)} columns, but {width} before", line=line, hint="the file is damaged or truncated"
            )
        now = parse.time(row[columns["time"]], unit, line) if "time" in columns else count
        if now < last:
            raise source.error(f"time runs back from {last} ns to {now} ns", line=line, hint="sort the file by time")
        last, count = now, count + 1
        time.append(now)
        page.append(parse.number(row[columns[place]], _TOP, place, line) >> shift)
        vcpu.append(parse.number(row[columns["vcpu"]], 256, "vcpu", line) if "vcpu" in columns else 0)
        write.append(parse.write(row[columns["write"]], line) if "write" in columns else False)
        if len(time) == _ROWS:
            yield Batch.of(time, page, vcpu=vcpu, write=write)
            time, page, vcpu, write = [], [], [], []
    if time:
        yield Batch.of(time, page, vcpu=vcpu, write=write)


def _texts(source: Source) -> Iterator[str]:
    for lines in source.lines():
        try:
            text = lines.data.decode()
        except UnicodeDecodeError as e:
            line = lines.first + lines.data.count(b"\n", 0, e.start)
            raise source.error("not UTF-8 text", line=line, hint="is this a binary file?") from None
        if lines.first == 1:
            text = text.removeprefix("\ufeff")  # the mark that spreadsheets begin UTF-8 with is no part of a name
        yield from (f"{line}\n" for line in text.split("\n")[:-1])  # not splitlines: it knows other line ends


def _columns(source: Source, layout: CsvLayout, names: Sequence[str], width: int) -> dict[str, int]:
    """Role -> index of its column."""
    found: dict[str, int] = {}
    asked_place = any(getattr(layout, p) is not None for p in PLACES)
    for role, usual in USUAL.items():
        asked = getattr(layout, role)
        if asked is not None:
            found[role] = _column(source, names, width, asked, role)
        elif not (role in PLACES and asked_place):
            index = next((names.index(n) for n in usual if n in names), None)
            if index is not None:
                found[role] = _only(source, names, index, role)
    if not any(p in found for p in PLACES):
        have = ", ".join(repr(n) for n in names[:12]) if names else f"{width} columns without names"
        raise source.error(
            f"no column says which page was touched; the file has {have}",
            hint="name it with --gfn-column, --address-column or --object-column (a name, or a number from 1)",
        )
    places = [p for p in PLACES if p in found]
    return {k: v for k, v in found.items() if k not in places[1:]}


def _column(source: Source, names: Sequence[str], width: int, asked: str, role: str) -> int:
    if asked.lower() in names:
        return _only(source, names, names.index(asked.lower()), role)
    if re.fullmatch(r"[0-9]{1,4}", asked) and 1 <= int(asked) <= width:
        return int(asked) - 1
    have = ", ".join(repr(n) for n in names[:12]) or f"columns 1 to {width}"
    raise source.error(f"no column {asked!r} for {role}", hint=f"the file has {have}")


def _only(source: Source, names: Sequence[str], index: int, role: str) -> int:
    """The column, unless another has its name too."""
    if (count := names.count(names[index])) > 1:
        at = ", ".join(str(i) for i, n in enumerate(names, 1) if n == names[index])
        raise source.error(
            f"column {names[index]!r} occurs {count} times", hint=f"say which with --{role}-column, one of {at}"
        )
    return index


class _Parser:
    """Cells to values; errors name file and line."""

    def __init__(self, source: Source) -> None:
        self._error: Callable[..., TraceError] = source.error

    def number(self, text: str, below: int, what: str, line: int) -> int:
        text = text.strip()
        if text.isdecimal() and text.isascii() and len(text) <= 20:
            value = int(text)
        elif re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
            value = int(text, 16)
        else:
            hint = "write decimal or 0x-hexadecimal numbers; give texts numbers first"
            raise self._error(f"{what} {text[:40]!r} is not a number", line=line, hint=hint)
        if value >= below:
            raise self._error(f"{what} {value} is too large (limit {below - 1})", line=line)
        return value

    def time(self, text: str, unit: int, line: int) -> int:
        whole, point, fraction = text.strip().partition(".")
        good = whole.isdecimal() and len(whole) <= 19 and text.isascii()
        if not good or (point and not (fraction.isdecimal() and len(fraction) <= 18)):
            raise self._error(f"time {text[:40]!r} is not a number", line=line, hint="as in 12 or 12.345678")
        value = int(whole) * unit
        if fraction:
            value += int(fraction) * unit // int("1" + "0" * len(fraction))
        if value >= 1 << 63:
            raise self._error(f"time {text[:40]!r} is too large", line=line, hint="is --time-unit right?")
        return value

    def write(self, text: str, line: int) -> bool:
        word = text.strip().lower()
        if word in _WRITES:
            return True
        if word in _READS:
            return False
        raise self._error(
            f"{text[:40]!r} says neither read nor write",
            line=line,
            hint="known are 1/0, true/false, w/r, set/get and SCSI opcodes 2a/28; or leave the column out",
        )
