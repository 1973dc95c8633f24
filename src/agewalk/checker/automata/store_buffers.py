"""Store buffers: x86's TSO, and a weaker mode in which plain stores overtake each other.

No part of the search knows about them. A thread's stores go into a buffer, a cell of its own; a second, endless thread
takes them out again. Loads look into the buffer first; what is a barrier waits until it is empty.

tso: the buffer is a queue. Stores may be seen later than loads that follow them, never out of order. Every atomic
read-modify-write, lock and unlock, allocator call and IPI drains it (LOCK-prefixed instructions do; an unlock is a plain
store, but behind everything that it protects, so draining before it loses nothing).
weak: a store may leave before older stores to other cells unless it is a RELEASE; relaxed and ACQUIRE atomics drain only
their own cell, RELEASE and FULL ones everything. Loads stay in order: a missing read barrier is not found, nor what a
compiler may do to PLAIN accesses beyond moving stores down.

Buffers hold `ROOM` stores; a longer delay is not explored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from agewalk.checker.ghost import Await, Ghost, Update
from agewalk.checker.interchangeable import Interchangeable, Order, Place
from agewalk.checker.system import System, Thread
from agewalk.core.cells import Cell, Object
from agewalk.core.effects import (
    FULL,
    RELEASE,
    Acquire,
    Choose,
    CompareExchange,
    Count,
    Effect,
    Exchange,
    FetchAdd,
    FetchAnd,
    FetchOr,
    FlushTlb,
    IndirectCall,
    Load,
    PreemptDisable,
    PreemptEnable,
    RcuReadLock,
    RcuReadUnlock,
    SrcuReadLock,
    SrcuReadUnlock,
    Step,
    Store,
    WaitFor,
    Warn,
    Work,
)
from agewalk.core.errors import UsageError

SC: Final = "sc"
TSO: Final = "tso"
WEAK: Final = "weak"
MODELS: Final = (SC, TSO, WEAK)
ROOM: Final = 3
Entry = tuple[Cell, Any, bool]  # cell, value, is it a RELEASE store
_FREE: Final = (
    Count, Work, IndirectCall, PreemptDisable, PreemptEnable, RcuReadLock, RcuReadUnlock, SrcuReadLock, SrcuReadUnlock, Warn,
    Choose, Update, Await,
)  # fmt: skip
_ATOMIC: Final = (FetchAnd, FetchOr, FetchAdd, Exchange, CompareExchange)


def with_memory_model(system: System, model: str) -> System:
    """The same system under a memory model. Raises UsageError for one that we do not have."""
    if model == SC:
        return system
    if model not in MODELS:
        raise UsageError(f"no memory model {model!r}", hint=f"there are {', '.join(MODELS)}")
    threads: list[Thread] = []
    buffers: dict[str, Cell] = {}
    for name, thread in zip(system.names(), system.flat(), strict=True):
        empty: tuple[Entry, ...] = ()
        buffer = buffers[name] = Cell(Object(f"{name}"), "store_buffer", empty)
        threads.append(replace(thread, name=name, of=thread.name, n=1, start=_start(thread, buffer, model)))
        threads.append(Thread(f"{name}-buffer", _drain(buffer, model), daemon=True))
    exchange = None if system.exchange is None else _exchange(system.exchange, buffers)
    return replace(system, name=f"{system.name}+{model}", threads=tuple(threads), exchange=exchange)


def _exchange(exchange: Interchangeable, buffers: dict[str, Cell]) -> Interchangeable:
    """Pages are exchanged in store buffers too, and a thread that works for one page takes its buffer along."""
    rename = exchange.rename

    def renamed(place: Place, value: Any, to: Order) -> Any:
        if rename is None or not any(place is b for b in buffers.values()):
            return value if rename is None else rename(place, value, to)
        return tuple((cell, rename(cell, found, to), release) for cell, found, release in value)

    rows = tuple(tuple(buffers[name] for name in row) for row in exchange.threads if set(row) <= set(buffers))
    drains = tuple(tuple(f"{name}-buffer" for name in row) for row in exchange.threads)
    return replace(
        exchange, places=(*exchange.places, *rows), threads=(*exchange.threads, *drains), rename=renamed,
    )  # fmt: skip


def _start(thread: Thread, buffer: Cell, model: str) -> Callable[[], Step[Any]]:
    return lambda: buffered(thread.start(), buffer, model)


def _empty(entries: tuple[Entry, ...]) -> bool:
    return not entries


def buffered(inner: Step[Any], buffer: Cell, model: str) -> Step[Any]:
    """Run `inner` with its stores in a buffer."""
    answer: Any = None
    while True:
        try:
            effect = inner.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = yield from _one(effect, buffer, model)


def _one(effect: Effect, buffer: Cell, model: str) -> Step[Any]:
    if isinstance(effect, Store):
        entry = (effect.cell, effect.value, effect.order in {RELEASE, FULL})

        def append(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
            return (*entries, entry)

        yield Await(buffer, _has_room, append)
        return None
    if isinstance(effect, Load):
        entries: tuple[Entry, ...] = yield Load(buffer)
        mine = [value for cell, value, _ in entries if cell is effect.cell]
        if mine:
            return mine[-1]
        return (yield Ghost(effect))
    if isinstance(effect, (Ghost, *_FREE)):
        return (yield effect)
    relaxed = model == WEAK and (
        isinstance(effect, (WaitFor, Acquire)) or (isinstance(effect, _ATOMIC) and effect.order not in {RELEASE, FULL})
    )
    if relaxed or isinstance(effect, WaitFor):
        cell = getattr(effect, "cell", None)
        if cell is not None:
            yield Await(buffer, _without(cell))
    else:
        yield Await(buffer, _empty)
    if isinstance(effect, FlushTlb):
        return None
    return (yield effect)


def _has_room(entries: tuple[Entry, ...]) -> bool:
    return len(entries) < ROOM


def _without(cell: Cell) -> Callable[[tuple[Entry, ...]], bool]:
    def ready(entries: tuple[Entry, ...]) -> bool:
        return all(c is not cell for c, _, _ in entries)

    return ready


def _drain(buffer: Cell, model: str) -> Callable[[], Step[None]]:
    def run() -> Step[None]:
        while True:
            yield from _oldest(buffer) if model == TSO else _any(buffer)

    return run


def _first_gone(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return entries[1:]


def _oldest(buffer: Cell) -> Step[None]:
    entries: tuple[Entry, ...] = yield Await(buffer, bool, _first_gone)
    cell, value, _ = entries[0]
    yield Ghost(Store(cell, value))


def may_leave(entries: tuple[Entry, ...]) -> list[int]:
    """The indices of the buffered stores that may become visible next, in the weak mode."""
    return [
        i
        for i, (cell, _, release) in enumerate(entries)
        if i == 0 or (not release and all(c is not cell for c, _, _ in entries[:i]))
    ]


def _any(buffer: Cell) -> Step[None]:
    entries: tuple[Entry, ...] = yield Await(buffer, bool)
    ready = may_leave(entries)
    i = ready[(yield Choose(len(ready), "store"))] if len(ready) > 1 else ready[0]
    cell, value, _ = entries[i]

    def gone(now: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return now[:i] + now[i + 1 :]

    yield Update(buffer, gone)
    yield Ghost(Store(cell, value))
