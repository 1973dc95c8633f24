"""What `agewalk trace info` says of a trace: facts, the working set over time, and a map of pages over time.

Two passes over the trace: the first finds where time begins and ends and checks every row, the second counts. Memory is
about eight bytes for each page touched (`PageSet`), three times over while it is merged, and at most a million windows.

The *working set* is the number of distinct pages touched in a window of guest time: a second, or for traces under ten
seconds a tenth to a hundredth of the whole (a power of ten of nanoseconds), but never less than a slot and never
so short that there are over a million. Windows start at
the first row's second; those without rows count as 0; quantiles are by nearest rank, so they are numbers of pages that
occurred.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import PTRS_PER_PTE
from agewalk.trace.format import CONTEXTS, Batch, Trace
from agewalk.trace.meta import meta_strings

S: Final = 10**9
MAP_COLUMNS: Final = 240  # of the map: time
MAP_ROWS: Final = 160  # of the map: guest memory
_CHUNK: Final = 16  # 2^16 pages: 256 MiB
_MANY: Final = 1 << 13  # pages from which on a chunk's map takes less than eight bytes a page
_MERGE: Final = 1 << 18  # new pages that wait at least
MAX_WINDOWS: Final = 10**6
QUANTILES: Final = (50, 90, 99)


class PageSet:
    """A set of gfns that takes at most about eight bytes a page, wherever the pages lie.

    A chunk of 256 MiB with many pages is a map of booleans, all other pages are one sorted array. New pages wait in
    `_pending` until there are as many as the array holds, so that merging costs O(log n) a page.
    """

    def __init__(self) -> None:
        self.clear()

    def add(self, gfns: NDArray[np.uint64], *, distinct: bool = False) -> None:
        """Add gfns, in any order; distinct: they ascend and each occurs once."""
        pages = gfns if distinct else _ascending(gfns)
        if self._maps and len(pages):
            pages = self._add_to_maps(pages)
        if len(pages):
            self._pending.append(pages)
            self._waiting += len(pages)
            if self._waiting > max(_MERGE, len(self._sorted)):
                self._merge()

    def clear(self) -> None:
        """Empty the set."""
        self._maps: dict[int, NDArray[np.bool_]] = {}
        self._sorted = np.zeros(0, np.uint64)
        self._pending: list[NDArray[np.uint64]] = []
        self._waiting = 0

    def __len__(self) -> int:
        self._merge()
        return len(self._sorted) + sum(int(np.count_nonzero(bits)) for bits in self._maps.values())

    def regions(self) -> int:
        """2 MiB regions with at least one page in the set."""
        self._merge()
        mapped = sum(int(bits.reshape(-1, PTRS_PER_PTE).any(axis=1).sum()) for bits in self._maps.values())
        numbers = self._sorted // np.uint64(PTRS_PER_PTE)
        return mapped + int(np.count_nonzero(numbers[1:] != numbers[:-1])) + min(1, len(numbers))

    def _add_to_maps(self, pages: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Set the pages, which ascend, whose chunk has a map; the others are returned."""
        others: list[NDArray[np.uint64]] = []
        for chunk, start, end in _runs(pages >> np.uint64(_CHUNK)):
            inside = pages[start:end]
            if chunk in self._maps:
                self._maps[chunk][inside & np.uint64((1 << _CHUNK) - 1)] = True
            else:
                others.append(inside)
        return np.concatenate(others) if others else pages[:0]

    def _merge(self) -> None:
        """Put what waits into the sorted array; give a chunk with many pages its map."""
        if not self._pending:
            return
        pages = _ascending(np.concatenate([self._sorted, *self._pending]))
        self._pending, self._waiting = [], 0
        for chunk, start, end in _runs(pages >> np.uint64(_CHUNK)):
            if end - start >= _MANY:
                self._maps[chunk] = np.zeros(1 << _CHUNK, np.bool_)
        self._sorted = self._add_to_maps(pages) if self._maps else pages


