"""Belady's OPT: evict the page whose next use is furthest away; no policy that must bring in what is touched misses less.

L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2), 1966. It needs the
future, so it takes a whole trace at once (12 bytes an access beside it), not batches.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from agewalk.core.errors import UsageError
from agewalk.engine.baselines.queues import Tally, tallies
from agewalk.engine.compiler.jit import Array, Int, entry, i64, njit


@entry
def _next_uses(pages: Array, next_use: Array, seen: Array) -> None:
    """next_use[i] = index of the next access to the same page, or the number of accesses if there is none."""
    n = pages.shape[0]
    for back in range(n):
        i = n - 1 - back
        page = i64(pages[i])
        next_use[i] = seen[page]
        seen[page] = i


@njit
def _push(heap: Array, size: Int, key: int) -> None:
    place = size
    while place and heap[(place - 1) >> 1] < key:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = key


@njit
def _sift(heap: Array, size: Int, place: Int, key: Int) -> None:
    """Let `key` sink from `place` to where no child is larger."""
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = key


@njit
def _pop(heap: Array, size: Int) -> Int:
    """Take the largest key out of `size` keys."""
    top = i64(heap[0])
    _sift(heap, size - 1, i64(0), i64(heap[size - 1]))
    return top


@njit
def _sweep(heap: Array, size: Int, pages: Array, due: Array, n: int) -> Int:
    """Drop stale keys and make a heap of the rest; returns how many are left."""
    kept = 0
    for place in range(size):
        key = heap[place]
        page = key - n if key >= n else i64(pages[key])
        if due[page] == key:
            heap[kept] = key
            kept += 1
    for back in range(kept // 2):
        place = kept // 2 - 1 - back
        _sift(heap, kept, place, i64(heap[place]))
    return kept


@entry
def _opt(
    pages: Array,
    times: Array,
    next_use: Array,
    owner: Array,
    due: Array,
    seen: Array,
    used: Array,
    heap: Array,
    capacity: Int,
    hot_after: Int,
    counts: Array,
) -> None:
    """The heap holds next uses, stale ones too: a page is due at due[page] or, if that is negative, not resident.

    A next use names its page (pages[next use]), except for those without one: they are pushed as n + page and go first.
    """
    n = pages.shape[0]
    size = resident = 0
    for i in range(n):
        page = i64(pages[i])
        if due[page] < 0:
            counts[owner[page], 0] += 1
            counts[owner[page], 1] += seen[page]
            seen[page] = 1
            if resident == capacity:
                while True:
                    key = _pop(heap, size)
                    size -= 1
                    victim = key - n if key >= n else i64(pages[key])
                    if due[victim] == key:
                        break
                due[victim] = -1
                counts[owner[victim], 2] += 1
                if times[i] - used[victim] < hot_after:
                    counts[owner[victim], 3] += 1
            else:
                resident += 1
        key = i64(next_use[i])
        if key == n:
            key = n + page
        due[page] = key
        used[page] = times[i]
        # A hit leaves its old key (i) behind: it is in the past, below every live key, and cannot reach the top before them.
        if size == heap.shape[0]:
            size = _sweep(heap, size, pages, due, n)
        _push(heap, size, key)
        size += 1


def opt(
    pages: npt.NDArray[np.uint32],
    capacity: int,
    n_pages: int,
    *,
    times_ns: npt.NDArray[Any] | None = None,
    owner: npt.NDArray[np.uint16] | None = None,
    hot_after_ns: int = 0,
) -> list[Tally]:
    """What OPT does with `capacity` pages, one Tally a owner. Raises UsageError for a capacity below one page."""
    if capacity < 1:
        raise UsageError(f"{capacity} pages of memory hold nothing", hint="give at least one page")
    n = len(pages)
    owner = np.zeros(n_pages, np.uint16) if owner is None else owner
    times = np.zeros(n, np.int64) if times_ns is None else times_ns.astype(np.int64, copy=False)
    next_use = np.empty(n, np.uint32)
    _next_uses(pages, next_use, np.full(n_pages, n, np.uint32))
    due = np.full(n_pages, -1, np.int64)
    counts = np.zeros((int(owner.max(initial=0)) + 1, 4), np.int64)
    heap = np.empty(2 * min(capacity, n_pages) + 16, np.int64)
    fresh = np.zeros(n_pages, np.uint8), np.zeros(n_pages, np.int64)
    _opt(pages, times, next_use, owner, due, *fresh, heap, capacity, hot_after_ns, counts)
    resident = np.bincount(owner[due >= 0], minlength=len(counts))
    return tallies(counts, resident)
