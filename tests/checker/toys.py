"""Small systems whose answers are known from elsewhere: textbooks, litmus tests, counting by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agewalk.checker.system import Result, System, Thread, at_end, eventually, monitor, sometimes
from agewalk.core.cells import Cell, Lock, Object, Slab
from agewalk.core.effects import (
    ONCE,
    Acquire,
    Alloc,
    CallRcu,
    CompareExchange,
    FetchAdd,
    Free,
    Load,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    Step,
    Store,
    SynchronizeRcu,
    Warn,
)


def lost_update(n: int = 2, *, atomic: bool = False) -> System:
    """n threads add one. Not atomically, the sum may fall short; by hand: any of 1 to n."""
    cell = Cell(Object("o"), "sum", 0)

    def add() -> Step[int]:
        if atomic:
            return int((yield FetchAdd(cell, 1)))
        found: int = yield Load(cell)
        yield Store(cell, found + 1)
        return found

    return System("lost-update", (Thread("add", add, n=n),), (at_end("nothing is lost", lambda v: v == n, cell),))


def warns_then_loses() -> System:
    """A thread breaks a rule that a monitor watches, goes on, and returns what it must not: 1. The other one adds meanwhile."""
    cell = Cell(Object("o"), "sum", 0)

    def careless() -> Step[int]:
        found: int = yield Load(cell)
        yield Warn("told first")
        yield FetchAdd(cell, 1)
        return found + 1

    def add() -> Step[None]:
        yield FetchAdd(cell, 1)

    return System(
        "warns-then-loses",
        (Thread("careless", careless), Thread("add", add)),
        (monitor("told first"), at_end("never 1", lambda r: r != 1, Result("careless"))),
    )


def peterson(rounds: int = 1, *, wrong_order: bool = False) -> System:
    """Peterson's lock (1981); broken if a thread looks before it raises its flag."""
    o = Object("o")
    flags, turn, inside = [Cell(o, "flag0", 0), Cell(o, "flag1", 0)], Cell(o, "turn", 0), Cell(o, "inside", 0)

    def side(i: int) -> Callable[[], Step[None]]:
        def run() -> Step[None]:
            for _ in range(rounds):
                if not wrong_order:
                    yield Store(flags[i], 1)
                yield Store(turn, 1 - i)
                while True:
                    if not (yield Load(flags[1 - i])) or (yield Load(turn)) == i:
                        break
                if wrong_order:
                    yield Store(flags[i], 1)
                if (yield FetchAdd(inside, 1)):
                    yield Warn("both are inside")
                yield FetchAdd(inside, -1)
                yield Store(flags[i], 0)

        return run

    return System("peterson", (Thread("p0", side(0)), Thread("p1", side(1))))


def lock_order(*, same: bool) -> System:
    """Two threads take two locks, in the same or in opposite order."""
    o = Object("o")
    a, b = Lock(o, "a"), Lock(o, "b")

    def run(first: Lock, second: Lock) -> Callable[[], Step[None]]:
        def go() -> Step[None]:
            for lock in (first, second):
                yield Acquire(lock)
            for lock in (second, first):
                yield Release(lock)

        return go

    return System("lock-order", (Thread("t0", run(a, b)), Thread("t1", run(a, b) if same else run(b, a))))


def rcu(free: str) -> System:
    """Two readers and one who takes an object away: "call_rcu", "synchronize" then free, or "at once"."""
    o, victim = Object("o"), Object("victim")
    data = Cell(victim, "data", 5)
    pointer = Cell(o, "pointer", victim)

    def reader() -> Step[int | None]:
        yield RcuReadLock()
        found = yield Load(pointer)
        value = (yield Load(data)) if found is not None else None
        yield RcuReadUnlock()
        return value

    def remover() -> Step[None]:
        yield Store(pointer, None)
        if free == "call_rcu":
            yield CallRcu(victim)
            return
        if free == "synchronize":
            yield SynchronizeRcu()
        yield Free(victim)

    seen = sometimes("a reader finds it", lambda rs: 5 in rs, Result("reader"))
    return System("rcu", (Thread("reader", reader, n=2), Thread("remover", remover)), (seen,))


def retry(*, bounded: bool) -> System:
    """A cmpxchg loop against a writer that never rests."""
    cell = Cell(Object("o"), "cell", 0)

    def clearer() -> Step[bool]:
        old = yield Load(cell)
        while True:
            found = yield CompareExchange(cell, old, 0)
            if found == old or bounded:
                return bool(found == old)
            old = found

    def writer() -> Step[None]:
        value = 0
        while True:
            value = 1 - value
            yield Store(cell, value)

    goal = eventually("the clearer ends", lambda r: r is not None, Result("clearer"))
    return System("retry", (Thread("clearer", clearer), Thread("writer", writer, daemon=True)), (goal,))


def queued_lock() -> System:
    """A lock that somebody else takes for ever, again and again: whoever waits gets it in turn."""
    lock = Lock(Object("o"), "lock")

    def once() -> Step[None]:
        yield Acquire(lock)
        yield Release(lock)

    def for_ever() -> Step[None]:
        while True:
            yield Acquire(lock)
            yield Release(lock)

    return System("queued-lock", (Thread("once", once), Thread("hog", for_ever, daemon=True)))


def store_buffering() -> System:
    """The SB litmus test."""
    o = Object("o")
    x, y = Cell(o, "x", 0), Cell(o, "y", 0)

    def side(mine: Cell, other: Cell) -> Callable[[], Step[int]]:
        def run() -> Step[int]:
            yield Store(mine, 1)
            return int((yield Load(other)))

        return run

    both = at_end("one of them sees the other", lambda a, b: a or b, Result("p0"), Result("p1"))
    return System("SB", (Thread("p0", side(x, y)), Thread("p1", side(y, x))), (both,))


def message_passing(order: str = ONCE) -> System:
    """The MP litmus test; `order`: of the second store."""
    o = Object("o")
    data, flag = Cell(o, "data", 0), Cell(o, "flag", 0)

    def writer() -> Step[None]:
        yield Store(data, 1)
        yield Store(flag, 1, order)

    def reader() -> Step[tuple[Any, Any]]:
        seen = yield Load(flag)
        return seen, (yield Load(data))

    in_order = at_end("flag implies data", lambda r: r != (1, 0), Result("reader"))
    return System("MP", (Thread("writer", writer), Thread("reader", reader)), (in_order,))


def allocator(*, reuse: bool) -> System:
    """Two threads allocate, use and free; with reuse, one of them may get the other's memory."""
    slab = Slab("slab", Box, reuse=reuse)

    def run() -> Step[str]:
        box = yield Alloc(slab)
        yield Store(box.value, 1)
        yield Store(box.value, 0)
        yield Free(box)
        return str(box)

    shared = sometimes("both use the same memory", lambda rs: None not in rs and rs[0] == rs[1], Result("user"))
    return System("allocator", (Thread("user", run, n=2),), (shared,))


class Box(Object):
    """An allocation with one cell."""

    def __init__(self, i: int) -> None:
        super().__init__(f"box{i}")
        self.value = Cell(self, "value", 0)
