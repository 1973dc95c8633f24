"""Rows of a trace on their way into the host: a few thousand at a time, so that what is made of them stays in the cache."""

from typing import Final, NamedTuple

import numpy as np

from agewalk.engine.compiler.jit import Array, Int, entry, i64, njit
from agewalk.engine.compiler.state_types import fetch_row, one_argument
from agewalk.engine.state import layout as at
from agewalk.engine.state.arrays import State

BLOCK: Final = 64
AHEAD: Final = 32  # rows: note_used() asks for the memory of that one
WORD: Final = 63  # accesses that are tried at a time: a bit each in a word, without its sign
CHUNK: Final = 4096  # rows: 20 KiB, which fits the first level of the cache beside what the rows touch


@one_argument
class EncodedAccesses(NamedTuple):
    """Columns of a batch, and the part of them that is being run, as page numbers and bits of `pte_bits`."""

    time_ns: Array  # int64[rows]: ns, ascending
    space: Array  # uint16[rows]
    page: Array  # uint32[rows]: page of that space
    write: Array  # uint8[rows]
    context: Array  # uint8[rows]
    host_pages: Array  # uint32[CHUNK + AHEAD]: page of the host
    kinds: Array  # uint8[CHUNK]: bits of `pte_bits` that the access needs, and sets
    found: Array  # uint8[WORD]: what some accesses, tried at a time, found in `pte_bits` (hit_path.py)


def plain(pages: Array, kinds: Array) -> EncodedAccesses:
    """Rows that are encoded already, for `run_tick`. pages: uint32, kinds: uint8, of one length."""
    none = np.zeros(0, np.uint8)
    return EncodedAccesses(
        none.astype(np.int64),
        none.astype(np.uint16),
        none.astype(np.uint32),
        none,
        none,
        pages,
        kinds,
        np.zeros(WORD, np.uint8),
    )


@entry
def end_of_tick(r: EncodedAccesses, start: Int, end: Int, until: Int) -> Int:
    """The first row after `start` that is not before the time `until`; at most `end`, or CHUNK rows on."""
    low, step = start + 1, i64(1)  # rows before `low` are
    high = min(end, start + CHUNK)
    if r.time_ns[high - 1] < until:
        return high
    while low + step < high and r.time_ns[low + step - 1] < until:
        low += step
        step *= 2
    high = min(high, low + step)
    while low < high:
        middle = (low + high) // 2
        if r.time_ns[middle] < until:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def encode_accesses(s: State, r: EncodedAccesses, start: Int, end: Int) -> Int:
    """Make page numbers and bits of `pte_bits` of rows [start, end). How many: up to the first that the host cannot take.

    Mostly a space takes its turn for a while, so rows of one space and context are tried BLOCK at a time, with vectors.
    """
    done, wanted = i64(0), end - start
    while done < wanted:
        if done + BLOCK <= wanted and encode_uniform(s, r, start + done, done):
            done += BLOCK
            continue
        stop = min(done + BLOCK, wanted)
        while done < stop:
            which, page = i64(r.space[start + done]), i64(r.page[start + done])
            if which >= s.word[at.N_SPACES] or page >= s.space[which, at.S_PAGES]:
                return done
            kind = s.space[which, at.S_KINDS + min(i64(r.context[start + done]), i64(3))]
            r.host_pages[done] = s.space[which, at.S_FIRST] + page
            r.kinds[done] = kind | (at.WRITTEN if r.write[start + done] else 0)
            done += 1
    return done


@njit
def encode_uniform(s: State, r: EncodedAccesses, row: Int, to: Int) -> bool:
    """encode_accesses() for BLOCK rows from `row` on, to `to`. False if they differ in space or context, or one is refused."""
    which, context = i64(r.space[row]), i64(r.context[row])
    differ = 0
    for i in range(BLOCK):
        differ |= (r.space[row + i] ^ which) | (r.context[row + i] ^ context)
    if differ or which >= s.word[at.N_SPACES]:
        return False
    first, kind = s.space[which, at.S_FIRST], s.space[which, at.S_KINDS + min(context, i64(3))]
    top = i64(0)
    for i in range(BLOCK):
        page = i64(r.page[row + i])
        top = max(top, page)
        r.host_pages[to + i] = first + page
        r.kinds[to + i] = kind | (at.WRITTEN if r.write[row + i] else 0)
    return bool(top < s.space[which, at.S_PAGES])


@njit
def has_many(s: State, r: EncodedAccesses, start: Int, end: Int, until: Int) -> bool:
    """Are there so many rows before the time `until` that `note_all` is less work than `note_used` of each?"""
    some = start + s.word[at.N_PAGES] // 2
    return bool(some < end and r.time_ns[some] < until)


@njit
def note_used(s: State, r: EncodedAccesses, n: Int) -> None:
    """The end of a tick, or of a part of one: last uses are written down.

    There is no branch on whether an earlier row was of the same page: it would often be guessed wrong.
    """
    now = s.word[at.NOW]
    for i in range(n):
        page = r.host_pages[i]
        fetch_row(s.used_at, i64(r.host_pages[i + AHEAD]))
        s.used_at[page] = now
        s.pte_bits[page] &= 255 - at.USED_NOW


@njit
def note_all(s: State) -> None:
    """note_used() of all rows since the tick began, by what `pte_bits` remembers of them."""
    now = s.word[at.NOW]
    for page in range(s.word[at.N_PAGES]):
        bits = i64(s.pte_bits[page])
        s.used_at[page] = now if bits & at.USED_NOW else s.used_at[page]
        s.pte_bits[page] = bits & ~at.USED_NOW
