"""Which column of a table is what: separated text and fixed records alike.

Columns are named (by a header) or numbered from 1, as libCacheSim does. In text, what is not said is looked up by its usual
name; the first that is there is taken:

    time      time_ns, time, timestamp, clock_time, ts, real_time; also with a unit, as in time_ms or timestamp (us)
    gfn       gfn, page                 a page number
    address   address, addr, vaddr, paddr, offset    bytes; gfn = address >> 12
    object    obj_id, obj, id, key, lbn      one page an object; texts are numbered
    write     write, op                 1/0, true/false, w/r, set/get ...
    vcpu      vcpu, cpu

Sizes are taken only when asked for: with addresses a row then touches every page of [address, address + size).
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from agewalk.core.errors import UsageError
from agewalk.core.units import PAGE_SIZE

USUAL: Final = {
    "time": ("time_ns", "time", "timestamp", "clock_time", "ts", "real_time"),
    "gfn": ("gfn", "page"),
    "address": ("address", "addr", "vaddr", "paddr", "offset"),
    "object": ("obj_id", "obj", "id", "key", "lbn"),
    "write": ("write", "op"),
    "vcpu": ("vcpu", "cpu"),
}
ROLES: Final = (*USUAL, "size")
PLACES: Final = ("gfn", "address", "object")
TIME_UNITS: Final = {
    "ps": Fraction(1, 1000), "ns": Fraction(1), "us": Fraction(10**3), "ms": Fraction(10**6), "s": Fraction(10**9),
    "min": Fraction(60 * 10**9), "h": Fraction(3600 * 10**9),
}  # fmt: skip
MAX_REQUEST: Final = 1 << 36  # bytes that one row may touch: 64 GiB, 16 M pages
#: Seconds: later than the year 5000 of a clock, and 3,000 years of a run. Such numbers have another unit.
IMPLAUSIBLE_SECONDS: Final = 10**11
_TIME_NAME: Final = re.compile(rf"({'|'.join(USUAL['time'][1:])})(_|\s*\(|\s*\[)(ps|ns|us|ms|s|sec|seconds)(\)|\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column is what: a header's name or a number from 1; None means by its usual name, if any.

    delimiter: None finds it among , ; tab | and space. header: None finds out. time_unit: as in "ms" or "100 ns"; None is
    what the column's name says, else seconds. decimal: what separates a time's fraction. read_codes, write_codes: what the
    write column holds, with commas. hexadecimal: addresses and page numbers are hexadecimal without 0x.
    constant: columns that must not change (the disk of a block trace).
    """

    time: str | None = None
    gfn: str | None = None
    address: str | None = None
    object: str | None = None
    size: str | None = None
    write: str | None = None
    vcpu: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    time_unit: str | None = None
    decimal: str | None = None
    read_codes: str = ""
    write_codes: str = ""
    hexadecimal: bool = False
    constant: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError for what contradicts itself."""
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n#'):
            raise UsageError(f"delimiter {self.delimiter!r} is not one character", hint="as in --delimiter ';'")
        if self.time_unit is not None:
            time_unit(self.time_unit)
        if self.decimal not in {None, ".", ","}:
            raise UsageError(f"decimal mark {self.decimal!r} is neither '.' nor ','", hint="as in --decimal ','")
        if self.place_count > 1:
            raise UsageError("more than one of the gfn, address and object columns is given", hint="name one of them")
        both = code_set(self.read_codes) & code_set(self.write_codes)
        if both:
            raise UsageError(f"code {min(both)!r} is given as a read and as a write", hint="give it once")
        if self.size is not None and self.gfn is not None:
            raise UsageError("a size goes with byte addresses, not page numbers", hint="use --address-column")

    @property
    def place_count(self) -> int:
        """How many columns are given that say which page."""
        return sum(getattr(self, p) is not None for p in PLACES)

    def asked(self) -> dict[str, str]:
        """Role -> the column that was asked for."""
        return {role: column for role in ROLES if (column := getattr(self, role)) is not None}

    def names(self) -> set[str]:
        """Columns that were asked for by name, lower case."""
        return {c.lower() for c in self.asked().values() if not re.fullmatch(r"[0-9]{1,4}", c)}


def code_set(text: str) -> set[str]:
    """Codes of a text with commas, lower case."""
    return {code.strip().lower() for code in text.split(",") if code.strip()}


def time_unit(text: str) -> Fraction:
    """Nanoseconds of "ms" or "100 ns". Raises UsageError."""
    match = re.fullmatch(r"\s*([1-9][0-9]{0,8})?\s*([a-z]+)\s*", text)
    if not match or match[2] not in TIME_UNITS:
        raise UsageError(f"unknown time unit {text[:40]!r}", hint=f"one of {', '.join(TIME_UNITS)}, or as in '100 ns'")
    return int(match[1] or 1) * TIME_UNITS[match[2]]


def unit_of_name(name: str) -> str | None:
    """The unit that a time column's name says, if it does."""
    if name == "time_ns":
        return "ns"
    match = _TIME_NAME.fullmatch(name)
    return None if match is None else {"sec": "s", "seconds": "s"}.get(match[3], match[3])


def role_of_name(name: str) -> str | None:
    """What a column of this name usually is."""
    if unit_of_name(name):
        return "time"
    return next((role for role, usual in USUAL.items() if name in usual), None)


def pages_of(address: int, size: int) -> tuple[int, int]:
    """First page and number of pages of [address, address + size); size is at least 1."""
    first = address // PAGE_SIZE
    return first, (address + size - 1) // PAGE_SIZE - first + 1
