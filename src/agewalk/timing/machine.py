"""The timed reading: the model on modelled CPUs, each effect at its time, at the cost of what it meets.

An event is a thread that is ready for its next effect; the earliest goes first. Effects on memory that only one CPU has
touched so far need no order among CPUs, so a thread runs ahead on those, at most `WINDOW` past the next event: that is
what makes it fast, and it shifts a first contact of two CPUs by no more than the window.

Contention has no formula. A line is fetched from whoever owns it, one transfer after the other; a lock is words on such
lines and a queue; a flush interrupts threads. Equal seed, equal run.
"""

from __future__ import annotations

import random
from functools import cached_property
from typing import Any, Final

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.counters import Counters
from agewalk.core.errors import ModelError, UsageError
from agewalk.timing.coherence import Caches
from agewalk.timing.costs import CostTable, load_costs
from agewalk.timing.events import Events
from agewalk.timing.holding import TimedLock
from agewalk.timing.lines import LineMap
from agewalk.timing.operations import Tally
from agewalk.timing.perform import Operations
from agewalk.timing.plain import PLAIN
from agewalk.timing.prices import Prices
from agewalk.timing.rare import RareEffects
from agewalk.timing.record import Recorder
from agewalk.timing.threads import FOREVER, THREADS, Body, CpuState, Thread, pair, spread

WINDOW: Final = 500_000  # ps


class Machine(RareEffects):
    """CPUs, lines, locks and a clock.

    costs: the shipped table if None. seed: of the noise on `Work`. cached: lines that a CPU's caches hold for
    itself (None: all). modified: of those, how many others find there rather than in memory (None: all).
    recorder: gets the timeline.
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
        self.prices = Prices(self.costs)
        self.cpus = [CpuState(i, socket) for i, socket in enumerate(spread(cpus, self.costs))]
        pair(self.cpus, self.costs)
        self.lines = LineMap(len(self.cpus))
        self.locks: dict[Lock, TimedLock] = {}
        self.threads: list[Thread] = []
        self.counters = Counters()
        self.effects = 0
        self.now = 0
        self.window = window
        self.recorder = recorder
        self.cached = cached if cached is not None else FOREVER
        self.modified = modified if modified is not None else self.cached
        self.random = random.Random(seed)
        self.events = Events()
        self._spinning: dict[Cell, list[Thread]] = {}
        self.caches = Caches(self)
        super().__init__()

    @property
    def transfers(self) -> dict[str, int]:
        """How many lines came from another core, another socket, memory."""
        return self.caches.transfers

    @cached_property
    def operations(self) -> Operations:
        """What effects do here; made when the machine first runs."""
        return Operations(self)

    # --- threads ----------------------------------------------------------------------------------------------------

    def spawn(self, name: str, body: Body, *, cpu: int, runs: tuple[Object, ...] = (), start: int = 0) -> Thread:
        """A thread on a CPU, from `start` (ps) on. body: a step, or a function of the plain text with its arguments bound.
        `runs` are the mm and VM whose TLB entries that CPU may hold."""
        if len(self.threads) > THREADS:
            raise UsageError(f"more than {THREADS + 1} threads", hint="fewer vCPUs")
        state = self.cpus[cpu]
        thread = Thread(len(self.threads), name, body, state, runs)
        thread.started = start
        self.threads.append(thread)
        self.ready(thread, start)
        return thread

    def ready(self, thread: Thread, at: int) -> None:
        """The thread can go on: on its CPU if that is idle, else behind those who wait for it."""
        cpu = thread.cpu
        if cpu.current is None:
            cpu.current = thread
            cpu.slice_end = FOREVER
            self.events.push(thread, at)
        else:
            cpu.queue.append(thread)
            if cpu.slice_end == FOREVER:
                cpu.slice_end = at + self.prices.slice

    def leave_cpu(self, thread: Thread, at: int) -> None:
        """The thread sleeps or has ended; the next one runs."""
        cpu = thread.cpu
        cpu.current = None
        if cpu.queue:
            successor = cpu.queue.popleft()
            cpu.current = successor
            cpu.slice_end = at + self.prices.switch + self.prices.slice if cpu.queue else FOREVER
            self.events.push(successor, at + self.prices.switch)

    def preempt(self, thread: Thread, at: int) -> None:
        """Its slice is over, and others wait for the CPU."""
        thread.preemptions += 1
        thread.cpu.queue.append(thread)
        self.leave_cpu(thread, at)

    # --- the clock --------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until nobody has anything left to do; the time then, in ps. Raises ModelError on a rule broken or a dead-lock."""
        with PLAIN.performed_by(self.operations.do):
            self.operations.run()
        self._check_all_ended()
        return self.now

    def finish(self, th: Thread, t: int, result: Any) -> None:
        """The thread has come to its end."""
        if th.held or th.rcu or th.atomic:
            raise ModelError(
                f"{th.name} ended inside a critical section",
                hint=f"held: {th.held}, RCU depth {th.rcu}, preemption depth {th.atomic}",
            )
        th.ended = t
        self.now = max(self.now, t)
        th.result = result
        self.leave_cpu(th, t)

    def book(self, counts: dict[str, Tally], works: dict[str, Tally]) -> None:
        """Move what operations have counted, by name, to the counters."""
        for prefix, tallies in (("", counts), ("work:", works)):
            for what, tally in tallies.items():
                self.counters[prefix + what] += tally.n
                tally.n = 0
        for lock in self.locks.values():
            for mode, n in lock.acquired.items():
                if n > lock.told[mode]:
                    self.counters[f"lock:{lock.lock.field}:{mode}"] += n - lock.told[mode]
                    lock.told[mode] = n

    def _check_all_ended(self) -> None:
        stuck = [th for th in self.threads if th.ended < 0]
        if stuck:
            waits = "; ".join(
                f"{th.name} waits for {th.waits_for.lock.name if th.waits_for else th.pending or 'a wake-up'}"
                for th in stuck
            )
            raise ModelError(
                f"dead-lock or lost wake-up at {self.now} ps: {waits}", hint="nobody is left who could wake them"
            )

    def timed(self, lock: Lock) -> TimedLock:
        """The insides of a lock of the model."""
        found = self.locks.get(lock)
        if found is None:
            found = self.locks[lock] = self.make_lock(lock, self.operations.do)
            found.line = self.lines.cell(found.word())
        return found

    def tries(self, th: Thread, lock: Lock) -> TimedLock:
        """The lock whose trylock is about to run."""
        if lock.sleeps and (th.atomic or th.rcu) and th.waits_for:
            raise ModelError(f"{th.name} tries {lock.name} while it waits", hint="a trylock inside a slow path")
        return self.timed(lock)
