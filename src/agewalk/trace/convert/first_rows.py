"""What the first rows of a text say: delimiter, header, columns and the unit of time. A guess is noted in the account.

Where two readings of these rows are possible and differ, that is an error which names both and the option that decides.
"""

import csv
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from agewalk.trace.convert.cells import READS, WRITES
from agewalk.trace.convert.columns import PLACES, TIME_UNITS, USUAL, Columns, role_of_name, time_unit, unit_of_name
from agewalk.trace.convert.source import Source

LOOKED_AT: Final = 20  # rows
DELIMITERS: Final = {",": "','", ";": "';'", "\t": "tab", "|": "'|'", " ": "spaces"}
_NUMBER: Final = re.compile(r"[0-9]+([.,][0-9]+)?|0x[0-9a-f]+")
_UNIT_WORD: Final = re.compile(r"\b(ns|us|ms|nanoseconds?|microseconds?|milliseconds?)\b")
_WORDS: Final = {"nano": "ns", "micro": "us", "milli": "ms"}
_SIZES: Final = ("size", "length", "len", "bytes", "obj_size")


def split(line: str, delimiter: str) -> list[str]:
    """The cells of a line. Raises csv.Error."""
    return next(
        csv.reader(
            [line.strip(" ") if delimiter == " " else line], delimiter=delimiter, strict=True, skipinitialspace=True
        )
    )


def delimiter_of(source: Source, lines: Sequence[str], columns: Columns) -> str:
    """What separates the columns of these lines."""
    if columns.delimiter is not None:
        return columns.delimiter
    fits: dict[str, list[list[str]]] = {}
    for delimiter in DELIMITERS:
        try:
            rows = [split(line, delimiter) for line in lines]
        except csv.Error:
            continue
        width = len(rows[0])
        if width > 1 and all(len(row) == width for row in rows):
            fits[delimiter] = rows
    if len(fits) > 1:
        fits.pop(" ", None)  # a blank after a comma or in a text
    if len(fits) > 1:
        fits = {d: rows for d, rows in fits.items() if _has_columns(rows[0], columns)} or fits
    if len(fits) > 1:
        said = " or ".join(f"{len(rows[0])} columns separated by {DELIMITERS[d]}" for d, rows in fits.items())
        raise source.error(f"the first rows have {said}", hint="say which with --delimiter")
    if fits:
        return next(iter(fits))
    # one column, or rows of different widths, which are refused one by one
    common = [d for d in DELIMITERS if d != " " and all(d in line for line in lines)]
    return next(iter(common or [d for d in DELIMITERS if d in lines[0]]), ",")


def _has_columns(first: Sequence[str], columns: Columns) -> bool:
    """Whether a row is wide enough for the columns that were asked for, or names them."""
    names = {cell.strip().lower() for cell in first}
    numbers = [int(c) for c in columns.asked().values() if c.lower() not in columns.names()]
    return columns.names() <= names and all(n <= len(first) for n in numbers)


def header_of(source: Source, rows: Sequence[Sequence[str]], columns: Columns) -> bool:
    """Whether the first row names the columns."""
    if columns.header is not None:
        return columns.header
    if columns.names():
        return True
    first = [cell.strip().lower() for cell in rows[0]]
    second = [cell.strip().lower() for cell in rows[1]] if len(rows) > 1 else []
    numbers = [_is_number(cell, columns) for cell in first]
    names = [role_of_name(cell) is not None and cell not in WRITES | READS for cell in first]
    shown = ", ".join(repr(cell) for cell in rows[0][:6])
    hint = "say --header or --no-header"
    if any(numbers):
        below = [_is_number(cell, columns) for cell in second]
        if any(name and under for name, under in zip(names, below, strict=False)):
            raise source.error(f"the first row ({shown}) holds names and numbers: a header, or a row", hint=hint)
        return False
    if any(names) or any(_is_number(cell, columns) for cell in second):
        return True
    raise source.error(f"the first row ({shown}) may name the columns, or be a row like the next", hint=hint)


def _is_number(cell: str, columns: Columns) -> bool:
    return bool(_NUMBER.fullmatch(cell) or (columns.hexadecimal and re.fullmatch(r"[0-9a-f]+", cell)))


