"""The rules that every row of a trace keeps, checked while it streams."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import TraceError
from agewalk.trace.format import CONTEXTS, Batch, TraceMeta

MOST_NS: Final = (1 << 63) - 1  # replays count time in signed words of 64 bits
ORDER_HINT: Final = "rows must ascend in time_ns; sort the trace by time_ns, keeping the order within a slot"


def row_error(name: str, column: str, row: int, problem: str, hint: str) -> TraceError:
    """A TraceError about one cell; rows count from 0."""
    return TraceError(f"{name}: column '{column}', row {row}: {problem}", hint=hint)


class StreamCheck:
    """Checks batches in the order they come; remembers the last time and the row number across batches.

    Raises TraceError that names column and row: time that runs back or is past 2^63 - 1, a gfn past memory_bytes, a vcpu past
    `vcpus`, an unknown context.
    """

    def __init__(self, name: str, meta: TraceMeta) -> None:
        self._name = name
        self._pages = meta.pages
        self._vcpus = meta.vcpus
        self._last = 0
        self.rows = 0

    def check(self, batch: Batch) -> None:
        """Check the next rows. O(rows), without copies but for one mask."""
        if not len(batch):
            return
        lengths = {len(c) for c in (batch.time_ns, batch.vcpu, batch.gfn, batch.write, batch.context)}
        if len(lengths) > 1:
            raise TraceError(f"{self._name}: row {self.rows}: columns have different lengths {sorted(lengths)}")
        self._time(batch.time_ns)
        if int(batch.gfn.max()) >= self._pages:
            at = first(batch.gfn >= np.uint64(self._pages))
            raise row_error(
                self._name,
                "gfn",
                self.rows + at,
                f"gfn {batch.gfn[at]} is past memory_bytes ({self._pages} pages: the last gfn is {self._pages - 1})",
                "memory_bytes in the metadata must cover the highest gfn; for a guest with holes, re-number its frames",
            )
        if self._vcpus is not None and int(batch.vcpu.max()) >= self._vcpus:
            at = first(batch.vcpu >= self._vcpus)
            raise row_error(
                self._name,
                "vcpu",
                self.rows + at,
                f"vcpu {batch.vcpu[at]}, but the metadata says {self._vcpus} vcpus",
                "vCPUs count from 0; correct or leave out 'vcpus' in the metadata",
            )
        if int(batch.context.max()) >= len(CONTEXTS):
            at = first(batch.context >= len(CONTEXTS))
            known = ", ".join(f"{i} {text}" for i, text in enumerate(CONTEXTS))
            raise row_error(
                self._name, "context", self.rows + at, f"unknown context {batch.context[at]}", f"contexts are {known}"
            )
        self.rows += len(batch)

    def _time(self, time: NDArray[np.uint64]) -> None:
        if int(time[0]) < self._last:
            problem = f"time runs back from {self._last} to {time[0]}"
            raise row_error(self._name, "time_ns", self.rows, problem, ORDER_HINT)
        back = time[1:] < time[:-1]
        if back.any():
            at = first(back) + 1
            problem = f"time runs back from {time[at - 1]} to {time[at]}"
            raise row_error(self._name, "time_ns", self.rows + at, problem, ORDER_HINT)
        if int(time[-1]) > MOST_NS:
            at = first(time > np.uint64(MOST_NS))
            problem = f"time {time[at]} is past 2^63 - 1 ns, the year 2262 of a wall clock"
            hint = (
                "time_ns are nanoseconds: a negative time, or another unit, was taken for them when the trace was made"
            )
            raise row_error(self._name, "time_ns", self.rows + at, problem, hint)
        self._last = int(time[-1])


def first(mask: NDArray[np.bool_]) -> int:
    """Index of the first True; there is one."""
    return int(mask.argmax())
