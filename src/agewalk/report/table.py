"""Tables and paragraphs for a terminal of any width, or for a pipe.

A table that is too wide becomes several, each with the first column again. Columns of numbers and names stay whole; prose wraps
between words. Nothing is shortened but a long name in the first column, in its middle.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from agewalk.core.text import printable

PIPE: Final = 200  # columns where there is no terminal
_GAP: Final = 2  # between columns; one more above a rule
_PROSE: Final = 24  # columns that prose gets at least; with less, it stands under the name in place of beside it
_STYLES: Final = {"bold": "1", "best": "1;32", "bad": "31", "dim": "2"}


class Cell(NamedTuple):
    """Text with a style: bold, best, bad or dim."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """right: numbers, one below the other. prose: may wrap between words."""

    heading: str
    right: bool = False
    prose: bool = False


Row = Sequence[str | Cell]


def room() -> int:
    """Columns of standard output: what COLUMNS says, or the terminal's, or PIPE where there is none."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and 0 < int(said) < 10_000:
        return max(20, int(said))
    try:
        return max(20, os.get_terminal_size(sys.stdout.fileno()).columns or 80)
    except (OSError, ValueError):
        return PIPE


def coloured() -> bool:
    """Does standard output show colours?"""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def cells(text: str) -> int:
    """How many columns of a terminal printable text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def short(text: str, width: int) -> str:
    """At most `width` columns: names differ at both ends, so the middle goes."""
    if cells(text) <= width:
        return text
    head, tail = text[: width - 1 - width // 2], text[-(width // 2) :]
    while cells(head) + cells(tail) >= width:  # wide characters
        head, tail = head[: len(head) - (cells(head) >= cells(tail))], tail[cells(tail) > cells(head) :]
    return f"{head}…{tail}"


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Printable text in lines of at most `width` columns, broken between words; a longer word is broken, but not in a number."""
    lines: list[str] = []
    for word in re.split(r" +(?!%)", printable(text).strip()):
        if lines and cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += f" {word}"
            continue
        lines.append(indent + word)
        while cells(lines[-1]) > width:
            cut = _cut(lines[-1], width)
            lines[-1:] = [lines[-1][:cut], indent + lines[-1][cut:]]
    return lines or [""]


