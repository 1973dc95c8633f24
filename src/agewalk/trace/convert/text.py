"""Separated text, as libCacheSim reads it, or any with a page, address or object column.

`columns` says how columns are found, `first_rows` what is guessed, `cells` what values look like. Lines that begin with #
and blank lines are no rows; they are counted. Without a time column, the n-th row is at n nanoseconds.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from agewalk.core.units import format_size
from agewalk.trace.convert.cells import Objects, Operations, Times, number
from agewalk.trace.convert.columns import Columns, pages_of
from agewalk.trace.convert.first_rows import DELIMITERS, LOOKED_AT, Roles, delimiter_of, header_of, split
from agewalk.trace.convert.source import MAX_TOUCHED, Source
from agewalk.trace.format import DEFAULT_ROWS, Batch

_ROWS: Final = 1 << 16
_TOP: Final = 1 << 64
Choose = Callable[[Source, Sequence[Sequence[str]], Columns], Columns]


class Table:
    """A text whose delimiter, header and columns are known; `rows` are its cells, from the first row of data on.

    choose: picks the columns by the first rows, for formats of which there are several.
    """

    def __init__(self, source: Source, columns: Columns, choose: Choose | None = None) -> None:
        columns.check()
        self.source = source
        self.comments = ""
        self._lines = self._texts()
        head = list(islice(self._lines, LOOKED_AT))
        if not head:
            raise source.error("no accesses in it: no rows", hint="lines that begin with # and blank lines are no rows")
        self.delimiter = delimiter_of(source, [text for _, text in head], columns)
        rows = [(line, self._cells(line, text)) for line, text in head]
        if choose is not None:
            columns = choose(source, [row for _, row in rows], columns)
        self.columns = columns
        header = header_of(source, [row for _, row in rows], columns)
        if columns.delimiter is None or columns.header is None:
            source.account.assume(
                f"{len(rows[0][1])} columns separated by {DELIMITERS.get(self.delimiter, repr(self.delimiter))}, "
                f"{'the first row is a header' if header else 'no header'} (--delimiter, --header, --no-header)"
            )
        self.names = [cell.strip().lower() for cell in rows[0][1]] if header else []
        if header:
            source.account.set_aside("header")
            rows = rows[1:]
        self._head = rows
        self.roles = Roles(source, columns, self.names, [row for _, row in rows] or [self.names])

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of each row. Raises TraceError for a row of another width."""
        width = len(self.names) or len(self._head[0][1])
        for line, row in self._head:
            yield line, self._checked(line, row, width)
        for line, text in self._lines:
            yield line, self._checked(line, self._cells(line, text), width)

    def _checked(self, line: int, row: list[str], width: int) -> list[str]:
        if len(row) != width:
            raise self.source.error(
                f"{len(row)} columns, but {width} before", line=line, hint="the file is damaged or truncated"
            )
        return row

    def _cells(self, line: int, text: str) -> list[str]:
        try:
            if '"' not in text and self.delimiter != " " and "\r" not in text:
                return text.split(self.delimiter)
            return split(text, self.delimiter)
        except csv.Error as e:
            hint = "is the delimiter right, and every quote closed? A cell holds no line break"
            raise self.source.error(str(e), line=line, hint=hint) from None

    def _texts(self) -> Iterator[tuple[int, str]]:
        """Number and text of each line that is a row or a header."""
        account = self.source.account
        for lines in self.source.lines(open_end=True):
            try:
                text = lines.data.decode()
            except UnicodeDecodeError as e:
                line = lines.first + lines.data.count(b"\n", 0, e.start)
                raise self.source.error("not UTF-8 text", line=line, hint="is this a binary file?") from None
            if lines.first == 1:
                text = text.removeprefix("\ufeff")  # the mark that spreadsheets begin UTF-8 with is no part of a name
            # not splitlines: it knows other line ends
            for line, content in enumerate(text.split("\n")[:-1], lines.first):
                content = content.removesuffix("\r")
                if not content.strip():
                    account.set_aside("blank lines")
                elif content.startswith("#"):
                    account.set_aside("comments")
                    if len(self.comments) < 1 << 12:
                        self.comments += content[: 1 << 10] + "\n"
                else:
                    yield line, content


