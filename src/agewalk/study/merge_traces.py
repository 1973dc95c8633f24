"""Several traces as one stream in time: what the host's address spaces do, one after the other.

Rows of equal time keep the order of their traces (VMs first, as in the scenario), and within a trace the file's order,
however the files are cut into batches. Memory: a few batches of each trace, not the traces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import ScenarioError
from agewalk.core.units import Ns
from agewalk.engine.state.config import TOO_MANY_PAGES
from agewalk.trace import Batch, Trace

ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Accesses:
    """Consecutive accesses of all address spaces: row i says that `space[i]` touched its page `page[i]` at `time_ns[i]`."""

    time_ns: NDArray[np.int64]
    space: NDArray[np.uint16]
    page: NDArray[np.int64]  # gfn for a VM: page number inside the space
    write: NDArray[np.bool_]
    context: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time_ns)

    def __getitem__(self, rows: slice) -> "Accesses":
        """The rows of a slice, as views."""
        return Accesses(self.time_ns[rows], self.space[rows], self.page[rows], self.write[rows], self.context[rows])


class _Source:
    """One trace with the rows that were read and not yet given out."""

    def __init__(self, trace: Trace, space: int, start: Ns, rows: int) -> None:
        self._batches = trace.batches(rows)
        self._space = space
        self._start = start
        self._held: Batch | None = None
        self.done = False
        self.more()

    def more(self) -> None:
        """Read one more batch behind what is held."""
        batch = next(self._batches, None)
        if batch is None:
            self.done = True
        else:
            self._held = batch if self._held is None else Batch.concatenate([self._held, batch])

    @property
    def empty(self) -> bool:
        return self._held is None

    @property
    def first(self) -> int:
        """Time of the first row held, before the clock is set."""
        assert self._held is not None
        return int(self._held.time_ns[0]) + self._start

    def count_from(self, zero: int) -> None:
        """From now on, times are counted from `zero`."""
        self._start = Ns(self._start - zero)

    @property
    def last(self) -> int:
        """Time on the host's clock of the last row held."""
        assert self._held is not None
        return int(self._held.time_ns[-1]) + self._start

    def before(self, end: int | None) -> Accesses | None:
        """Take the rows before `end` (all if None)."""
        held = self._held
        if held is None:
            return None
        if end is None:
            cut = len(held)
        else:
            cut = int(np.searchsorted(held.time_ns, np.uint64(max(0, end - self._start))))
        if not cut:
            return None
        self._held = held[cut:] if cut < len(held) else None
        rows = held[:cut]
        return Accesses(
            rows.time_ns.astype(np.int64) + self._start,
            np.full(cut, self._space, np.uint16),
            rows.gfn.astype(np.int64),
            rows.write,
            rows.context,
        )


def merged(traces: Sequence[Trace], starts: Sequence[Ns], *, rows: int = ROWS) -> Iterator[Accesses]:
    """All rows of all traces in ascending time; `starts[i]` is added to trace i's times, and the first of all rows is at 0,
    whatever clock the traces were recorded with. Raises TraceError."""
    sources = [_Source(t, i, s, rows) for i, (t, s) in enumerate(zip(traces, starts, strict=True))]
    zero = min(source.first for source in sources)
    for source in sources:
        source.count_from(zero)
    while True:
        for source in sources:
            if source.empty and not source.done:
                source.more()
        open_ones = [source for source in sources if not source.done]
        horizon = min((source.last for source in open_ones), default=None)
        parts = [part for source in sources if (part := source.before(horizon)) is not None]
        if parts:
            yield _in_order(parts)
        elif horizon is None:
            return
        else:  # everything held before the horizon is out: the slot at the horizon may go on in the next batch
            next(source for source in open_ones if source.last == horizon).more()


def clock_zero(traces: Sequence[Trace], starts: Sequence[Ns]) -> int:
    """The time, on the traces' clock, that is 0 on the host's: that of the first access."""
    return min(int(next(trace.batches(1)).time_ns[0]) + start for trace, start in zip(traces, starts, strict=True))


def _in_order(parts: list[Accesses]) -> Accesses:
    if len(parts) == 1:
        return parts[0]
    time = np.concatenate([p.time_ns for p in parts])
    order = np.argsort(time, kind="stable")
    return Accesses(
        time[order],
        np.concatenate([p.space for p in parts])[order],
        np.concatenate([p.page for p in parts])[order],
        np.concatenate([p.write for p in parts])[order],
        np.concatenate([p.context for p in parts])[order],
    )


class Populate:
    """Makes the first access to each page a write, so that it takes a page of memory.

    A recording begins in the middle of a guest's life, when its memory has been filled; a host that sees the first access
    read would map the shared zero page (do_anonymous_page()) and the guest would need no memory at all.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._first = np.cumsum([0, *sizes])[:-1].astype(np.int64)
        self._seen = np.zeros(sum(sizes), np.bool_)

    def __call__(self, rows: Accesses) -> Accesses:
        """The same accesses, some of them writes now."""
        pages = self._first[rows.space] + rows.page
        fresh = np.flatnonzero(~self._seen[pages])
        if not len(fresh):
            return rows
        _, first = np.unique(pages[fresh], return_index=True)
        self._seen[pages[fresh]] = True
        write = rows.write.copy()
        write[fresh[first]] = True
        return Accesses(rows.time_ns, rows.space, rows.page, write, rows.context)


def check_size(traces: Sequence[Trace]) -> None:
    """Raise ScenarioError if the traces' guests have more pages than page numbers reach."""
    total = sum(trace.meta.pages for trace in traces)
    if total >= TOO_MANY_PAGES:
        names = ", ".join(trace.name for trace in traces)
        raise ScenarioError(
            f"{names}: {total:,} pages of memory in all",
            hint="fewer than 2^31 - 2^25 (7.9 TiB) can be replayed at once",
        )


def footprints(traces: Sequence[Trace]) -> int:
    """How many distinct pages all traces touch, each in a guest of its own."""
    check_size(traces)
    return sum(footprint(trace) for trace in traces)


def footprint(trace: Trace) -> int:
    """How many distinct pages a trace touches; reads it once, one byte a page of the guest."""
    seen = np.zeros(trace.meta.pages, np.bool_)
    for batch in trace.batches():
        seen[batch.gfn] = True
    return int(np.count_nonzero(seen))
