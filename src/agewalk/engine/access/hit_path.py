"""The hot loop: accesses that find their page mapped, and memoised faults among them.

While accesses hit, they are done one by one. After a miss, WORD accesses are tried at a time: the hits are done, then the
memoised faults among the others, in order. Hits and memoised faults commute: a hit changes its page's byte of `pte_bits`, which
no memoised fault of another page reads or writes, and a page that hits is mapped, so it has no fault of its own. Any other fault,
and reclaim before a fault, may read and change all bytes; so the hits behind one are taken back first.
"""

from typing import Final

from agewalk.engine.access.batch import WORD, EncodedAccesses
from agewalk.engine.access.memoised_fault import memoised_faults
from agewalk.engine.compiler.jit import Array, Int, i64, njit
from agewalk.engine.compiler.state_types import fetch_row, rarely
from agewalk.engine.state.arrays import State

UNROLLED: Final = 4


@njit
def hits(pte_bits: Array, r: EncodedAccesses, start: Int, end: Int) -> Int:
    """Run accesses from `start` as long as they find what they need; returns where that ends. Unrolled.

    It stores even if nothing changes: a branch on that would be guessed wrong after each aging pass.
    """
    pages, kinds = r.host_pages, r.kinds
    i = i64(start)
    while i + UNROLLED <= end:
        for more in range(UNROLLED):
            before = pte_bits[pages[i + more]]
            after = before | kinds[i + more]
            if after ^ before > 0xF:
                return i + more
            pte_bits[pages[i + more]] = after
        i += UNROLLED
    while i < end:
        before = pte_bits[pages[i]]
        after = before | kinds[i]
        if after ^ before > 0xF:
            return i
        pte_bits[pages[i]] = after
        i += 1
    return i


@njit
def hit_block(s: State, r: EncodedAccesses, start: Int, count: Int) -> Int:
    """Run those of accesses [start, start + count) that find what they need; bit i of the result says that access start + i did
    not. Prefetches the rows of pages that missed; those cache misses dominate the cost of a fault. No branches: a branch on
    hit or miss would be mispredicted at every miss.
    """
    pte_bits, folios = s.pte_bits, s.folios
    missed = i64(0)
    for i in range(count):
        page, kind = i64(r.host_pages[start + i]), i64(r.kinds[start + i])
        before = i64(pte_bits[page])
        misses = i64(kind & ~before > 0xF)
        r.found[i] = before
        pte_bits[page] = before | kind & misses - 1
        fetch_row(folios, page & -misses)
        missed |= misses << i
    return missed


@njit
def take_back(s: State, r: EncodedAccesses, start: Int, first: Int, count: Int, missed: Int) -> None:
    """Undo hit_block(s, r, start, count), which returned `missed`, for its accesses from `first` on."""
    rarely()
    for i in range(count - 1, first - start - 1, -1):
        if not missed >> i & 1:
            s.pte_bits[i64(r.host_pages[start + i])] = r.found[i]


@njit
def run_hits(s: State, r: EncodedAccesses, start: Int, end: Int) -> Int:
    """Run accesses from `start` as long as they find what they need or are usual faults; returns where that ends."""
    i = i64(start)
    while True:
        i = hits(s.pte_bits, r, i, end)
        if i == end or memoised_faults(s, r, i, i64(1)) == i:
            return i
        i += 1
        while i < end:
            count = min(end - i, i64(WORD))
            missed = hit_block(s, r, i, count)
            if missed:
                stopped = memoised_faults(s, r, i, missed)
                if stopped < i + count:
                    take_back(s, r, i, stopped + 1, count, missed)
                    return stopped
            i += count
            if not missed:
                break
