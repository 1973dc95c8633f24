"""Cells of a table as values: times, numbers, object ids, reads and writes. What is no value is an error with file and line."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from agewalk.core.errors import TraceError
from agewalk.trace.convert.columns import IMPLAUSIBLE_SECONDS, Columns, code_set
from agewalk.trace.convert.source import Source

WRITES: Final = frozenset(
    {"1", "true", "t", "yes", "w", "write", "writes", "store", "set", "put", "add", "replace", "update", "delete", "2a"}
)
READS: Final = frozenset({"0", "false", "f", "no", "r", "read", "reads", "load", "get", "gets", "28"})
TEXTS: Final = "object ids that are texts are numbered in the order of appearance"
_TEXT_OBJECT: Final = 1 << 63  # keys of objects whose ids are texts start here
_TOP: Final = 1 << 64
#: "Put:0, Get:1" in a comment: what the codes mean
_LEGEND: Final = re.compile(r"\b([a-z]{2,10})\s*[:=]\s*([0-9]{1,4})\b|\b([0-9]{1,4})\s*[:=]\s*([a-z]{2,10})\b")


def number(source: Source, text: str, below: int, what: str, line: int, *, hexadecimal: bool = False) -> int:
    """A whole number, decimal or 0x-hexadecimal; with `hexadecimal` also without 0x."""
    text = text.strip()
    if hexadecimal and re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,16}", text):
        value = int(text, 16)
    elif not hexadecimal and text.isdecimal() and text.isascii() and len(text) <= 20:
        if what == "address" and len(text) > 1 and text[0] == "0":
            raise source.error(
                f"address {text!r} may be decimal or hexadecimal ({int(text)} or {int(text, 16)})",
                line=line,
                hint="say --hexadecimal, or write numbers without leading zeros",
            )
        value = int(text)
    elif not hexadecimal and re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        value = int(text, 16)
    else:
        hint = "numbers are decimal or 0x-hexadecimal; --hexadecimal takes them without 0x"
        raise source.error(f"{what} {text[:40]!r} is not a number", line=line, hint=hint)
    if value >= below:
        raise source.error(f"{what} {value} is too large (limit {below - 1})", line=line)
    return value


class Times:
    """Times of a column as nanoseconds since the first; exact, and never running back."""

    def __init__(self, source: Source, unit: Fraction, *, guessed: bool, decimal: str | None, comma_free: bool) -> None:
        """Unit: nanoseconds; guessed: seconds, for nothing says so; comma_free: commas separate columns, so none is in a cell."""
        self._source = source
        self._unit = unit
        self._guessed = guessed
        self._decimal = decimal or ("." if comma_free else None)
        self._origin: Fraction | int | None = None
        self._last = 0

    def parse(self, text: str, line: int) -> int:
        """Nanoseconds since the first time, rounded down."""
        text = text.strip()
        if text.isdecimal() and text.isascii() and len(text) <= 20:
            value: Fraction | int = int(text)
        else:
            value = self._fraction(text, line)
        if self._guessed and value >= IMPLAUSIBLE_SECONDS:
            raise self._source.error(
                f"time {text[:40]!r} is the year {1970 + int(value) // 31_556_952:,} in seconds, "
                "or another unit (ms, us, ns, 100 ns)",
                line=line,
                hint="say which with --time-unit, as in --time-unit us",
            )
        if self._origin is None:
            self._origin = value
        now = int((value - self._origin) * self._unit.numerator // self._unit.denominator)
        if now < self._last:
            raise self._source.error(
                f"time runs back from {self._last} ns to {now} ns after the first row",
                line=line,
                hint="sort the file by time, as in sort -s -t, -k1,1n",
            )
        if now >= 1 << 63:
            raise self._source.error(f"time {text[:40]!r} is too large", line=line, hint="is --time-unit right?")
        self._last = now
        return now

    def _fraction(self, text: str, line: int) -> Fraction:
        match = re.fullmatch(r"([0-9]{1,20})(?:([.,])([0-9]{1,18}))?", text, re.ASCII)
        if not match:
            raise self._source.error(f"time {text[:40]!r} is not a number", line=line, hint="as in 12 or 12.345678")
        whole, mark, fraction = match.groups()
        if mark == ",":
            if self._decimal is None and len(fraction) == 3 and whole != "0":
                raise self._source.error(
                    f"time {text!r} may be {whole}.{fraction} or {whole}{fraction}",
                    line=line,
                    hint="say --decimal ',' or write numbers without marks between thousands",
                )
            if self._decimal == ".":
                raise self._source.error(
                    f"time {text[:40]!r} is not a number", line=line, hint="its decimal mark is a comma: --decimal ','"
                )
            if self._decimal is None:
                self._source.account.assume("a comma in a time is its decimal mark (--decimal '.' refuses it)")
            self._decimal = ","
        elif mark == "." and self._decimal == ",":
            raise self._source.error(
                f"time {text[:40]!r} has a point, but the decimal mark is a comma", line=line, hint="see --decimal"
            )
        return Fraction(int(whole + fraction), 10 ** len(fraction))


class Objects:
    """Object ids to page keys: numbers are kept, texts are numbered in the order of appearance, apart from numbers."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._texts: dict[str, int] = {}
        self._large = False

    def key(self, text: str, line: int) -> int:
        """The page key of an id."""
        text = text.strip()
        if text.isdecimal() and text.isascii() and len(text) <= 20 and (text[0] != "0" or text == "0"):
            value = int(text)
        elif re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
            value = int(text, 16)
        else:
            value = _TOP
        if value < _TOP:
            self._large |= value >= _TEXT_OBJECT
        else:
            if not text:
                raise self._source.error("no object id", line=line, hint="is the object column right?")
            value = self.text_key(text)
        if self._texts and self._large:
            raise self._source.error(
                "object ids are texts and numbers of 64 bits", line=line, hint="number the objects before"
            )
        return value

    def text_key(self, text: str) -> int:
        """The page key of an id that is a text."""
        if not self._texts:
            self._source.account.assume(TEXTS)
        return self._texts.setdefault(text, len(self._texts)) | _TEXT_OBJECT