def _cut(line: str, width: int) -> int:
    """Where a line of one long word is cut: `width` columns or somewhat less, not between the digits of a number."""
    most = len(line)
    while cells(line[:most]) > width:
        most -= 1
    for wanted in (r"[^\w\s][^\W\d]", r"\D\D"):  # after a mark, or else anywhere but at a digit
        for at in range(most, max(most // 2, 1), -1):
            if re.match(wanted, line[at - 1 : at + 1]):
                return at
    return max(most, 1)


def listed(pairs: Mapping[str, str], width: int, indent: int = 2) -> list[str]:
    """Names with what they are: beside each other, or below where that is too narrow."""
    first = indent + max(map(cells, pairs)) + _GAP
    lines: list[str] = []
    for name, what in pairs.items():
        beside = wrapped(what, width - first) if width - first >= _PROSE else None
        if beside is None:
            lines += [*wrapped(name, width, " " * indent), *wrapped(what, width, " " * (indent + 4))]
        else:
            head = f"{'':{indent}}{name}"
            lines += [head + " " * (first - cells(head)) + beside[0], *(" " * first + line for line in beside[1:])]
    return lines


def paragraph(text: str) -> str:
    """Prose as lines for standard output, each with a newline; one line each where there is no terminal."""
    width = room() if sys.stdout.isatty() or "COLUMNS" in os.environ else 10**6
    return "".join(line.rstrip() + "\n" for part in text.splitlines() for line in _hanging(part, width))


def _hanging(line: str, width: int) -> list[str]:
    """A line that wraps below its own indent."""
    plain = printable(line)
    if cells(plain) <= width:
        return [plain]
    indent = " " * min(len(plain) - len(plain.lstrip()), width // 2)
    return wrapped(plain, width, indent)


def table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    width: int | None = None,
    colour: bool = False,
    rule: bool = False,
    keys: int = 1,
) -> str:
    """A table, in as many parts as `width` needs (default: `room()`), an empty line between them.

    rule: a line below the headings. keys: how many columns it takes to tell rows apart; with more than one, a table that is too
    wide becomes a list of its rows.
    """
    width = room() if width is None else width
    grid = [[_cell(cell) for cell in row] for row in rows]
    draw = _Draw(width, _GAP + rule, colour, rule)
    widest = max((cells(row[i].text) for row in grid for i, c in enumerate(columns) if i and not c.prose), default=0)
    limit = max(14, min(width // 2, width - draw.gap - widest))
    first = columns[0]
    names = [row[0] if first.prose else Cell(short(row[0].text, limit), row[0].style) for row in grid]
    naturals = [max([cells(c.heading), *(cells(row[i].text) for row in grid)]) for i, c in enumerate(columns)]
    naturals[0] = max([min(cells(first.heading), limit), *(min(cells(name.text), limit) for name in names)])
    if keys > 1:
        least = sum(min(n, _PROSE) if c.prose else n for c, n in zip(columns, naturals, strict=True))
        if least + draw.gap * (len(columns) - 1) > width:
            return draw.records(columns, grid, keys)
    parts = []
    for part in _parts(columns, naturals, width, draw.gap):
        here = [(first, naturals[0]), *((columns[i], size) for i, size in part)]
        lines = [[name, *(row[i] for i, _ in part)] for name, row in zip(names, grid, strict=True)]
        fits = sum(size for _, size in here) + draw.gap * (len(here) - 1) <= width
        parts.append(draw.grid(here, lines) if fits else draw.blocks(first, columns[part[0][0]], grid, part[0][0]))
    return "\n".join(parts)


def title(text: str, width: int, *, colour: bool) -> str:
    """A line, or several, above a table."""
    return "".join(f"\x1b[1m{line}\x1b[0m\n" if colour else f"{line}\n" for line in wrapped(text, width))


def _cell(cell: str | Cell) -> Cell:
    return Cell(printable(cell)) if isinstance(cell, str) else Cell(printable(cell.text), cell.style)


def _parts(columns: Sequence[Column], naturals: Sequence[int], width: int, gap: int) -> list[list[tuple[int, int]]]:
    """Columns after the first, by table, each with its width: prose shares what the others leave."""
    parts: list[list[int]] = [[]]
    used = naturals[0]
    least = [min(n, _PROSE) if c.prose else n for c, n in zip(columns, naturals, strict=True)]
    for i in range(1, len(columns)):
        if used + gap + least[i] > width and parts[-1]:
            parts.append([])
            used = naturals[0]
        parts[-1].append(i)
        used += gap + least[i]
    return [_shared(columns, naturals, least, part, width - gap * len(part)) for part in parts]


def _shared(
    columns: Sequence[Column], naturals: Sequence[int], least: Sequence[int], part: Sequence[int], width: int
) -> list[tuple[int, int]]:
    spare = width - naturals[0] - sum(least[i] for i in part)
    sizes = {i: least[i] for i in part}
    greedy = [i for i in part if columns[i].prose and naturals[i] > least[i]]
    while spare > 0 and greedy:
        each = max(1, spare // len(greedy))
        for i in list(greedy):
            more = min(each, naturals[i] - sizes[i], spare)
            sizes[i] += more
            spare -= more
            if sizes[i] == naturals[i] or not spare:
                greedy.remove(i)
    return list(sizes.items())


class _Draw(NamedTuple):
    """Writes parts of a table."""

    width: int
    gap: int
    colour: bool
    rule: bool

    def styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and style and text else text

    def grid(self, columns: Sequence[tuple[Column, int]], rows: Sequence[Sequence[Cell]]) -> str:
        """One line a row, or more where prose wraps."""
        heads = [
            Cell(c.heading if c.prose or i else short(c.heading, size), "bold") for i, (c, size) in enumerate(columns)
        ]
        lines = self.line(columns, heads)
        if self.rule:
            mark = "─" if _encodes("─") else "-"
            lines.append(mark * (sum(size for _, size in columns) + self.gap * (len(columns) - 1)))
        for row in rows:
            lines += self.line(columns, row)
        return "".join(f"{line}\n" for line in lines)

    def line(self, columns: Sequence[tuple[Column, int]], row: Sequence[Cell]) -> list[str]:
        parts = [
            wrapped(cell.text, size) if column.prose else [cell.text]
            for (column, size), cell in zip(columns, row, strict=True)
        ]
        lines = []
        for n in range(max(map(len, parts))):
            line, pad = "", 0
            for (column, size), cell, part in zip(columns, row, parts, strict=True):
                text = part[n] if n < len(part) else ""
                space = size - cells(text)
                before, after = (space, 0) if column.right else (0, space)
                shown = self.styled(text, cell.style)
                line, pad = (
                    (line + " " * (pad + before) + shown, after + self.gap) if text else (line, pad + size + self.gap)
                )
            lines.append(line)
        return lines

    def records(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], keys: int) -> str:
        """Each row as a list: what tells it apart, and below it the other columns with their headings."""
        lines: list[str] = []
        for row in rows:
            head = ", ".join(cell.text.strip() for cell in row[:keys] if cell.text.strip())
            lines += (self.styled(line, "bold") for line in wrapped(head, self.width))
            for column, cell in zip(columns[keys:], row[keys:], strict=True):
                if cell.text:
                    said = f"{column.heading}: {cell.text}" if column.heading else cell.text
                    lines += (self.styled(line, cell.style) for line in wrapped(said, self.width, "  "))
        return "".join(f"{line}\n" for line in lines)

    def blocks(self, first: Column, column: Column, rows: Sequence[Sequence[Cell]], i: int) -> str:
        """A column that fits beside no name: each row's text below its name."""
        lines = [self.styled(line, "bold") for line in wrapped(f"{first.heading}: {column.heading}", self.width)]
        for row in rows:
            if row[i].text:
                lines += wrapped(row[0].text, self.width)
                lines += (self.styled(line, row[i].style) for line in wrapped(row[i].text, self.width, "  "))
        return "".join(f"{line}\n" for line in lines)


def _encodes(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
