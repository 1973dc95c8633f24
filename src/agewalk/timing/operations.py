"""What each effect does on the modelled CPUs, and what it costs. A run calls these functions a million times a second."""

from __future__ import annotations

from collections.abc import Callable
from operator import add, and_, or_
from typing import Any, Final

from agewalk.core import effects as e
from agewalk.core.cells import Cell, Srcu
from agewalk.core.effects.marks import Count
from agewalk.core.effects.memory import Effect, Load, Store, used_after_free
from agewalk.core.errors import ModelError
from agewalk.timing import timing_effects as s
from agewalk.timing.grace_periods import GracePeriods
from agewalk.timing.hardware.cache_lines import Line
from agewalk.timing.hardware.hardware import Hardware
from agewalk.timing.locks.uncontended import FastPaths
from agewalk.timing.scheduler.events import Events
from agewalk.timing.scheduler.run_queues import RunQueues
from agewalk.timing.scheduler.scheduler import Scheduler
from agewalk.timing.scheduler.spinning import Spinning
from agewalk.timing.slow_effects import ASLEEP, SlowEffects

GUEST: Final = {"vm_entry": True, "vm_exit": False}  # work after which the CPU runs the guest, or no longer


def _second(_found: Any, operand: Any) -> Any:
    return operand


def _with_tail(found: int, tail: int) -> int:
    return found & 0xFFFF | tail


def _swap_if(found: Any, pair: tuple[Any, Any]) -> Any:
    return pair[1] if found == pair[0] else found


class Tally:
    """How many of a kind were performed since the last `book`. each: ps of one.

    guest: whether the CPU runs the guest after this work; None: as before. lines: lines that each evicts from the CPU's caches.
    """

    __slots__ = ("each", "guest", "lines", "n")

    def __init__(self, each: int, what: str = "") -> None:
        self.each = each
        self.n = 0
        self.guest = GUEST.get(what)
        self.lines = 64 if what == "zero_page" else 0


