"""Address spaces and units as types, and the text people write them in.

A number that names a place or an amount carries its kind in its type, so that a guest frame is never taken for a
host one, nor a byte for a page. At run time they are plain integers.
"""

import re
from typing import Final, NewType

from agewalk.core.errors import InputError

Gfn = NewType("Gfn", int)  # guest frame number, 4 KiB
Pfn = NewType("Pfn", int)  # host frame number, 4 KiB
Hva = NewType("Hva", int)  # host virtual address, bytes
Seq = NewType("Seq", int)  # MGLRU generation, counted up for ever
Pages = NewType("Pages", int)  # an amount of 4 KiB pages
Bytes = NewType("Bytes", int)  # an amount of bytes
Ns = NewType("Ns", int)  # nanoseconds

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
PMD_SHIFT: Final = 21
PTRS_PER_PTE: Final = 512  # PTEs of a page table; 4 KiB pages of a PMD

_SIZES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
#: Units that people write, and the one that is meant.
_MEANT: Final = {
    **{f"{letter}{rest}": f"{letter.upper()}iB" for letter in "kmgt" for rest in ("", "b", "i", "ib")},
    **dict.fromkeys(("byte", "bytes"), "B"),
    **dict.fromkeys(("nsec", "nsecs"), "ns"),
    **dict.fromkeys(("usec", "usecs", "µs", "μs"), "us"),
    **dict.fromkeys(("msec", "msecs"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
}
_TIMES: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}


def _parse(text: str, units: dict[str, int], what: str) -> int:
    match = re.fullmatch(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([A-Za-zµμ]*)\s*", text)
    names = ", ".join(units)
    if not match:
        raise InputError(
            f"{text[:80]!r} is not a {what}", hint=f"write a number and one of {names}, as in '2 {list(units)[2]}'"
        )
    number, unit = match.groups()
    if unit not in units:
        near = _near(unit, units)
        said = f"has no unit: a {what} needs one of {names}" if not unit else f"has an unknown unit {unit!r}"
        raise InputError(f"{text!r} {said}", hint=f"did you mean '{number} {near}'?" if near else f"use one of {names}")
    whole, _, fraction = number.partition(".")
    scale: int = 10 ** len(fraction)
    return (int(whole) * scale + int(fraction or 0)) * units[unit] // scale


def _near(unit: str, units: dict[str, int]) -> str | None:
    """The unit that `unit` stands for: "M" and "MB" for MiB, "sec" for s."""
    if not unit:
        return None
    meant = "MiB" if unit.lower() == "m" and "MiB" in units else _MEANT.get(unit.lower())  # m: also minutes
    return next((name for name in units if name == meant or name.lower() == unit.lower()), None)


def parse_size(text: str) -> Bytes:
    """Bytes of a text such as "640 MiB". Raises InputError for a bare number or an unknown unit."""
    return Bytes(_parse(text, _SIZES, "size"))


def parse_time(text: str) -> Ns:
    """Nanoseconds of a text such as "80 us" or "2 s". Raises InputError for a bare number or an unknown unit."""
    return Ns(_parse(text, _TIMES, "time"))


def _format(value: int, units: dict[str, int]) -> str:
    unit, scale = next(((u, s) for u, s in reversed(units.items()) if abs(value) >= s), next(iter(units.items())))
    number = value / scale
    return f"{value // scale} {unit}" if value % scale == 0 else f"{number:.{2 if number < 10 else 1}f} {unit}"


def format_size(size: int) -> str:
    """Bytes in the largest unit that leaves a whole part: 671088640 -> "640 MiB"."""
    return _format(size, _SIZES)


def format_time(ns: int) -> str:
    """Nanoseconds in the largest unit that leaves a whole part: 80000 -> "80 us"."""
    return _format(ns, _TIMES)


def pages_of(size: Bytes) -> Pages:
    """Whole 4 KiB pages in `size` bytes."""
    return Pages(size >> PAGE_SHIFT)
