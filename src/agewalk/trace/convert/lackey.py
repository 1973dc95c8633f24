"""valgrind's lackey text: `valgrind --tool=lackey --trace-mem=yes --log-file=FILE PROGRAM`.

    I  04001000,3      instruction fetch: address (hex), bytes
     L 1ffeffe7e,8     load
     S 1ffeffe80,8     store
     M 0421c7cc,4      modify: load and store

Lackey has no clock. One instruction is one nanosecond of guest time (as in the traces that agewalk ships); a data
access has the time of the instruction line before it. All accesses are vCPU 0's: lackey runs one thread at a time.
An access that crosses a page boundary touches both pages. Lines of valgrind about
itself (`==`, `--`, `**`) are counted and left out.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import PAGE_SHIFT
from agewalk.trace.convert.source import Lines, Source
from agewalk.trace.format import GUEST, Batch

_HINT: Final = (
    "expected 'I  ADDR,SIZE', ' L ADDR,SIZE', ' S ...' or ' M ...'; use --log-file to keep program output apart"
)
_HEX: Final = np.full(256, 255, np.uint8)
for _i, _c in enumerate(b"0123456789abcdef"):
    _HEX[_c] = _i
for _i, _c in enumerate(b"ABCDEF"):
    _HEX[_c] = 10 + _i
_MAX_SIZE_DIGITS: Final = 4  # the widest access (XSAVE) is under 10,000 bytes


def read_lackey(source: Source, *, instructions: bool = True) -> Iterator[Batch]:
    """Accesses of a lackey trace; `instructions` says whether fetches count as accesses. Raises TraceError with the line."""
    fetched = 0  # instructions so far
    for lines in source.lines():
        kind, address, size = _parse(source, lines)
        is_fetch = kind == ord("I")
        # the first instruction is at 0, and so is data before any
        clock = np.maximum(np.cumsum(is_fetch, dtype=np.int64) + fetched - 1, 0).astype(np.uint64)
        fetched += int(is_fetch.sum())
        wanted = np.ones(len(kind), np.bool_) if instructions else ~is_fetch
        source.account.used += int(wanted.sum())
        source.account.skip("instruction fetches (--no-instructions)", int((~wanted).sum()))
        kind, address, size, clock = kind[wanted], address[wanted], size[wanted], clock[wanted]
        first = address >> np.uint64(PAGE_SHIFT)
        pages = (((address + (size - np.uint64(1))) >> np.uint64(PAGE_SHIFT)) - first + np.uint64(1)).astype(np.int64)
        write = (kind == ord("S")) | (kind == ord("M"))
        if len(pages) and pages.max() > 1:
            which = np.repeat(np.arange(len(pages)), pages)
            within = np.arange(len(which)) - np.repeat(np.cumsum(pages) - pages, pages)
            first, clock, write = first[which] + within.astype(np.uint64), clock[which], write[which]
        if len(first):
            yield Batch.of(clock, first, write=write, context=GUEST)


def _parse(source: Source, lines: Lines) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]:
    """Kind, address and size of each access line; the whole block at once, a digit position at a time."""
    text = np.frombuffer(lines.data, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate([np.zeros(1, ends.dtype), ends[:-1] + 1])
    ends = ends - ((ends > starts) & (text[ends - 1] == ord("\r")))
    number = np.arange(lines.first, lines.first + len(starts))
    c0, c1, c2 = (_at(text, starts, ends, k) for k in range(3))
    blank = ends == starts
    own = (c0 == c1) & np.isin(c0, np.frombuffer(b"=-*", np.uint8))
    source.account.set_aside("blank lines", int(blank.sum()))
    source.account.set_aside("lines of valgrind about itself", int(own.sum()))
    own |= blank
    starts, ends, number, c0, c1, c2 = (a[~own] for a in (starts, ends, number, c0, c1, c2))
    fetch = (c0 == ord("I")) & (c1 == ord(" "))
    data = (c0 == ord(" ")) & np.isin(c1, np.frombuffer(b"LSM", np.uint8))
    commas = np.append(np.flatnonzero(text == ord(",")), len(text))
    comma = commas[np.searchsorted(commas, starts)]
    address_digits, size_digits = comma - starts - 3, ends - comma - 1
    good = (fetch | data) & (c2 == ord(" ")) & (comma < ends)
    good &= (address_digits >= 1) & (address_digits <= 16) & (size_digits >= 1) & (size_digits <= _MAX_SIZE_DIGITS)
    address, right = _number(text, starts + 3, np.where(good, address_digits, 0), 16)
    size, right_too = _number(text, comma + 1, np.where(good, size_digits, 0), 10)
    good &= right & right_too & (size > 0) & (address <= np.uint64(2**64 - 1) - size)
    if not good.all():
        at = int(np.argmin(good))
        shown = bytes(text[starts[at] : min(ends[at], starts[at] + 40)])
        raise source.error(f"not a line of lackey's: {shown!r}", line=int(number[at]), hint=_HINT)
    return np.where(fetch, c0, c1), address, size


def _at(text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], k: int) -> NDArray[np.uint8]:
    """The k-th byte of each line, 0 past its end."""
    inside = starts + k < ends
    return np.where(inside, text[np.minimum(starts + k, len(text) - 1)], np.uint8(0))


def _number(
    text: NDArray[np.uint8], start: NDArray[np.int64], digits: NDArray[np.int64], base: int
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Numbers of `digits` digits from `start`, and whether every digit was one."""
    value = np.zeros(len(start), np.uint64)
    good = np.ones(len(start), np.bool_)
    for k in range(int(digits.max(initial=0))):
        live = k < digits
        digit = _HEX[text[np.minimum(start + k, len(text) - 1)]]
        good &= ~live | (digit < base)
        value = np.where(live, value * np.uint64(base) + digit, value)
    return value, good
