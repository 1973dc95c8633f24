"""Policies that see every access, and Belady's bound, on the same stream (agewalk.engine.baselines)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import pages_of
from agewalk.study.merge import Accesses
from agewalk.study.outcome import Measured, Member
from agewalk.study.setup import Job

QUEUES: Final = ("lru", "fifo", "clock", "random")


class Numbering:
    """Pages of all address spaces in one row of numbers; `owner[page]` says whose it is."""

    def __init__(self, sizes: list[int]) -> None:
        self.first: NDArray[np.int64] = np.cumsum([0, *sizes])[:-1].astype(np.int64)
        self.total = sum(sizes)
        self.owner: NDArray[np.uint16] = np.repeat(np.arange(len(sizes), dtype=np.uint16), sizes)

    def pages(self, rows: Accesses) -> NDArray[np.uint32]:
        """The page numbers of some accesses."""
        return (self.first[rows.space] + rows.page).astype(np.uint32)


class _Baseline:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.numbers = Numbering([space.pages for space in job.spaces])
        self.accesses = 0

    def _measured(self, tallies: "list[object]") -> Measured:
        from agewalk.engine.baselines.queues import Tally

        tally = [t for t in tallies if isinstance(t, Tally)]
        tally += [Tally(0, 0, 0, 0, 0)] * (len(self.job.spaces) - len(tally))
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
            hot_after_ns=job.interval_ns,
            seed=job.scenario.host.seed,
        )

    def feed(self, rows: Accesses) -> None:
        """Take the next accesses."""
        self._queue.feed(self.numbers.pages(rows), rows.time_ns)
        self.accesses += len(rows)

    def refaults(self) -> list[int]:
        """So far, of each member."""
        return [t.refaults for t in self._queue.tallies()]

    def finish(self) -> Measured:
        """The numbers of the whole run."""
        return self._measured(list(self._queue.tallies()))


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

    def refaults(self) -> None:
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
            hot_after_ns=self.job.interval_ns,
        )
        return self._measured(list(tallies))