def read_text(
    source: Source, columns: Columns, *, choose: Choose | None = None, max_touched: int = MAX_TOUCHED
) -> Iterator[Batch]:
    """Accesses of separated text; the page key is the gfn, address >> 12 or object's. Raises TraceError with the line."""
    table = Table(source, columns, choose)
    columns, index, place = table.columns, table.roles.index, table.roles.place
    at, at_time, at_size, at_cpu, at_write = index[place], *(index.get(r) for r in ("time", "size", "vcpu", "write"))
    account = source.account
    if at_time is None:
        account.assume("no column of times: the n-th row is at n nanoseconds (--time-column)")
    else:
        unit, guessed = table.roles.unit(table.comments)
        comma_free = table.delimiter == ","
        times = Times(source, unit, guessed=guessed, decimal=columns.decimal, comma_free=comma_free)
    write_name = table.names[at_write] if table.names and at_write is not None else ""
    operations = Operations(source, columns, name=write_name, legend=table.comments)
    objects = Objects(source)
    constant = table.roles.constant()
    same: list[str] | None = None
    out = Rows()
    count = -1
    for line, row in table.rows():
        count += 1
        now = count if at_time is None else times.parse(row[at_time], line)
        size = 1 if at_size is None else number(source, row[at_size], _TOP, "size", line)
        if place == "object":
            first, pages = objects.key(row[at], line), 1
        else:
            value = number(source, row[at], _TOP, place, line, hexadecimal=columns.hexadecimal)
            first, pages = (value, 1) if place == "gfn" else pages_of(value, max(1, size))
        cpu = 0 if at_cpu is None else number(source, row[at_cpu], 256, "vcpu", line)
        write = at_write is not None and operations.is_write(row[at_write], line)
        if constant:
            same = same or [row[c] for c in constant]
            if same != [row[c] for c in constant]:
                raise source.error(
                    f"{', '.join(row[c] for c in constant)} after {', '.join(same)}: two disks in one trace",
                    line=line,
                    hint="split the file by disk: pages of different disks are different pages",
                )
        if not size:
            account.skip("requests of size 0")
            continue
        if pages << 12 > max_touched or first + pages > 1 << 64:
            raise source.error(
                f"a request of {format_size(size)} at {value:#x} touches more than {format_size(max_touched)}",
                line=line,
                hint="is the size column right? --max-touched allows more",
            )
        account.used += 1
        yield from out.add(now, first, pages, cpu, write)
    yield from out.finish()


class Rows:
    """Rows of Python numbers as batches; a row of several pages becomes several accesses."""

    def __init__(self) -> None:
        self._clear()

    def add(self, time: int, page: int, pages: int, vcpu: int, write: bool) -> Iterator[Batch]:
        """Take a row; yields a batch when there are enough."""
        if pages > _ROWS:
            yield from self.finish()
            for low in range(page, page + pages, DEFAULT_ROWS):
                many = np.arange(min(DEFAULT_ROWS, page + pages - low), dtype=np.uint64) + np.uint64(low)
                yield Batch.of(np.full(len(many), time, np.uint64), many, vcpu=vcpu, write=write)
            return
        self._time.append(time)
        self._page.append(page)
        self._pages.append(pages)
        self._vcpu.append(vcpu)
        self._write.append(write)
        self._total += pages
        if self._total >= _ROWS:
            yield from self.finish()

    def finish(self) -> Iterator[Batch]:
        """What is left."""
        if not self._time:
            return
        rows = Batch.of(self._time, self._page, vcpu=self._vcpu, write=self._write)
        if self._total > len(self._time):
            pages = np.array(self._pages)
            which = np.repeat(np.arange(len(pages)), pages)
            within = np.arange(len(which)) - np.repeat(np.cumsum(pages) - pages, pages)
            each = rows.take(which)
            rows = Batch(each.time_ns, each.vcpu, each.gfn + within.astype(np.uint64), each.write, each.context)
        yield rows
        self._clear()

    def _clear(self) -> None:
        self._time: list[int] = []
        self._page: list[int] = []
        self._pages: list[int] = []
        self._vcpu: list[int] = []
        self._write: list[bool] = []
        self._total = 0


def place_of(source: Source, columns: Columns, choose: Choose | None = None) -> str:
    """Whether the pages of a text are gfns, addresses or objects. Reads its first rows alone."""
    return Table(source, columns, choose).roles.place
