"""LRU, FIFO, Clock and random replacement over a fixed number of pages, streamed batch by batch.

Clock is FIFO with one reference bit, as Corbato described it ("A paging experiment with the Multics system", 1968); a page
enters with the bit clear and a hit sets it. Miss counts equal libcachesim 0.3.5's LRU, FIFO and Clock.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agewalk.core.errors import UsageError
from agewalk.engine.compiler.jit import Array, Int, entry, i64, njit

POLICIES: Final = ("lru", "fifo", "clock", "random")

# Columns of `counts`, one row an owner.
FAULTS, REFAULTS, EVICTIONS, HOT = range(4)
# Words of `state`: next ring slot, pages resident, the generator's state.
_HAND, _RESIDENT, _SEED = range(3)
# `where[page]` of a page that is not resident; otherwise its ring slot.
_NEVER, _GONE = -1, -2


@njit
def _gone(victim: Int, owner: Array, where: Array, used: Array, now: Int, hot_after: Int, counts: Array) -> None:
    """Books one eviction."""
    where[victim] = _GONE
    counts[owner[victim], EVICTIONS] += 1
    if now - used[victim] < hot_after:
        counts[owner[victim], HOT] += 1


@njit
def _fault(page: Int, owner: Array, where: Array, counts: Array) -> None:
    """Books one miss."""
    counts[owner[page], FAULTS] += 1
    if where[page] == _GONE:
        counts[owner[page], REFAULTS] += 1


@entry
def _lru(
    pages: Array,
    times: Array,
    owner: Array,
    where: Array,
    links: Array,
    state: Array,
    capacity: Int,
    used: Array,
    hot_after: Int,
    counts: Array,
) -> None:
    """`links[0]` leads to the next older page, `links[1]` to the next newer; the sentinel closes both rings."""
    end = where.shape[0]
    older, newer = links[0], links[1]
    for i in range(pages.shape[0]):
        page = i64(pages[i])
        if where[page] < 0:
            _fault(page, owner, where, counts)
            where[page] = 0
            if state[_RESIDENT] == capacity:
                victim = i64(newer[end])
                after = i64(newer[victim])
                newer[end] = after
                older[after] = end
                _gone(victim, owner, where, used, times[i], hot_after, counts)
            else:
                state[_RESIDENT] += 1
        else:
            below, above = i64(older[page]), i64(newer[page])
            newer[below] = above
            older[above] = below
        top = i64(older[end])
        older[page] = top
        newer[page] = end
        newer[top] = page
        older[end] = page
        used[page] = times[i]


@entry
def _ring(
    pages: Array,
    times: Array,
    owner: Array,
    where: Array,
    ring: Array,
    marked: Array,
    state: Array,
    capacity: Int,
    used: Array,
    hot_after: Int,
    clock: Int,
    random: Int,
    counts: Array,
) -> None:
    """FIFO; with `clock` a marked page is passed over once; with `random` the hand jumps."""
    for i in range(pages.shape[0]):
        page = i64(pages[i])
        if where[page] >= 0:
            marked[page] = 1
        else:
            _fault(page, owner, where, counts)
            slot = i64(state[_RESIDENT])
            if slot < capacity:
                state[_RESIDENT] += 1
            else:
                slot = i64(state[_HAND])
                if random:  # Lehmer's generator modulo 2**31 - 1 (Park and Miller, 1988)
                    state[_SEED] = state[_SEED] * 48271 % 2147483647
                    slot = i64(state[_SEED]) * capacity // 2147483647
                while clock and marked[ring[slot]]:
                    marked[ring[slot]] = 0
                    slot = slot + 1 if slot + 1 < capacity else 0
                _gone(i64(ring[slot]), owner, where, used, times[i], hot_after, counts)
                state[_HAND] = slot + 1 if slot + 1 < capacity else 0
            ring[slot] = page
            where[page] = slot
            marked[page] = 0
        used[page] = times[i]


@dataclass(frozen=True)
class Tally:
    """What a policy did to one owner's pages (a VM or a process)."""

    faults: int  # misses, first touches included
    refaults: int  # misses on pages that had been evicted
    evictions: int
    hot_evictions: int  # evictions of pages used less than `hot_after_ns` before
    resident: int  # pages resident now


def tallies(counts: Array, resident: Array) -> list[Tally]:
    """Rows of FAULTS, REFAULTS, EVICTIONS, HOT, and pages resident, one an owner."""
    return [Tally(int(f), int(r), int(e), int(h), int(n)) for (f, r, e, h), n in zip(counts, resident, strict=True)]


class Queue:
    """One of `POLICIES` with room for `capacity` pages.

    Pages are numbered 0 .. n_pages - 1; `owner` (one small integer a page) says whose they are. Raises UsageError for an
    unknown policy or a capacity below one page.
    """

    def __init__(
        self,
        policy: str,
        capacity: int,
        n_pages: int,
        *,
        owner: npt.NDArray[np.uint16] | None = None,
        hot_after_ns: int = 0,
        seed: int = 1,
    ) -> None:
        if policy not in POLICIES:
            raise UsageError(f"no replacement policy {policy!r}", hint=f"one of {', '.join(POLICIES)}")
        if capacity < 1:
            raise UsageError(f"{capacity} pages of memory hold nothing", hint="give at least one page")
        self.policy = policy
        self.capacity = min(capacity, n_pages)
        self.owner = np.zeros(n_pages, np.uint16) if owner is None else owner
        self.hot_after_ns = hot_after_ns
        self._where = np.full(n_pages, _NEVER, np.int32)
        self._used = np.zeros(n_pages, np.int64)
        self._state = np.array([0, 0, 1 + seed % 2147483646], np.int64)
        self._counts = np.zeros((int(self.owner.max(initial=0)) + 1, 4), np.int64)
        if policy == "lru":
            self._links = np.full((2, n_pages + 1), n_pages, np.int32)
        else:
            self._ring = np.zeros(self.capacity, np.int32)
            self._marked = np.zeros(n_pages, np.uint8)

    def feed(self, pages: npt.NDArray[np.uint32], times_ns: npt.NDArray[Any] | None = None) -> None:
        """Take the next accesses; `times_ns` (int64, ascending) matter for hot evictions only."""
        times = np.zeros(len(pages), np.int64) if times_ns is None else times_ns.astype(np.int64, copy=False)
        common = (self._state, self.capacity, self._used, self.hot_after_ns)
        if self.policy == "lru":
            _lru(pages, times, self.owner, self._where, self._links, *common, self._counts)
        else:
            kinds = (self.policy == "clock", self.policy == "random")
            _ring(pages, times, self.owner, self._where, self._ring, self._marked, *common, *kinds, self._counts)

    def tallies(self) -> list[Tally]:
        """Counts so far, one a owner."""
        resident = np.bincount(self.owner[self._where >= 0], minlength=len(self._counts))
        return tallies(self._counts, resident)

    @property
    def misses(self) -> int:
        """Misses so far, of all owners."""
        return int(self._counts[:, FAULTS].sum())
