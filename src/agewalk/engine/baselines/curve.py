"""LRU's misses at every memory size from one pass, exactly (stack distances) or from a sample with an error bar (SHARDS).

Mattson, Gecsei, Slutz, Traiger, "Evaluation techniques for storage hierarchies", IBM Systems Journal 9(2), 1970: an access
misses in an LRU of C pages exactly if at least C other pages were used since the last use of its page. Counting those is a
prefix sum over "last uses by time", kept in a Fenwick tree (Bennett and Kruskal, 1975) that is compacted when it fills.

Waldspurger, Park, Garthwaite, Ahmad, "Efficient MRC construction with SHARDS", FAST 2015: follow only the pages whose hash
falls below a threshold, and scale the distances; SHARDS-adj books the difference between expected and actual sample size in
the first bucket. The error bar here comes from splitting the sample into independent parts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agewalk.core.errors import UsageError
from agewalk.engine.compiler.jit import Array, Int, entry, i64, njit

# Two-sided 95 % quantiles of Student's t for 1 .. 15 degrees of freedom (any statistics handbook).
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_SCALE = 1 << 24  # hashes are compared in units of 2**-24


@njit
def _compact(last: Array, at: Array, tree: Array, clock: int) -> Int:
    """Renumber last uses 1, 2, 3 ... in their order and build the tree anew; returns the last number given."""
    next_number = 0
    for time in range(1, clock + 1):
        page = i64(at[time])
        if page >= 0 and last[page] == time:
            next_number += 1
            at[next_number] = page
            last[page] = next_number
    size = tree.shape[0]
    tree[:] = 0
    for time in range(1, next_number + 1):
        tree[time] = 1
    for time in range(1, size):
        up = time + (time & -time)
        if up < size:
            tree[up] += tree[time]
    return next_number


@entry
def _distances(pages: Array, last: Array, at: Array, tree: Array, state: Array, histogram: Array) -> None:
    """Add each access to histogram[pages used since, itself not counted]; first uses to histogram[-1]."""
    size = tree.shape[0]
    clock, live = state[0], state[1]
    for i in range(pages.shape[0]):
        page = i64(pages[i])
        if clock + 1 >= size:
            clock = _compact(last, at, tree, clock)
        before = i64(last[page])
        if before:
            not_later = i64(0)
            place = before
            while place:
                not_later += tree[place]
                place &= place - 1
            histogram[live - not_later] += 1
            place = before
            while place < size:
                tree[place] -= 1
                place += place & -place
        else:
            histogram[histogram.shape[0] - 1] += 1
            live += 1
        clock += 1
        last[page] = clock
        at[clock] = page
        place = clock
        while place < size:
            tree[place] += 1
            place += place & -place
    state[0], state[1] = clock, live


@njit
def _hashed(page: Int, salt: int) -> Int:
    """24 bits of Steele's and Lea's mixer (splitmix64's finaliser) over page and salt."""
    word = np.uint64(page) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return i64((word ^ (word >> np.uint64(31))) >> np.uint64(40))


@entry
def _sampled(pages: Array, low: Int, high: Int, salt: Int, out: Array) -> Int:
    """Copy the pages whose hash lies in [low, high) to `out`; returns how many."""
    n = 0
    for i in range(pages.shape[0]):
        if low <= _hashed(pages[i], salt) < high:
            out[n] = pages[i]
            n += 1
    return n


class LruCurve:
    """Misses of LRU at every memory size, exact; 16 bytes a page and 8 for the histogram, about log2(pages) steps an access."""

    def __init__(self, n_pages: int) -> None:
        self.n_pages = n_pages
        self._last = np.zeros(n_pages, np.int32)
        self._at = np.full(2 * n_pages + 2, -1, np.int32)
        self._tree = np.zeros(2 * n_pages + 2, np.int32)
        self._state = np.zeros(2, np.int64)
        self.histogram = np.zeros(n_pages + 1, np.int64)

    def feed(self, pages: npt.NDArray[np.uint32]) -> None:
        """Take the next accesses (page numbers below n_pages)."""
        _distances(pages, self._last, self._at, self._tree, self._state, self.histogram)

    @property
    def accesses(self) -> int:
        """Accesses so far."""
        return int(self.histogram.sum())

    def misses(self) -> npt.NDArray[np.int64]:
        """Misses with 0, 1, 2 .. n_pages pages of memory: an access at distance d hits from d + 1 pages on."""
        hits = np.concatenate(([0], np.cumsum(self.histogram[:-1])))
        return np.asarray(self.histogram.sum() - hits, np.int64)


@dataclass(frozen=True)
class Estimate:
    """A miss ratio and half the width of its 95 % confidence interval."""

    ratio: float
    error: float


class Shards:
    """LRU's miss ratio at any size from the pages whose hash falls below `rate`, in `parts` independent samples."""

    def __init__(self, n_pages: int, *, rate: float = 0.01, parts: int = 8, seed: int = 0) -> None:
        if not 0 < rate <= 1 or not 2 <= parts <= 16:
            raise UsageError(
                f"cannot sample {rate} of the pages in {parts} parts", hint="0 < rate <= 1 and 2 to 16 parts"
            )
        self.rate = rate
        self.parts = parts
        self.seed = seed
        self.accesses = 0
        width = max(1, int(rate * _SCALE / parts))
        self._width = width
        self._curves = [LruCurve(n_pages) for _ in range(parts)]

    def feed(self, pages: npt.NDArray[np.uint32]) -> None:
        """Take the next accesses."""
        self.accesses += len(pages)
        for part, curve in enumerate(self._curves):
            kept = np.empty_like(pages)
            low = part * self._width
            curve.feed(kept[: _sampled(pages, low, low + self._width, self.seed, kept)])

    def estimate(self, capacity: int, footprint: int) -> Estimate:
        """Miss ratio of LRU with `capacity` pages: the mean of the parts, and 95 % by Student's t over them.

        footprint: pages touched in all, of which each part knows its share exactly. Parts that met no page say nothing; where
        fewer than two did, the error is 1.
        """
        ratios = []
        for curve in self._curves:
            mine = int(curve.histogram[-1])  # pages: first uses
            if not mine:
                continue
            expected = self.accesses * mine / footprint
            hits = float(curve.histogram[: min(capacity * mine // footprint, curve.n_pages)].sum())
            hits += expected - curve.accesses  # SHARDS-adj: the first bucket takes the difference
            ratios.append(min(1.0, max(0.0, 1.0 - hits / expected)))
        if len(ratios) < 2:
            return Estimate(ratios[0] if ratios else 1.0, 1.0)
        mean = sum(ratios) / len(ratios)
        spread = sum((ratio - mean) ** 2 for ratio in ratios) / (len(ratios) - 1)
        return Estimate(mean, _T95[len(ratios) - 2] * (spread / len(ratios)) ** 0.5)