class Operations:
    """Cells of the write column: whether each is a write."""

    def __init__(self, source: Source, columns: Columns, *, name: str = "", legend: str = "") -> None:
        """Name: of the column, lower case; legend: comments of the file, which may say what codes mean."""
        self._error: Callable[..., TraceError] = source.error
        self._account = source.account
        self._flag = name == "write"
        self._known: dict[str, bool] = dict.fromkeys(code_set(columns.read_codes), False)
        self._known |= dict.fromkeys(code_set(columns.write_codes), True)
        if not self._known:
            for word, code, code2, word2 in _LEGEND.findall(legend.lower()):
                op = word or word2
                if op in WRITES or op in READS:
                    self._known[code or code2] = op in WRITES
            if self._known:
                said = ", ".join(f"{code} a {'write' if w else 'read'}" for code, w in self._known.items())
                self._account.assume(f"codes as the file's comment says: {said} (--read-codes, --write-codes)")

    def is_write(self, text: str, line: int) -> bool:
        """Whether the cell says write. Raises TraceError for what says neither."""
        word = text.strip().lower()
        known = self._known.get(word)
        if known is not None:
            return known
        if self._known and word.isdecimal():
            known_codes = ", ".join(sorted(self._known))
            raise self._error(
                f"code {text[:40]!r} is neither a read nor a write; known are {known_codes}",
                line=line,
                hint="name all codes with --read-codes and --write-codes, as in --read-codes 1 --write-codes 0,2",
            )
        if word in WRITES or word in READS:
            if word in {"0", "1"} and not self._flag:
                self._account.assume("operation 1 is a write, 0 a read (--read-codes and --write-codes say otherwise)")
            return word in WRITES
        raise self._error(
            f"{text[:40]!r} says neither read nor write",
            line=line,
            hint="known are 1/0, true/false, w/r, read/write, set/get and SCSI opcodes 2a/28; for others "
            "--read-codes and --write-codes, as in --read-codes 1 --write-codes 0,2; or leave the column out",
        )
