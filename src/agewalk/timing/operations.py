"""What each effect does on the modelled CPUs, as a method that the plain text calls. They run a million times a second."""

from __future__ import annotations

from collections.abc import Callable
from operator import add, and_, or_
from typing import TYPE_CHECKING, Any, Final

from agewalk.core import effects as e
from agewalk.core.cells import Cell, Lock, Srcu
from agewalk.core.effects import FULL, ONCE, WRITE, Effect
from agewalk.core.effects.memory import used_after_free
from agewalk.timing import steps as s
from agewalk.timing.holding import FastPaths
from agewalk.timing.lines import Line
from agewalk.timing.threads import Thread
from agewalk.timing.turns import Turns

if TYPE_CHECKING:
    from agewalk.timing.machine import Machine

GUEST: Final = {"vm_entry": True, "vm_exit": False}  # work after which the CPU is in the guest, or no longer


def _second(_found: Any, operand: Any) -> Any:
    return operand


def _with_tail(found: int, tail: int) -> int:
    return found & 0xFFFF | tail


def _swap_if(found: Any, pair: tuple[Any, Any]) -> Any:
    return pair[1] if found == pair[0] else found


class Tally:
    """How many of a kind since they were booked, and ps of each.

    guest: is the CPU in the guest after this work? As before if None. lines: that each pushes out of the CPU's caches.
    """

    __slots__ = ("each", "guest", "lines", "n")

    def __init__(self, each: int, what: str = "") -> None:
        self.each = each
        self.n = 0
        self.guest = GUEST.get(what)
        self.lines = 64 if what == "zero_page" else 0


