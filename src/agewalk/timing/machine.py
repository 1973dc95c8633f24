"""The timed executor: the model on modelled CPUs; each effect takes the time that its cache lines and locks take.

Contention has no formula. A line is fetched from the cache that has it, one transfer after the other; a lock is words on such
lines and a queue; a flush interrupts threads. Equal seeds give equal runs.
"""

from __future__ import annotations

import random
from typing import Any, Final

from agewalk.core.cells import Object
from agewalk.core.counters import Counters
from agewalk.core.effects import Step
from agewalk.core.errors import ModelError, UsageError
from agewalk.timing.grace_periods import GracePeriods
from agewalk.timing.hardware.cache_lines import LineMap
from agewalk.timing.hardware.costs import CostTable, load_costs
from agewalk.timing.hardware.hardware import new_hardware
from agewalk.timing.locks.kinds import make_lock
from agewalk.timing.locks.uncontended import FastPaths, Locks
from agewalk.timing.operations import Operations
from agewalk.timing.recorder import Recorder
from agewalk.timing.scheduler.events import Events
from agewalk.timing.scheduler.run_queues import RunQueues
from agewalk.timing.scheduler.spinning import Spinning
from agewalk.timing.slow_effects import SlowEffects
from agewalk.timing.threads import THREADS, CpuState, Thread

WINDOW: Final = 500_000  # ps that a thread may run ahead on memory of its own


class Machine:
    """CPUs, their caches, locks and a clock.

    costs: the shipped table if None. seed: of the noise on `Work`. cached: lines that the caches of a CPU hold (None:
    all). modified: how many of those other CPUs find there rather than in memory (None: all). window: ps that a thread may run
    ahead on memory that no other CPU has touched. recorder: gets the timeline.
    """

    def __init__(
        self,
        cpus: int,
        *,
        costs: CostTable | None = None,
        seed: int = 0,
        cached: int | None = None,
        modified: int | None = None,
        window: int = WINDOW,
        recorder: Recorder | None = None,
    ) -> None:
        self.costs = costs if costs is not None else load_costs()
        self.hardware = hardware = new_hardware(cpus, self.costs, cached=cached, modified=modified, recorder=recorder)
        self.threads: list[Thread] = []
        self.locks = Locks(hardware.lines, make_lock)
        events = Events()
        self.queues = RunQueues(events, hardware.prices)
        spinning = Spinning(events)
        grace = GracePeriods(hardware, self.queues)
        self.operations = Operations(
            hardware,
            events,
            self.queues,
            spinning,
            grace,
            FastPaths(hardware, self.locks, spinning),
            SlowEffects(hardware, self.locks, self.queues, spinning, grace, self.threads),
            random.Random(seed).random,
            window,
        )

    @property
    def cpus(self) -> list[CpuState]:
        """The CPUs, by number."""
        return self.hardware.cpus

    @property
    def lines(self) -> LineMap:
        """The cache lines that were used."""
        return self.hardware.lines

    @property
    def counters(self) -> Counters:
        """Counters by name."""
        return self.hardware.counters

    @property
    def transfers(self) -> dict[str, int]:
        """How many lines came from another core, another socket, memory."""
        return self.hardware.caches.transfers

    @property
    def effects(self) -> int:
        """How many effects were performed."""
        return self.operations.done

    @property
    def now(self) -> int:
        """ps: when the last thread ended or went to sleep."""
        return self.operations.latest

    def spawn(self, name: str, body: Step[Any], *, cpu: int, runs: tuple[Object, ...] = (), start: int = 0) -> Thread:
        """Add a thread that runs a generator on a CPU, from `start` (ps) on. runs: the mm and VM whose TLB entries that CPU may
        hold."""
        if len(self.threads) > THREADS:
            raise UsageError(f"more than {THREADS + 1} threads", hint="fewer vCPUs")
        thread = Thread(len(self.threads), name, body, self.cpus[cpu], runs)
        thread.started = start
        self.threads.append(thread)
        self.queues.ready(thread, start)
        return thread

    def run(self) -> int:
        """Run all threads to their ends; the time then, in ps. Raises ModelError if a rule is broken or threads wait for ever."""
        try:
            self.operations.run(self._finish)
        finally:
            self.lines.forget()
            self._book()
        self._check_all_ended()
        return self.now

    def _finish(self, th: Thread, t: int) -> None:
        if th.held or th.rcu or th.atomic:
            raise ModelError(
                f"{th.name} ended inside a critical section",
                hint=f"held: {th.held}, RCU depth {th.rcu}, preemption depth {th.atomic}",
            )
        th.ended = t
        self.queues.leave_cpu(th, t)

    def _book(self) -> None:
        """Move what the operations have counted to the counters."""
        counters, operations = self.counters, self.operations
        for prefix, tallies in (("", operations.counts), ("work:", operations.works)):
            for what, tally in tallies.items():
                counters[prefix + what] += tally.n
                tally.n = 0
        if operations.indirect_calls:
            counters["indirect_calls"] += operations.indirect_calls
            operations.indirect_calls = 0
        for lock in self.locks.made.values():
            for mode, n in lock.acquired.items():
                if n > lock.told[mode]:
                    counters[f"lock:{lock.lock.field}:{mode}"] += n - lock.told[mode]
                    lock.told[mode] = n

    def _check_all_ended(self) -> None:
        stuck = [th for th in self.threads if th.ended < 0]
        if stuck:
            waits = "; ".join(
                f"{th.name} waits for {th.waits_for.name if th.waits_for else th.effect or 'a wake-up'}" for th in stuck
            )
            raise ModelError(
                f"dead-lock or lost wake-up at {self.now} ps: {waits}", hint="no runnable thread remains to wake them"
            )
