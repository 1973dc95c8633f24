"""The timed reading: generators on modelled CPUs, each effect at its time, at the cost of what it meets.

An event is a thread that is ready for its next effect; the earliest goes first. Effects on memory that only one CPU has
touched so far need no order among CPUs, so a thread runs ahead on those, at most `WINDOW` past the next event: that is
what makes it fast, and it shifts a first contact of two CPUs by no more than the window.

Contention has no formula. A line is fetched from whoever owns it, one transfer after the other; a lock is words on such
lines and a queue; a flush interrupts threads. Equal seed, equal run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.counters import Counters
from agewalk.core.effects import (
    Acquire,
    Again,
    CompareExchange,
    Count,
    Effect,
    Exchange,
    FetchAdd,
    FetchAnd,
    FetchOr,
    IndirectCall,
    Load,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    SrcuReadLock,
    SrcuReadUnlock,
    Step,
    Store,
    Work,
)
from agewalk.core.errors import ModelError
from agewalk.timing.coherence import Coherence
from agewalk.timing.costs import CostTable, load_costs
from agewalk.timing.lines import PER_CPU, PER_CPU_COUNTERS, Line, LineMap
from agewalk.timing.locks import TimedLock
from agewalk.timing.prices import Prices
from agewalk.timing.rare import RareEffects
from agewalk.timing.record import Recorder
from agewalk.timing.steps import Begin, ClearBits, End
from agewalk.timing.threads import FOREVER, CpuState, Thread, spread

WINDOW: Final = 500_000  # ps
_LOAD: Final = 0
_STORE: Final = 1
_RMW: Final = 2
_CAS: Final = 3
_COUNT: Final = 4
_WORK: Final = 5
_ACQUIRE: Final = 6
_RELEASE: Final = 7
_CALL: Final = 8
_NOTHING: Final = 9
_LOCAL: Final = 10  # rare, but of no concern to other CPUs
_KINDS: Final[dict[type[Effect], int]] = {
    Load: _LOAD, Store: _STORE, ClearBits: _STORE, FetchAnd: _RMW, FetchOr: _RMW, FetchAdd: _RMW, Exchange: _RMW,
    CompareExchange: _CAS, Count: _COUNT, Work: _WORK, Acquire: _ACQUIRE, Release: _RELEASE, IndirectCall: _CALL, Again: _NOTHING,
    RcuReadLock: _LOCAL, RcuReadUnlock: _LOCAL, SrcuReadLock: _LOCAL, SrcuReadUnlock: _LOCAL, Begin: _LOCAL, End: _LOCAL,
}  # fmt: skip


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
        self._cached = cached if cached is not None else FOREVER
        self._random = random.Random(seed)
        self._heap: list[tuple[int, int, Thread]] = []
        self._per_cpu: dict[tuple[Cell, int], tuple[Cell, Line]] = {}
        self._spinning: dict[Cell, list[Thread]] = {}
        super().__init__()

    # --- threads ----------------------------------------------------------------------------------------------------

    def spawn(self, name: str, body: Step[Any], *, cpu: int, runs: tuple[Object, ...] = (), start: int = 0) -> Thread:
        """A thread on a CPU, from `start` (ps) on. `runs` are the mm and VM whose TLB entries that CPU may hold."""
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
            heappush(self._heap, (at, thread.index, thread))
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
            heappush(self._heap, (at + self.prices.switch, successor.index, successor))

    def _preempt(self, thread: Thread, at: int) -> None:
        thread.preemptions += 1
        thread.cpu.queue.append(thread)
        self.leave_cpu(thread, at)

    # --- the clock --------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until nobody has anything left to do; the time then, in ps. Raises ModelError on a rule broken or a dead-lock."""
        heap = self._heap
        prices = self.prices
        hit, hit_atomic, store = prices.hit, prices.hit + prices.atomic, prices.store
        of_cell = self.lines.of_cell
        count_cost, function = prices.counts.get, prices.function
        fetch = self._fetch
        cached = self._cached
        counters = self.counters
        rare = self.rare
        kinds = _KINDS
        draw = self._random.random
        while heap:
            t, _, th = heappop(heap)
            if th.debt:
                heappush(heap, (t + th.debt, th.index, th))
                th.debt = 0
                continue
            state = th.cpu
            cpu, bit = state.index, state.bit
            horizon = heap[0][0] if heap else FOREVER
            far = horizon + self.window
            slice_end = state.slice_end
            send, value, effect = th.send, th.value, th.pending
            th.pending = None
            done = 0
            while True:
                if effect is None:
                    try:
                        effect = send(value)
                    except StopIteration as stop:
                        value = stop.value
                        if th.frames:
                            send = th.frames.pop()
                            continue
                        self._finish(th, t, value)
                        break
                    done += 1
                kind = kinds.get(effect.__class__, -1)
                if 0 <= kind <= _CAS:
                    cell: Cell = effect.cell  # type: ignore[attr-defined]
                    line = of_cell.get(cell)
                    if line is None:
                        cell, line = self._first_met(cell, cpu)
                    if t > horizon and line.shared:
                        self._later(th, t, send, value, effect)
                        break
                    if cell.owner.freed:
                        effect.perform(self)  # type: ignore[arg-type]  # raises: used after it was freed
                    if kind == _LOAD:
                        if (line.owner == cpu or line.sharers & bit) and state.fills - line.stamp < cached:
                            t += hit
                        else:
                            t = fetch(line, th, t, exclusive=False)
                        value = cell.value
                    else:
                        if line.owner == cpu and state.fills - line.stamp < cached:
                            t += store if kind == _STORE else hit_atomic
                            there = t
                        elif kind == _STORE:
                            there = fetch(line, th, t, exclusive=True, stalls=False)
                            t += store
                        else:
                            t = there = fetch(line, th, t, exclusive=True) + prices.atomic
                            line.busy = t
                        if kind == _CAS:
                            value = cell.value
                            if value == effect.expected:  # type: ignore[attr-defined]
                                cell.value = effect.new  # type: ignore[attr-defined]
                        elif effect.__class__ is Store:
                            cell.value = effect.value
                            value = None
                        else:
                            value = cell.value
                            cell.value = effect.apply(value)  # type: ignore[attr-defined]
                        if line.watched:
                            self._stir(cell, line, th, there)
                            horizon = heap[0][0] if heap else FOREVER  # somebody woke
                            far = horizon + self.window
                elif kind == _COUNT:
                    counters[effect.what] += effect.n  # type: ignore[attr-defined]
                    t += count_cost(effect.what, function) * effect.n  # type: ignore[attr-defined]
                    value = None
                elif kind == _WORK:
                    t += int(prices.work(effect.what, effect.n, th) * (prices.quiet + prices.loud * draw()))  # type: ignore[attr-defined]
                    counters["work:" + effect.what] += effect.n  # type: ignore[attr-defined]
                    value = None
                elif kind == _CALL:
                    counters["indirect_calls"] += 1
                    t += prices.indirect
                    value = None
                elif kind == _NOTHING:
                    value = None
                elif kind == _LOCAL:
                    if t > horizon and self._after:  # somebody waits for readers to leave
                        self._later(th, t, send, value, effect)
                        break
                    t = rare[effect.__class__](th, effect, t)
                    value = None
                else:
                    if t > horizon:
                        self._later(th, t, send, value, effect)
                        break
                    th.send, th.value = send, None
                    if kind == _ACQUIRE:
                        t = self._acquire(th, effect, t)
                    elif kind == _RELEASE:
                        t = self._release(th, effect, t)
                    else:
                        handler = rare.get(effect.__class__)
                        if handler is None:
                            raise ModelError(
                                f"the timed reading does not know {effect!r}",
                                hint="a new effect needs a cost: see timing/rare.py",
                            )
                        t = handler(th, effect, t)
                        if t < 0:  # it sleeps, spins, or goes on elsewhere
                            break
                    send, value = th.send, th.value
                    horizon = heap[0][0] if heap else FOREVER
                    far = horizon + self.window
                effect = None
                if t > far:
                    self._later(th, t, send, value, None)
                    break
                if t >= slice_end and kind in (_WORK, _NOTHING) and not th.atomic and not th.rcu:
                    th.send, th.value = send, value
                    self._preempt(th, t)
                    break
            self.effects += done
            self.now = max(self.now, t)
        self._check_all_ended()
        return self.now

    def _later(self, th: Thread, t: int, send: Callable[[Any], Effect], value: Any, effect: Effect | None) -> None:
        th.send, th.value, th.pending = send, value, effect
        heappush(self._heap, (t, th.index, th))

    def _finish(self, th: Thread, t: int, result: Any) -> None:
        if th.held or th.rcu or th.atomic:
            raise ModelError(
                f"{th.name} ended inside a critical section",
                hint=f"held: {th.held}, RCU depth {th.rcu}, preemption depth {th.atomic}",
            )
        th.ended = t
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

    def _first_met(self, cell: Cell, cpu: int) -> tuple[Cell, Line]:
        """The cell itself, and its line, or the copy of a per-CPU variable that this CPU has (CPU 0 has the original)."""
        found = self._per_cpu.get((cell, cpu))
        if found is None:
            kind = type(cell.owner).__name__
            if kind in PER_CPU:
                mine = cell if cpu == 0 else Cell(cell.owner, f"{cell.field}@{cpu}", PER_CPU[kind])
            elif (kind, cell.field) in PER_CPU_COUNTERS:
                mine = cell
            else:
                return cell, self.lines.cell(cell)
            found = self._per_cpu[cell, cpu] = mine, Line(cell.owner, f"{cell.field}@{cpu}")
        return found

    def timed(self, lock: Lock) -> TimedLock:
        """The insides of a lock of the model."""
        found = self.locks.get(lock)
        if found is None:
            found = self.locks[lock] = self.make_lock(lock)
            for mode in ("read", "write"):
                found.undo[mode] = found.release(mode)
        return found

    def _word(self, th: Thread, effect: Any, t: int) -> tuple[int, int]:
        """One atomic step on a lock's word: (value found, when it is done)."""
        cell = effect.cell
        line = self.lines.of_cell.get(cell) or self.lines.cell(cell)
        if cell.owner.freed:
            effect.perform(self)
        if line.owner == th.cpu.index:
            done = max(line.busy, t) + self.prices.hit + self.prices.atomic
        else:
            done = self._fetch(line, th, t, exclusive=True) + self.prices.atomic
        line.busy = done
        found = cell.value
        if effect.__class__ is CompareExchange:
            if found == effect.expected:
                cell.value = effect.new
        else:
            cell.value = effect.apply(found)
        if line.watched:
            self._stir(cell, line, th, done)
        return found, done

    def _acquire(self, th: Thread, effect: Any, t: int) -> int:
        lock = self.timed(effect.lock)
        mode = effect.mode
        if effect.lock.sleeps and (th.atomic or th.rcu):
            raise ModelError(
                f"{th.name} sleeps on {effect.lock.name} in atomic context",
                hint="a mutex or rwsem inside a spinlock or RCU section",
            )
        first = lock.first.get(mode)
        if first is None:
            first = lock.first[mode] = lock.fast(mode)
        found, done = self._word(th, first, t)
        if lock.got(found, mode):
            self.grant(th, lock, mode, done)
            if effect.lock.sleeps:  # rwsem_set_reader_owned(), rwsem_set_owner(): a store beside the count, on its line
                self._write(th, self.lines.cell(first.cell), done)  # type: ignore[attr-defined]
            return done + self.prices.lock
        lock.contended += 1
        th.waits_for, th.since = lock, t
        th.atomic += not effect.lock.sleeps  # preemption is off while it spins
        th.frames.append(th.send)
        th.send = lock.slow(th, found, mode).send
        return done

    def _release(self, th: Thread, effect: Any, t: int) -> int:
        lock = self.timed(effect.lock)
        mode = effect.mode
        self.drop(th, lock, mode, t)
        undo = lock.undo[mode]
        if undo.__class__ is ClearBits:
            cell = undo.cell
            line = self.lines.cell(cell)
            there = (
                t + self.prices.store
                if line.owner == th.cpu.index
                else self._fetch(line, th, t, exclusive=True, stalls=False)
            )
            found = cell.value
            cell.value = undo.apply(found)
            if line.watched:
                self._stir(cell, line, th, there)
            done = t + self.prices.store
        else:
            found, done = self._word(th, undo, t)
        more = lock.after_release(th, found, mode)
        if more is not None:
            th.frames.append(th.send)
            th.send = more.send
        return done + self.prices.lock
