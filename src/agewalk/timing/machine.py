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
from heapq import heappush
from typing import Any, Final

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.counters import Counters
from agewalk.core.effects import CompareExchange
from agewalk.core.effects.memory import used_after_free
from agewalk.core.errors import ModelError
from agewalk.timing.coherence import Coherence
from agewalk.timing.costs import CostTable, load_costs
from agewalk.timing.lines import PER_CPU, Line, LineMap
from agewalk.timing.locks import TimedLock
from agewalk.timing.perform import Operations
from agewalk.timing.plain import PLAIN
from agewalk.timing.prices import Prices
from agewalk.timing.rare import RareEffects
from agewalk.timing.record import Recorder
from agewalk.timing.steps import ClearBits
from agewalk.timing.threads import FOREVER, Body, CpuState, Thread, spread

WINDOW: Final = 500_000  # ps


class Machine(Coherence, RareEffects):
    """CPUs, lines, locks and a clock.

    costs: the shipped table if None. seed: of the noise on `Work`. cached: lines that a CPU's caches hold (None: all).
    recorder: gets the timeline.
    """

    def __init__(
        self,
        cpus: int,
        *,
        costs: CostTable | None = None,
        seed: int = 0,
        cached: int | None = None,
        window: int = WINDOW,
        recorder: Recorder | None = None,
    ) -> None:
        self.costs = costs if costs is not None else load_costs()
        self.prices = Prices(self.costs)
        self.cpus = [CpuState(i, socket) for i, socket in enumerate(spread(cpus, self.costs))]
        self._remote = [sum(c.bit for c in self.cpus if c.socket != mine.socket) for mine in self.cpus]
        self.lines = LineMap()
        self.locks: dict[Lock, TimedLock] = {}
        self.threads: list[Thread] = []
        self.counters = Counters()
        self.effects = 0
        self.now = 0
        self.transfers = {"core": 0, "socket": 0, "memory": 0}
        self.window = window
        self.recorder = recorder
        self.cached = cached if cached is not None else FOREVER
        self.random = random.Random(seed)
        self.heap: list[tuple[int, int, Thread]] = []
        self._per_cpu: dict[tuple[Cell, int], tuple[Cell, Line]] = {}
        self._spinning: dict[Cell, list[Thread]] = {}
        super().__init__()

    @cached_property
    def operations(self) -> Operations:
        """What effects do here; made when the machine first runs."""
        return Operations(self)

    # --- threads ----------------------------------------------------------------------------------------------------

    def spawn(self, name: str, body: Body, *, cpu: int, runs: tuple[Object, ...] = (), start: int = 0) -> Thread:
        """A thread on a CPU, from `start` (ps) on. body: a step, or a function of the plain text with its arguments bound.
        `runs` are the mm and VM whose TLB entries that CPU may hold."""
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
            heappush(self.heap, (at, thread.index, thread))
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
            heappush(self.heap, (at + self.prices.switch, successor.index, successor))

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

    def on_cpu(self, cell: Cell, cpu: int) -> tuple[Cell, Line]:
        """The copy of a per-CPU variable that this CPU has (CPU 0 has the original), and the line of it."""
        found = self._per_cpu.get((cell, cpu))
        if found is None:
            start = PER_CPU.get(type(cell.owner).__name__, cell)
            mine = cell if cpu == 0 or start is cell else Cell(cell.owner, f"{cell.field}@{cpu}", start)
            found = self._per_cpu[cell, cpu] = mine, Line(cell.owner, f"{cell.field}@{cpu}")
        return found

    def timed(self, lock: Lock) -> TimedLock:
        """The insides of a lock of the model."""
        found = self.locks.get(lock)
        if found is None:
            found = self.locks[lock] = self.make_lock(lock, self.operations.do)
            for mode in ("read", "write"):
                found.undo[mode] = found.release(mode)
        return found

    def _word(self, th: Thread, effect: Any, t: int) -> tuple[int, int]:
        """One atomic step on a lock's word: (value found, when it is done)."""
        cell = effect.cell
        line = self.lines.cell(cell)
        if cell.owner.freed:
            raise used_after_free(cell)
        if line.owner == th.cpu.index:
            done = max(line.busy, t) + self.prices.hit + self.prices.atomic
        else:
            done = self.fetch(line, th, t, True) + self.prices.atomic
        line.busy = done
        found = cell.value
        if effect.__class__ is CompareExchange:
            if found == effect.expected:
                cell.value = effect.new
        else:
            cell.value = effect.apply(found)
        if line.watched:
            self.stir(cell, line, th, done)
        return found, done

    def acquire(self, th: Thread, lock: Lock, mode: str, t: int) -> tuple[int, int | None]:
        """The fast path: (when it is over, what it found if it did not get the lock)."""
        timed = self.timed(lock)
        if lock.sleeps and (th.atomic or th.rcu):
            raise ModelError(
                f"{th.name} sleeps on {lock.name} in atomic context",
                hint="a mutex or rwsem inside a spinlock or RCU section",
            )
        first = timed.first.get(mode)
        if first is None:
            first = timed.first[mode] = timed.fast(mode)
        found, done = self._word(th, first, t)
        if timed.got(found, mode):
            self.grant(th, timed, mode, done)
            if lock.sleeps:  # rwsem_set_reader_owned(), rwsem_set_owner(): a store beside the count, on its line
                self._write(th, self.lines.cell(timed.word()), done)
            return done + self.prices.lock, None
        timed.contended += 1
        th.waits_for, th.since = timed, t
        th.atomic += not lock.sleeps  # preemption is off while it spins
        return done, found

    def release(self, th: Thread, lock: Lock, mode: str, t: int) -> tuple[int, bool]:
        """Give back: (when it is over, is somebody to be woken?)."""
        timed = self.timed(lock)
        self.drop(th, timed, mode, t)
        undo = timed.undo[mode]
        if undo.__class__ is ClearBits:
            cell = undo.cell
            line = self.lines.cell(cell)
            there = t + self.prices.store if line.owner == th.cpu.index else self.fetch(line, th, t, True, False)
            found = cell.value
            cell.value = undo.apply(found)
            if line.watched:
                self.stir(cell, line, th, there)
            done = t + self.prices.store
        else:
            found, done = self._word(th, undo, t)
        return done + self.prices.lock, timed.must_wake(found, mode)

    def tries(self, th: Thread, lock: Lock) -> TimedLock:
        """The lock whose trylock is about to run."""
        if lock.sleeps and (th.atomic or th.rcu) and th.waits_for:
            raise ModelError(f"{th.name} tries {lock.name} while it waits", hint="a trylock inside a slow path")
        return self.timed(lock)