class Operations(Scheduler):
    """The operations of one machine: a scheduler that knows the effects. draw: random numbers from 0 to 1, for the noise on
    `Work`."""

    __slots__ = (
        "atomic_cost", "by_class", "caches", "counts", "dead", "draw", "fast_paths", "grace", "hit", "hit_atomic",
        "indirect_calls", "indirect_cost", "lines", "loud", "met", "prices", "queues", "quiet", "rcu_cost", "rcu_readers",
        "slow", "spinning", "srcu_cost", "srcu_readers", "store_cost", "waiting", "works",
    )  # fmt: skip

    def __init__(
        self,
        hardware: Hardware,
        events: Events,
        queues: RunQueues,
        spinning: Spinning,
        grace: GracePeriods,
        fast_paths: FastPaths,
        slow: SlowEffects,
        draw: Callable[[], float],
        window: int,
    ) -> None:
        super().__init__(hardware.cpus, hardware.prices, events, window)
        self.prices = prices = hardware.prices
        self.hit, self.hit_atomic, self.store_cost = prices.hit, prices.hit + prices.atomic, prices.store
        self.atomic_cost, self.indirect_cost = prices.atomic, prices.indirect
        self.rcu_cost, self.srcu_cost = prices.rcu_read, prices.srcu_read
        self.quiet, self.loud = prices.quiet, prices.loud
        self.lines = hardware.lines
        self.dead: set[Any] = hardware.lines.dead
        self.caches = hardware.caches
        self.queues = queues
        self.spinning = spinning
        self.grace = grace
        self.rcu_readers: set[Any] = grace.rcu_readers
        self.srcu_readers: dict[Srcu, set[Any]] = grace.srcu_readers
        self.waiting: list[Any] = grace.waiting
        self.fast_paths = fast_paths
        self.slow = slow.handlers
        self.draw = draw
        self.counts: dict[str, Tally] = {}
        self.works: dict[str, Tally] = {}
        self.indirect_calls = 0
        self.by_class: dict[type[Effect], Callable[[Any], Any]] = {
            s.ClearBits: self.clear_bits, s.StorePart: self.store_part, s.ExchangeTail: self.exchange_tail,
            e.FetchAnd: self.fetch_and, e.FetchOr: self.fetch_or, e.FetchAdd: self.fetch_add, e.Exchange: self.exchange,
            e.CompareExchange: self.compare_exchange, e.Work: self.work, e.Again: self.again,
            e.IndirectCall: self.indirect_call, e.RcuReadLock: self.rcu_read_lock, e.RcuReadUnlock: self.rcu_read_unlock,
            e.SrcuReadLock: self.srcu_read_lock, e.SrcuReadUnlock: self.srcu_read_unlock, e.Acquire: self.acquire,
            e.Release: self.release, e.TryAcquire: self.try_acquire, s.Begin: self.begin, s.End: self.end,
        }  # fmt: skip

    def known(self) -> frozenset[type[Effect]]:
        """The effect classes that have a cost."""
        return frozenset({Load, Store, Count, *self.by_class, *self.slow})

    def perform(self, effect: Any) -> Any:
        """Do an effect for the thread whose turn it is: its answer, or EARLY, SPINS or SLEEPS."""
        kind: Any = type(effect)
        if kind is Load:
            load: Load = effect
            return self.load(load.cell)
        if kind is Count:
            count: Count = effect
            return self.count(count.what, count.n)
        if kind is Store:
            store: Store = effect
            return self.store(store.cell, store.value)
        operation = self.by_class.get(kind)
        if operation is not None:
            return operation(effect)
        handler = self.slow.get(kind)
        if handler is None:
            raise ModelError(
                f"the timed executor does not know {effect!r}",
                hint="a new effect needs a cost: see timing/slow_effects.py",
            )
        if self.budget < self.window:
            return self.early
        th = self.th
        th.value = None
        at = handler(th, effect, self.horizon - self.budget)
        if at < 0:
            return self.sleeps if at == ASLEEP else self.spins
        self.budget = self.horizon - at
        self.others_woke()
        return th.value

    # --- memory -----------------------------------------------------------------------------------------------------

    def placed(self, cell: Cell) -> Line | None:
        """Slow path of a cell lookup: first use, per-CPU variable, or freed memory. None: EARLY.

        met: the cell, or this CPU's own in its place."""
        own = self.lines.of_cpu(cell, self.cpu)
        line: Line = self.lines.cell(cell) if own is None else own.lines[self.cpu]
        if self.dead and cell.owner in self.dead:
            if line.shared and self.budget < self.window:
                return None
            raise used_after_free(cell)
        self.met: Cell = cell if own is None else own.cells[self.cpu]
        return line

    def load(self, cell: Cell) -> Any:
        line: Any = cell.line
        if line is None:
            line = self.placed(cell)
            if line is None:
                return self.early
            cell = self.met
        if line.shared and self.budget < self.window:
            return self.early
        if (line.owner == self.cpu or line.copies[self.cpu]) and self.state.fills < line.kept_until:
            self.budget -= self.hit
        else:
            self.budget = self.horizon - self.caches.fetch(line, self.th, self.horizon - self.budget, False)
        return cell.value

    def store(self, cell: Cell, value: Any) -> Any:
        line: Any = cell.line
        if line is None:
            line = self.placed(cell)
            if line is None:
                return self.early
            cell = self.met
        if line.shared and self.budget < self.window:
            return self.early
        if line.owner == self.cpu and self.state.fills < line.kept_until:
            there = 0
        else:
            there = self.caches.fetch(line, self.th, self.horizon - self.budget, True, False)
        self.budget -= self.store_cost
        cell.value = value
        if line.watched:
            self.spinning.stir(cell, line, self.th, there or self.horizon - self.budget)
            self.others_woke()
        return None

    def clear_bits(self, effect: s.ClearBits) -> Any:
        cell = effect.cell
        if self.budget < self.window and self.lines.cell(cell).shared:
            return self.early  # the word is read at the time of the store
        return self.store(cell, cell.value & effect.operand)

    def store_part(self, effect: s.StorePart) -> Any:
        cell = effect.cell
        if self.budget < self.window and self.lines.cell(cell).shared:
            return self.early
        return self.store(cell, cell.value & ~effect.bits | effect.value)

    def update(self, cell: Cell, apply: Callable[[Any, Any], Any], operand: Any) -> Any:
        """Read, modify, write."""
        line: Any = cell.line
        if line is None:
            line = self.placed(cell)
            if line is None:
                return self.early
            cell = self.met
        if line.shared and self.budget < self.window:
            return self.early
        if line.owner == self.cpu and self.state.fills < line.kept_until:
            if line.busy > self.horizon - self.budget:  # a store's request for the line is under way
                self.budget = self.horizon - line.busy
            self.budget -= self.hit_atomic
        else:
            t = self.caches.fetch(line, self.th, self.horizon - self.budget, True) + self.atomic_cost
            self.budget = self.horizon - t
            if t > line.busy:
                line.busy = t
        found = cell.value
        cell.value = apply(found, operand)
        if line.watched:
            self.spinning.stir(cell, line, self.th, self.horizon - self.budget)
            self.others_woke()
        return found

    def fetch_and(self, effect: e.FetchAnd) -> Any:
        return self.update(effect.cell, and_, effect.operand)

    def fetch_or(self, effect: e.FetchOr) -> Any:
        return self.update(effect.cell, or_, effect.operand)

    def fetch_add(self, effect: e.FetchAdd) -> Any:
        return self.update(effect.cell, add, effect.operand)

    def exchange(self, effect: e.Exchange) -> Any:
        return self.update(effect.cell, _second, effect.operand)

    def exchange_tail(self, effect: s.ExchangeTail) -> Any:
        return self.update(effect.cell, _with_tail, effect.operand)

    def compare_exchange(self, effect: e.CompareExchange) -> Any:
        return self.update(effect.cell, _swap_if, (effect.expected, effect.new))

    # --- what no other CPU sees -------------------------------------------------------------------------------------

    def count(self, what: str, n: int) -> Any:
        tally = self.counts.get(what)
        if tally is None:
            tally = self.counts[what] = Tally(self.prices.counts.get(what, self.prices.function))
        tally.n += n
        self.budget -= tally.each * n
        return None

    def work(self, effect: e.Work) -> Any:
        what, n = effect.what, effect.n
        tally = self.works.get(what)
        if tally is None:
            tally = self.works[what] = Tally(self.prices.work(what), what)
        tally.n += n
        noise: float = self.quiet + self.loud * self.draw()
        took = int(tally.each * n * noise)
        self.budget -= took
        if tally.guest is not None:
            self.th.in_guest = tally.guest
        self.state.fills += tally.lines * n
        return self.slice_over()

    def again(self, effect: e.Again) -> Any:
        return self.slice_over()

    def slice_over(self) -> Any:
        """Preempt the thread if its time slice is exhausted."""
        t = self.horizon - self.budget
        if self.budget < 0 or t < self.state.slice_end or self.th.atomic or self.th.rcu:
            return None
        self.th.value = None
        self.queues.preempt(self.th, t)
        return self.sleeps

    def indirect_call(self, effect: e.IndirectCall) -> Any:
        self.indirect_calls += 1
        self.budget -= self.indirect_cost
        return None

    def begin(self, effect: s.Begin) -> Any:
        if self.budget < self.window and self.waiting:
            return self.early
        self.th.marks.append((effect.what, self.horizon - self.budget))
        return None

    def end(self, effect: s.End) -> Any:
        if self.budget < self.window and self.waiting:
            return self.early
        th = self.th
        t = self.horizon - self.budget
        what, since = th.marks.pop()
        th.durations.setdefault(what, []).append(t - since)
        if self.fast_paths.recorder is not None:
            self.fast_paths.recorder.slice(th.cpu.index, "span", what, th.name, since, t)
        return None

    # --- RCU and SRCU -----------------------------------------------------------------------------------------------

    def rcu_read_lock(self, effect: e.RcuReadLock) -> Any:
        if self.budget < self.window and self.waiting:
            return self.early
        self.th.rcu += 1
        self.rcu_readers.add(self.th)
        self.budget -= self.rcu_cost
        return None

    def rcu_read_unlock(self, effect: e.RcuReadUnlock) -> Any:
        if self.budget < self.window and self.waiting:
            return self.early
        self.th.rcu -= 1
        if not self.th.rcu:
            self.rcu_readers.discard(self.th)
            if self.waiting:
                self.grace.reader_exited(self.th, None, self.horizon - self.budget)
        self.budget -= self.rcu_cost
        return None

    def srcu_read_lock(self, effect: e.SrcuReadLock) -> Any:
        if self.budget < self.window and self.waiting:
            return self.early
        domain = effect.domain
        domain.readers += 1
        readers = self.srcu_readers.get(domain)
        if readers is None:
            readers = self.srcu_readers[domain] = set()
        readers.add(self.th)
        self.budget -= self.srcu_cost
        return None

    def srcu_read_unlock(self, effect: e.SrcuReadUnlock) -> Any:
        if self.budget < self.window and self.waiting:
            return self.early
        domain = effect.domain
        domain.readers -= 1
        readers = self.srcu_readers.get(domain)
        if readers is not None:
            readers.discard(self.th)
        if self.waiting:
            self.grace.reader_exited(self.th, domain, self.horizon - self.budget)
        self.budget -= self.srcu_cost
        return None

    # --- locks ------------------------------------------------------------------------------------------------------

    def acquire(self, effect: e.Acquire) -> Any:
        if self.budget < self.window:
            return self.early
        paths = self.fast_paths
        self.budget = self.horizon - paths.acquire(self.th, effect.lock, effect.mode, self.horizon - self.budget)
        self.others_woke()
        if paths.found is not None:
            self.th.enter(paths.timed.slow(self.th, paths.found, effect.mode))
        return None

    def release(self, effect: e.Release) -> Any:
        if self.budget < self.window:
            return self.early
        paths = self.fast_paths
        self.budget = self.horizon - paths.release(self.th, effect.lock, effect.mode, self.horizon - self.budget)
        self.others_woke()
        if paths.wake:
            self.th.enter(paths.timed.wake(self.th))
        return None

    def try_acquire(self, effect: e.TryAcquire) -> Any:
        if self.budget < self.window:
            return self.early
        th, lock = self.th, effect.lock
        if lock.sleeps and (th.atomic or th.rcu) and th.waits_for:
            raise ModelError(f"{th.name} tries {lock.name} while it waits", hint="a trylock inside a slow path")
        th.enter(self.fast_paths.locks.of(lock).attempt(effect.mode))
        return None
