"""A part of a trace in time: without the boot, or one phase alone."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from agewalk.core.errors import TraceError
from agewalk.core.units import Ns
from agewalk.trace.format import DEFAULT_ROWS, Batch, Phase, Trace, TraceMeta


class WindowTrace:
    """The rows of `trace` with start <= time_ns < end; time counts from `start`. See `window`."""

    def __init__(self, trace: Trace, start: Ns, end: Ns | None) -> None:
        self._trace = trace
        self._start = start
        self._end = end
        self._rows = sum(len(b) for b in self._cut(DEFAULT_ROWS))
        if not self._rows:
            raise TraceError(
                f"{trace.name}: no rows between {start} ns and {'its end' if end is None else f'{end} ns'}"
            )

    @property
    def name(self) -> str:
        """The trace's name."""
        return self._trace.name

    @property
    def meta(self) -> TraceMeta:
        """The trace's metadata, its phases re-timed; one that began before the window begins with it."""
        started = [p for p in self._trace.meta.phases if p.time_ns <= self._start]
        later = [p for p in self._trace.meta.phases if p.time_ns > self._start]
        inside = [p for p in later if self._end is None or p.time_ns < self._end]
        phases = [replace(p, time_ns=Ns(max(0, p.time_ns - self._start))) for p in [*started[-1:], *inside]]
        return replace(self._trace.meta, phases=tuple[Phase, ...](phases))

    @property
    def rows(self) -> int:
        """Rows inside the window."""
        return self._rows

    def batches(self, max_rows: int = DEFAULT_ROWS) -> Iterator[Batch]:
        """The window's rows in batches of 1..max_rows."""
        for part in self._cut(max_rows):
            shifted = part.time_ns - np.uint64(self._start)
            yield Batch(shifted, part.vcpu, part.gfn, part.write, part.context)

    def _cut(self, max_rows: int) -> Iterator[Batch]:
        for batch in self._trace.batches(max_rows):
            low = int(np.searchsorted(batch.time_ns, np.uint64(self._start)))
            high = len(batch) if self._end is None else int(np.searchsorted(batch.time_ns, np.uint64(self._end)))
            if high > low:
                yield batch[low:high]
            if high < len(batch):
                return


def window(trace: Trace, start: Ns, end: Ns | None = None) -> WindowTrace:
    """The part of `trace` from `start` to before `end` (guest time), re-timed to 0; reads it once to count the rows.

    Raises TraceError if no row lies in it.
    """
    return WindowTrace(trace, start, end)
