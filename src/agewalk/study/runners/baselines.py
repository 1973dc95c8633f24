"""Policies that see every access, and Belady's bound, on the same stream (agewalk.engine.baselines)."""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import pages_of
from agewalk.study.job import HOT, Bands, Job
from agewalk.study.merge_traces import Accesses
from agewalk.study.result import Measured, Member

if TYPE_CHECKING:
    from agewalk.engine.baselines.queues import Tally

QUEUES: Final = ("lru", "fifo", "clock", "random")


class Numbering:
    """Pages of all address spaces in one row of numbers; `owner[page]` is its band."""

    def __init__(self, sizes: list[int], bands: Bands) -> None:
        self.first: NDArray[np.int64] = np.cumsum([0, *sizes])[:-1].astype(np.int64)
        self.total = sum(sizes)
        self.owner: NDArray[np.uint16] = np.empty(self.total, np.uint16)
        for start, size, first, shift in zip(self.first, sizes, bands.firsts, bands.shifts, strict=True):
            self.owner[start : start + size] = first + (np.arange(size) >> shift)

    def pages(self, rows: Accesses) -> NDArray[np.uint32]:
        """The page numbers of some accesses."""
        return (self.first[rows.space] + rows.page).astype(np.uint32)


class _Baseline:
    """Owners of pages are bands; those of a space are added up."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._bands = Bands(job.spaces)
        self.numbers = Numbering([space.pages for space in job.spaces], self._bands)
        self.accesses = 0

    def _of_bands(self, tallies: "list[Tally]") -> NDArray[np.int64]:
        """int64[bands, 5]: the fields of Tally."""
        found = np.zeros((self._bands.total, 5), np.int64)
        for i, t in enumerate(tallies):
            found[i] = t.faults, t.refaults, t.evictions, t.hot_evictions, t.resident
        return found

    def _measured(self, tallies: "list[Tally]") -> Measured:
        from agewalk.engine.baselines.queues import Tally

        sums = np.add.reduceat(self._of_bands(tallies), self._bands.firsts)
        tally = [Tally(*(int(n) for n in row)) for row in sums]
        swap = self.job.scenario.host.swap
        refaults = sum(t.refaults for t in tally)
        return Measured(
            accesses=self.accesses,
            faults=sum(t.faults for t in tally),
            refaults=refaults,
            evictions=sum(t.evictions for t in tally),
            hot_evictions=sum(t.hot_evictions for t in tally),
            vms=[
                Member(space.name, t.resident, t.refaults, t.evictions)
                for space, t in zip(self.job.spaces, tally, strict=True)
            ],
            vcpu_stall_ns=refaults * swap.read,
        )


class QueueRunner(_Baseline):
    """LRU, FIFO, Clock or random replacement."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        from agewalk.engine.baselines.queues import Queue

        self._queue = Queue(
            job.policy.name,
            pages_of(job.memory),
            self.numbers.total,
            owner=self.numbers.owner,
            hot_after_ns=HOT,
            seed=job.scenario.host.seed,
        )

    def feed(self, rows: Accesses) -> None:
        """Take the next accesses."""
        self._queue.feed(self.numbers.pages(rows), rows.time_ns)
        self.accesses += len(rows)

    def bands(self) -> NDArray[np.int64]:
        """So far; no generations."""
        found = self._of_bands(self._queue.tallies())
        none = np.zeros(len(found), np.int64)
        return np.stack([found[:, 1], found[:, 2], none, none], axis=1)

    def finish(self) -> Measured:
        """The numbers of the whole run."""
        return self._measured(self._queue.tallies())


class OptRunner(_Baseline):
    """Belady's OPT: knows the future, so it holds the whole stream (12 bytes an access) until the end."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._pages: list[NDArray[np.uint32]] = []
        self._times: list[NDArray[np.int64]] = []

    def feed(self, rows: Accesses) -> None:
        """Keep the next accesses."""
        self._pages.append(self.numbers.pages(rows))
        self._times.append(rows.time_ns)
        self.accesses += len(rows)

    def bands(self) -> None:
        """Not known before the end."""

    def finish(self) -> Measured:
        """Run it."""
        from agewalk.engine.baselines.opt import opt

        tallies = opt(
            np.concatenate(self._pages),
            pages_of(self.job.memory),
            self.numbers.total,
            times_ns=np.concatenate(self._times),
            owner=self.numbers.owner,
            hot_after_ns=HOT,
        )
        return self._measured(tallies)