@dataclass(frozen=True, slots=True)
class PhaseFacts:
    """A phase: rows and distinct pages from its mark to the next."""

    mark: int
    time_ns: int
    text: str
    rows: int
    pages: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of a trace; times in nanoseconds of guest time.

    curve: (start of a window, distinct pages in it) for every window with rows. windows: all of them.
    heat: rows that fell into each cell of `MAP_ROWS` stretches of guest memory by `MAP_COLUMNS` stretches of time.
    """

    trace: Trace
    first_ns: int
    last_ns: int
    pages: int
    regions: int
    writes: int
    vcpu_rows: list[int]
    context_rows: list[int]
    window_ns: int
    windows: int
    curve: list[tuple[int, int]]
    phases: list[PhaseFacts]
    heat: NDArray[np.int64] = field(repr=False)
    column_ns: int
    row_pages: int

    @property
    def rows(self) -> int:
        """Rows of the trace."""
        return self.trace.rows

    @property
    def duration_ns(self) -> int:
        """From the first row's slot to the end of the last one's."""
        return self.last_ns - self.first_ns + (self.trace.meta.row_epoch_ns or 0)

    def working_set(self) -> dict[str, int]:
        """Quantiles of the working set, in pages."""
        counts = sorted([0] * min(1, self.windows - len(self.curve)) + [pages for _, pages in self.curve])
        empty = self.windows - len(self.curve)

        def rank(percent: int) -> int:
            index = -(-percent * self.windows // 100) - 1 - max(0, empty - 1)
            return counts[max(0, index)]

        return {"min": counts[0], **{f"p{q}": rank(q) for q in QUANTILES}, "max": counts[-1]}

    def as_json(self) -> dict[str, Any]:
        """The document that `agewalk trace info --json` prints, `schema` 1."""
        meta = self.trace.meta
        return {
            "schema": 1,
            "trace": self.trace.name,
            "rows": self.rows,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "duration_ns": self.duration_ns,
            "memory_bytes": meta.memory_bytes,
            "pages": self.pages,
            "regions": self.regions,
            "writes": self.writes,
            "vcpus": self.vcpu_rows,
            "contexts": dict(zip(CONTEXTS, self.context_rows, strict=True)),
            "working_set": {"window_ns": self.window_ns, "windows": self.windows, **self.working_set()},
            "phases": [
                {"mark": p.mark, "time_ns": p.time_ns, "text": p.text, "rows": p.rows, "pages": p.pages}
                for p in self.phases
            ],
            "metadata": {k: v for k, v in meta_strings(meta).items() if k != "phases"},
        }


def facts(trace: Trace, *, progress: Callable[[int], object] = lambda rows: None) -> Facts:  # noqa: ARG005
    """Read `trace` twice and count; `progress` is told the rows of each batch, so 2 x trace.rows in all. Raises TraceError."""
    first = last = 0
    started = False
    for batch in trace.batches():
        first, started = (first, True) if started else (int(batch.time_ns[0]), True)
        last = int(batch.time_ns[-1])
        progress(len(batch))
    count = _Counts(trace, first, last)
    for batch in trace.batches():
        count.add(batch)
        progress(len(batch))
    return count.result()


def window_for(duration_ns: int, slot_ns: int) -> int:
    """A second; for less than ten seconds the power of ten that gives 10 to 100 windows; at least a slot, which rows begin.

    For more than `MAX_WINDOWS` seconds: the power of ten that gives at most so many windows.
    """
    if duration_ns >= 10 * S:
        return max(S, slot_ns, 10 ** len(str(duration_ns // MAX_WINDOWS)) if duration_ns >= MAX_WINDOWS * S else 0)
    return max(int(10 ** max(0, len(str(duration_ns)) - 2)), slot_ns)


class _Counts:
    """The second pass."""

    def __init__(self, trace: Trace, first: int, last: int) -> None:
        self._trace = trace
        self._first, self._last = first, last
        self._window = window_for(last - first, trace.meta.row_epoch_ns or 0)
        self._origin = first // self._window * self._window
        self._column = -(-(last - first + 1) // MAP_COLUMNS)
        self._row_pages = -(-trace.meta.pages // MAP_ROWS)
        self._heat = np.zeros(MAP_ROWS * MAP_COLUMNS, np.int64)
        self._pages = PageSet()
        self._writes = 0
        self._vcpus = np.zeros(256, np.int64)
        self._contexts = np.zeros(len(CONTEXTS), np.int64)
        self._curve: list[tuple[int, int]] = []
        self._open = -1
        self._open_pages = PageSet()
        self._marks = [0, *(p.time_ns for p in trace.meta.phases)]
        self._phase_rows = [0] * len(self._marks)
        self._phase_counts = [0] * len(self._marks)
        self._phase = 0  # the open one, whose pages are in `_phase_pages`
        self._phase_pages = PageSet()

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        pages = _ascending(batch.gfn)
        self._pages.add(pages, distinct=True)
        self._writes += int(batch.write.sum())
        self._vcpus += np.bincount(batch.vcpu, minlength=256)
        self._contexts += np.bincount(batch.context, minlength=len(CONTEXTS))
        column = (batch.time_ns - np.uint64(self._first)) // np.uint64(self._column)
        cell = (batch.gfn // np.uint64(self._row_pages)) * np.uint64(MAP_COLUMNS) + column
        self._heat += np.bincount(cell.astype(np.intp), minlength=len(self._heat))
        window = (batch.time_ns - np.uint64(self._origin)) // np.uint64(self._window)
        for number, start, end in _runs(window):
            if number != self._open:
                self._close()
                self._open = number
            part, all_rows = batch.gfn[start:end], end - start == len(batch)
            self._open_pages.add(pages if all_rows else part, distinct=all_rows)
        phase = np.searchsorted(np.array(self._marks, np.uint64), batch.time_ns, side="right").astype(np.uint64)
        for number, start, end in _runs(phase):
            self._phase_rows[number - 1] += end - start
            if number - 1 != self._phase:
                self._close_phase()
                self._phase = number - 1
            part, all_rows = batch.gfn[start:end], end - start == len(batch)
            self._phase_pages.add(pages if all_rows else part, distinct=all_rows)

    def _close(self) -> None:
        if self._open >= 0:
            self._curve.append((self._origin + self._open * self._window, len(self._open_pages)))
        self._open_pages.clear()

    def _close_phase(self) -> None:
        self._phase_counts[self._phase] = len(self._phase_pages)
        self._phase_pages.clear()

    def result(self) -> Facts:
        """All that was counted."""
        self._close()
        self._close_phase()
        seen = int(np.flatnonzero(self._vcpus)[-1]) + 1
        vcpus = max(seen, self._trace.meta.vcpus or 0)
        phases = self._trace.meta.phases
        return Facts(
            trace=self._trace,
            first_ns=self._first,
            last_ns=self._last,
            pages=len(self._pages),
            regions=self._pages.regions(),
            writes=self._writes,
            vcpu_rows=self._vcpus[:vcpus].tolist(),
            context_rows=self._contexts.tolist(),
            window_ns=self._window,
            windows=(self._last - self._origin) // self._window + 1,
            curve=self._curve,
            phases=[
                PhaseFacts(p.mark, p.time_ns, p.text, rows, pages)
                for p, rows, pages in zip(phases, self._phase_rows[1:], self._phase_counts[1:], strict=True)
            ],
            heat=self._heat.reshape(MAP_ROWS, MAP_COLUMNS),
            column_ns=self._column,
            row_pages=self._row_pages,
        )


def _ascending(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The distinct values, ascending. np.unique's hash table is several times slower where most values are distinct."""
    values = np.sort(values)
    fresh = np.ones(len(values), np.bool_)
    fresh[1:] = values[1:] != values[:-1]
    return values[fresh]


def _runs(values: NDArray[np.uint64]) -> Iterator[tuple[int, int, int]]:
    """(value, start, end) of each run of equal values."""
    cuts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    for start, end in pairwise(cuts):
        yield int(values[start]), start, end