class Roles:
    """Which column is what, by the user's word and by usual names; `index` is role -> place in a row."""

    def __init__(self, source: Source, columns: Columns, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Names: the header, lower case, or none. rows: the first rows of data."""
        self._source = source
        self._columns = columns
        self._names = names
        self._rows = rows
        self._width = len(names) or len(rows[0])
        self.index = {role: self._column(column, role) for role, column in columns.asked().items()}
        found: dict[str, str] = {}
        for group in (("time",), PLACES, ("write",), ("vcpu",)):
            if not any(role in self.index for role in group):
                found |= self._usual(group)
        if found:
            said = ", ".join(f"{role} {name!r}" for role, name in found.items())
            source.account.assume(
                f"columns by their names: {said} (--{next(iter(found))}-column and so on say otherwise)"
            )
        self.place = next((p for p in PLACES if p in self.index), "")
        if not self.place:
            have = ", ".join(repr(n) for n in names[:12]) if names else f"{self._width} columns without names"
            raise source.error(
                f"no column says which page was touched; the file has {have}",
                hint="name it with --gfn-column, --address-column or --object-column (a name, or a number from 1)",
            )
        unused = next((n for n in names if n in _SIZES), None)
        if self.place == "address" and "size" not in self.index and unused:
            source.account.assume(
                f"a row touches the page of its address alone (--size-column {unused} touches all pages of a request)"
            )

    def _usual(self, roles: Sequence[str]) -> dict[str, str]:
        """Fill in the column that has a usual name; role -> name of what was found. Several that differ are an error."""
        candidates: list[tuple[str, str]] = []
        for role in roles:
            order = list(USUAL[role])
            listed = [n for n in order if n in self._names]
            listed += [n for n in dict.fromkeys(self._names) if n not in order and role_of_name(n) == role]
            candidates += [(role, name) for name in listed]
        if not candidates:
            return {}
        role, name = candidates[0]
        for other_role, other in candidates[1:]:
            if self._values(role, name) != self._values(other_role, other):
                raise self._source.error(
                    f"columns {name!r} and {other!r} both may be the {role}, and differ",
                    hint=f"say which with --{role}-column {name} or --{other_role}-column {other}",
                )
        self.index[role] = self._only(name, role)
        return {role: name}

    def _values(self, role: str, name: str) -> list[str | int]:
        """The first cells of a column; addresses as page numbers, to be compared with those."""
        cells = [row[at].strip() for row in self._rows if (at := self._names.index(name)) < len(row)]
        if role not in {"gfn", "address"}:
            return list(cells)
        shift = 12 if role == "address" else 0
        base = {cell: 16 if cell.lower().startswith("0x") else 10 for cell in cells}
        return [int(c, base[c]) >> shift if _NUMBER.fullmatch(c.lower()) and c.isalnum() else c for c in cells]

    def _column(self, asked: str, role: str) -> int:
        if asked.lower() in self._names:
            return self._only(asked.lower(), role)
        if re.fullmatch(r"[0-9]{1,4}", asked) and 1 <= int(asked) <= self._width:
            return int(asked) - 1
        have = ", ".join(repr(n) for n in self._names[:12]) or f"columns 1 to {self._width}"
        raise self._source.error(f"no column {asked!r} for {role}", hint=f"the file has {have}")

    def constant(self) -> list[int]:
        """Columns that must not change."""
        return [self._column(column, "constant") for column in self._columns.constant]

    def _only(self, name: str, role: str) -> int:
        """The column, unless another has its name too."""
        if (count := self._names.count(name)) > 1:
            at = ", ".join(str(i) for i, n in enumerate(self._names, 1) if n == name)
            raise self._source.error(
                f"column {name!r} occurs {count} times", hint=f"say which with --{role}-column, one of {at}"
            )
        return self._names.index(name)

    def unit(self, comments: str) -> tuple[Fraction, bool]:
        """Nanoseconds of the unit of time, and whether it is only taken for want of another."""
        if self._columns.time_unit is not None:
            return time_unit(self._columns.time_unit), False
        name = self._names[self.index["time"]] if self._names else ""
        if (said := unit_of_name(name)) is not None:
            return TIME_UNITS[said], False
        units = {_WORDS.get(word.split("sec")[0], word) for word in _UNIT_WORD.findall(comments.lower())}
        if len(units) > 1:
            raise self._source.error(
                f"comments speak of {' and '.join(sorted(units))}: one may be the unit of times", hint="say --time-unit"
            )
        if units:
            unit = units.pop()
            self._source.account.assume(f"times are in {unit}, as the file's comment says (--time-unit says otherwise)")
            return TIME_UNITS[unit], False
        self._source.account.assume("times are seconds (--time-unit says otherwise)")
        return TIME_UNITS["s"], True