class Processor(Turns):
    """The operations of one machine."""

    __slots__ = (
        "after_readers", "atomic_cost", "caches", "counts", "dead", "draw", "fast_paths", "hit", "hit_atomic", "indirect_calls",
        "indirect_cost", "lines", "loud", "met", "prices", "quiet", "rcu_cost", "rcu_readers", "srcu_cost", "srcu_readers",
        "store_cost", "works",
    )  # fmt: skip

    def __init__(self, m: Machine) -> None:
        super().__init__(m)
        self.prices = prices = m.prices
        self.hit, self.hit_atomic, self.store_cost = prices.hit, prices.hit + prices.atomic, prices.store
        self.atomic_cost, self.indirect_cost = prices.atomic, prices.indirect
        self.rcu_cost, self.srcu_cost = prices.rcu_read, prices.srcu_read
        self.quiet, self.loud = prices.quiet, prices.loud
        self.lines = m.lines
        self.dead: set[Any] = m.lines.dead
        self.rcu_readers: set[Any] = m.rcu_readers
        self.srcu_readers: dict[Srcu, set[Any]] = m.srcu_readers
        self.after_readers: list[Any] = m.after_readers
        self.counts: dict[str, Tally] = {}
        self.works: dict[str, Tally] = {}
        self.indirect_calls = 0
        self.caches = m.caches
        self.draw = m.random.random
        self.fast_paths = FastPaths(m)

    def by_class(self) -> dict[type[Effect], Callable[..., Any]]:
        """The operation of each effect class."""
        m = self.machine
        found: dict[type[Effect], Callable[..., Any]] = {
            e.Load: self.load, e.Store: self.store, s.ClearBits: self.clear_bits, s.StorePart: self.store_part,
            e.FetchAnd: self.fetch_and, e.FetchOr: self.fetch_or, e.FetchAdd: self.fetch_add, e.Exchange: self.exchange,
            e.CompareExchange: self.compare_exchange, s.ExchangeTail: self.exchange_tail, e.Count: self.count, e.Work: self.work,
            e.Again: self.again, e.IndirectCall: self.indirect_call, e.RcuReadLock: self.rcu_read_lock,
            e.RcuReadUnlock: self.rcu_read_unlock, e.SrcuReadLock: self.srcu_read_lock, e.SrcuReadUnlock: self.srcu_read_unlock,
            e.Acquire: self.acquire, e.Release: self.release, e.TryAcquire: self.try_acquire,
        }  # fmt: skip
        found.update((cls, self.private(handler)) for cls, handler in m.private.items())
        found.update((cls, self.rare(cls, handler)) for cls, handler in m.rare.items())
        return found

    def book(self) -> None:
        """Move what has been counted to the machine's counters."""
        super().book()
        self.machine.book(self.counts, self.works)
        if self.indirect_calls:
            self.machine.counters["indirect_calls"] += self.indirect_calls
            self.indirect_calls = 0

    # --- memory -----------------------------------------------------------------------------------------------------

    def placed(self, cell: Cell) -> Line:
        """The line of a cell that nobody has met, that each CPU has for itself, or whose memory has been freed.

        met: the cell, or this CPU's own in its place."""
        own = self.lines.of_cpu(cell, self.cpu)
        line: Line = self.lines.cell(cell) if own is None else own.lines[self.cpu]
        if self.dead and cell.owner in self.dead:
            if line.shared and self.left < self.window:
                self.later()
            if cell.owner in self.dead:
                raise used_after_free(cell)
        self.met: Cell = cell if own is None else own.cells[self.cpu]
        return line

    def wait_turn(self, cell: Cell) -> None:
        """Before an effect that others can see."""
        self.later()
        if self.dead and cell.owner in self.dead:
            raise used_after_free(cell)

    def load(self, cell: Cell, order: str = ONCE) -> Any:
        self.done += 1
        line: Any = cell.line
        if line is None:
            line = self.placed(cell)
            cell = self.met
        if line.shared and self.left < self.window:
            self.wait_turn(cell)
        if (line.owner == self.cpu or line.copies[self.cpu]) and self.state.fills < line.kept_until:
            self.left -= self.hit
        else:
            self.left = self.far - self.caches.fetch(line, self.th, self.far - self.left, False)
        value = cell.value
        if self.left < 0:
            self.later()
        return value

    def store(self, cell: Cell, value: Any, order: str = ONCE) -> None:
        self.done += 1
        line: Any = cell.line
        if line is None:
            line = self.placed(cell)
            cell = self.met
        if line.shared and self.left < self.window:
            self.wait_turn(cell)
        if line.owner == self.cpu and self.state.fills < line.kept_until:
            there = 0
        else:
            there = self.caches.fetch(line, self.th, self.far - self.left, True, False)
        self.left -= self.store_cost
        cell.value = value
        if line.watched:
            self.machine.stir(cell, line, self.th, there or self.far - self.left)
            self.woke()
        if self.left < 0:
            self.later()

    def clear_bits(self, cell: Cell, operand: int, order: str = FULL) -> None:
        if self.left < self.window and self.lines.cell(cell).shared:
            self.later()  # what is kept of the word is what it holds at the time of the store
        self.store(cell, cell.value & operand)

    def store_part(self, cell: Cell, bits: int, value: int) -> None:
        if self.left < self.window and self.lines.cell(cell).shared:
            self.later()
        self.store(cell, cell.value & ~bits | value)

    def update(self, cell: Cell, apply: Callable[[Any, Any], Any], operand: Any) -> Any:
        """Read, modify, write."""
        self.done += 1
        line: Any = cell.line
        if line is None:
            line = self.placed(cell)
            cell = self.met
        if line.shared and self.left < self.window:
            self.wait_turn(cell)
        if line.owner == self.cpu and self.state.fills < line.kept_until:
            if line.busy > self.far - self.left:  # a store has sent for it
                self.left = self.far - line.busy
            self.left -= self.hit_atomic
        else:
            t = self.caches.fetch(line, self.th, self.far - self.left, True) + self.atomic_cost
            self.left = self.far - t
            if t > line.busy:
                line.busy = t
        found = cell.value
        cell.value = apply(found, operand)
        if line.watched:
            self.machine.stir(cell, line, self.th, self.far - self.left)
            self.woke()
        if self.left < 0:
            self.later()
        return found

    def fetch_and(self, cell: Cell, operand: Any, order: str = FULL) -> Any:
        return self.update(cell, and_, operand)

    def fetch_or(self, cell: Cell, operand: Any, order: str = FULL) -> Any:
        return self.update(cell, or_, operand)

    def fetch_add(self, cell: Cell, operand: Any, order: str = FULL) -> Any:
        return self.update(cell, add, operand)

    def exchange(self, cell: Cell, operand: Any, order: str = FULL) -> Any:
        return self.update(cell, _second, operand)

    def exchange_tail(self, cell: Cell, operand: int, order: str = FULL) -> Any:
        return self.update(cell, _with_tail, operand)

    def compare_exchange(self, cell: Cell, expected: Any, new: Any, order: str = FULL) -> Any:
        return self.update(cell, _swap_if, (expected, new))

    # --- what no other CPU sees -------------------------------------------------------------------------------------

    def count(self, what: str, n: int = 1) -> None:
        self.done += 1
        tally = self.counts.get(what)
        if tally is None:
            tally = self.counts[what] = Tally(self.prices.counts.get(what, self.prices.function))
        tally.n += n
        self.left -= tally.each * n
        if self.left < 0:
            self.later()

    def work(self, what: str, n: int = 1) -> None:
        self.done += 1
        tally = self.works.get(what)
        if tally is None:
            tally = self.works[what] = Tally(self.prices.work(what), what)
        tally.n += n
        noise: float = self.quiet + self.loud * self.draw()
        took = int(tally.each * n * noise)
        self.left -= took
        if tally.guest is not None:
            self.th.in_guest = tally.guest
        self.state.fills += tally.lines * n
        self.over()

    def again(self, *_told: Any) -> None:
        self.done += 1
        self.over()

    def over(self) -> None:
        """Is the turn over, or the slice?"""
        if self.left < 0 or self.far - self.left >= self.state.slice_end:
            self.yields()

    def indirect_call(self, target: str) -> None:
        self.done += 1
        self.indirect_calls += 1
        self.left -= self.indirect_cost
        if self.left < 0:
            self.later()

    def rcu_read_lock(self) -> None:
        self.done += 1
        if self.left < self.window and self.after_readers:
            self.later()
        self.th.rcu += 1
        self.rcu_readers.add(self.th)
        self.left -= self.rcu_cost
        if self.left < 0:
            self.later()

    def rcu_read_unlock(self) -> None:
        self.done += 1
        if self.left < self.window and self.after_readers:
            self.later()
        self.th.rcu -= 1
        if not self.th.rcu:
            self.rcu_readers.discard(self.th)
            if self.after_readers:
                self.machine.left(self.th, None, self.far - self.left)
        self.left -= self.rcu_cost
        if self.left < 0:
            self.later()

    def srcu_read_lock(self, domain: Srcu) -> None:
        self.done += 1
        if self.left < self.window and self.after_readers:
            self.later()
        domain.readers += 1
        readers = self.srcu_readers.get(domain)
        if readers is None:
            readers = self.srcu_readers[domain] = set()
        readers.add(self.th)
        self.left -= self.srcu_cost
        if self.left < 0:
            self.later()

    def srcu_read_unlock(self, domain: Srcu) -> None:
        self.done += 1
        if self.left < self.window and self.after_readers:
            self.later()
        domain.readers -= 1
        readers = self.srcu_readers.get(domain)
        if readers is not None:
            readers.discard(self.th)
        if self.after_readers:
            self.machine.left(self.th, domain, self.far - self.left)
        self.left -= self.srcu_cost
        if self.left < 0:
            self.later()

    def private(self, handler: Callable[..., int]) -> Callable[..., None]:
        """An operation of an effect that no other CPU sees."""

        def operation(*args: Any) -> None:
            self.done += 1
            if self.left < self.window and self.after_readers:
                self.later()
            self.left = self.far - handler(self.th, self.far - self.left, *args)
            if self.left < 0:
                self.later()

        return operation

    # --- locks, and all else ----------------------------------------------------------------------------------------

    def acquire(self, lock: Lock, mode: str = WRITE) -> None:
        self.done += 1
        if self.left < self.window:
            self.later()
        mine = self.th
        t = self.fast_paths.acquire(mine, lock, mode, self.far - self.left)
        timed, found = self.fast_paths.timed, self.fast_paths.found
        self.left = self.far - t
        self.woke()
        if self.left < 0:
            self.later()
        if found is not None:
            timed.slow(mine, found, mode)

    def release(self, lock: Lock, mode: str = WRITE) -> None:
        self.done += 1
        if self.left < self.window:
            self.later()
        mine = self.th
        t = self.fast_paths.release(mine, lock, mode, self.far - self.left)
        timed, wake = self.fast_paths.timed, self.fast_paths.wake
        self.left = self.far - t
        self.woke()
        if self.left < 0:
            self.later()
        if wake:
            timed.wake(mine)

    def try_acquire(self, lock: Lock, mode: str = WRITE) -> bool:
        self.done += 1
        if self.left < self.window:
            self.later()
        timed = self.machine.tries(self.th, lock)
        self.woke()
        if self.left < 0:
            self.later()
        return bool(timed.attempt(mode))

    def rare(self, cls: type[Effect], handler: Callable[[Thread, Any, int], int]) -> Callable[..., Any]:
        """An operation of an effect that is not met a million times a second."""

        def operation(*args: Any, **options: Any) -> Any:
            return self.rarely(handler, cls(*args, **options))

        return operation

    def rarely(self, handler: Callable[[Thread, Any, int], int], effect: Effect) -> Any:
        self.done += 1
        mine = self.th
        mine.value = None
        while True:
            if self.left < self.window:
                self.later()
            at = handler(mine, effect, self.far - self.left)
            if at >= 0:
                break
            self.sleep()
            if mine.pending is None:  # it slept, and what it slept for has happened
                return mine.value
            mine.pending = None  # it spun: look again
        self.left = self.far - at
        self.woke()
        value = mine.value
        if self.left < 0:
            self.later()
        return value
