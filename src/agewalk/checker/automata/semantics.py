"""The meaning of each effect, for the exhaustive executor: its change to the one variable that it touches.

A variable is a cell (its value), a lock (0 free, -1 held for write, n readers), a list (its members, head first), or
the memory (`agewalk.checker.automata.lifetimes`). `meaning` returns (new value, the answer that the generator is sent).
"""

from __future__ import annotations

from typing import Any

from agewalk.checker.ghost import Await, Update
from agewalk.checker.system import NO_CORRUPTION, NO_WARNING
from agewalk.core.cells import Cell, ListHead, Lock
from agewalk.core.effects import (
    WRITE,
    Acquire,
    CompareExchange,
    Count,
    Effect,
    Exchange,
    FetchAdd,
    FetchAnd,
    FetchOr,
    FlushTlb,
    IndirectCall,
    ListAdd,
    ListDel,
    ListEnd,
    Load,
    Release,
    Store,
    TryAcquire,
    WaitFor,
    Work,
)

SILENT = (Count, Work, IndirectCall, FlushTlb)  # no other thread can see them
READS = (Load, WaitFor, ListEnd)  # never change the variable
_RMW = (FetchAnd, FetchOr, FetchAdd, Exchange)


class Blocked(Exception):
    """The effect has to wait in this state."""


class Broken(Exception):
    """The effect breaks a rule in this state: (property, what happened)."""


def variable(effect: Effect) -> Cell | Lock | ListHead | None:
    """The cell, lock or list that an effect touches."""
    for attribute in ("cell", "lock", "head"):
        if hasattr(effect, attribute):
            found: Cell | Lock | ListHead = getattr(effect, attribute)
            return found
    return None


def meaning(effect: Effect, found: Any, member: Any = None) -> tuple[Any, Any]:
    """(new value, answer) for the value `found`; `member`: the canonical member of a list effect.

    Raises Blocked or Broken.
    """
    if isinstance(effect, Load):
        return found, found
    if isinstance(effect, Store):
        return effect.value, None
    if isinstance(effect, _RMW):
        return effect.apply(found), found
    if isinstance(effect, CompareExchange):
        return (effect.new if found == effect.expected else found), found
    if isinstance(effect, WaitFor):
        if found & effect.mask != effect.want:
            raise Blocked
        return found, found
    if isinstance(effect, Update):
        return effect.change(found), found
    if isinstance(effect, Await):
        if not effect.ready(found):
            raise Blocked
        return (found if effect.change is None else effect.change(found)), found
    if isinstance(effect, (Acquire, TryAcquire, Release)):
        return _lock(effect, found)
    if isinstance(effect, (ListAdd, ListDel, ListEnd)):
        return _list(effect, found, member)
    raise Broken(NO_WARNING, f"{type(effect).__name__} is no effect that the checker knows")


def _lock(effect: Acquire | TryAcquire | Release, found: int) -> tuple[int, bool | None]:
    exclusive = effect.mode == WRITE
    if isinstance(effect, Release):
        return (0 if exclusive else found - 1), None
    tried = isinstance(effect, TryAcquire)
    if found == -1 or (found and exclusive):
        if tried:
            return found, False
        raise Blocked
    return (-1 if exclusive else found + 1), (True if tried else None)


def _list(effect: ListAdd | ListDel | ListEnd, found: tuple[Any, ...], member: Any) -> tuple[tuple[Any, ...], Any]:
    if isinstance(effect, ListEnd):
        return found, ((found[0] if effect.head_side else found[-1]) if found else None)
    if isinstance(effect, ListAdd):
        if member in found:
            raise Broken(NO_CORRUPTION, f"list_add() of {member!r}, which is on {effect.head!r} already")
        return ((*found, member) if effect.tail else (member, *found)), None
    if member not in found:
        raise Broken(NO_CORRUPTION, f"list_del() of {member!r}, which is not on {effect.head!r}")
    return tuple(m for m in found if m is not member), None


def initial(place: Cell | Lock | ListHead) -> Any:
    """A variable's value in the world as it was built."""
    if isinstance(place, Lock):
        return -1 if place.writer else place.readers
    return tuple(place.items) if isinstance(place, ListHead) else place.value


def place_name(place: Cell | Lock | ListHead) -> str:
    """Its name in paths and messages."""
    return place.label if isinstance(place, ListHead) else place.name


def show(value: Any) -> str:
    """A value as a path shows it: masks and large integers in hex."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return str(value) if -1024 < value < 1024 else hex(value)
    if isinstance(value, tuple):
        return "(" + ", ".join(show(v) for v in value) + ")"
    return repr(value)
