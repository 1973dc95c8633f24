"""Continuations: all that decides what a suspended generator does next, as a value.

Two generators whose frames stand at the same instruction with equal locals and evaluation stacks behave alike from
there on (they are deterministic in what they are sent). So equal continuations are one node of a thread's automaton: a
thread forgets what it has no variable for, and a loop that comes round to the same locals closes by itself.

CPython shows a frame's locals, and through the garbage collector's view of it (`gc.get_referents`) the evaluation stack
as well: the half-evaluated `a | (yield from b)`, the iterators of `for` loops. What cannot be looked into counts by
identity, so that nodes are then merged too rarely, never wrongly. Elsewhere `continuation` answers None and nodes are
told apart by the answers that led to them; both ways must give equal verdicts (tests/checker/automata/test_continuations.py).
"""

from __future__ import annotations

import enum
import gc
import sys
import types
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

from agewalk.core.cells import Cell, ListHead, Lock, Object, Srcu
from agewalk.core.effects import Effect

SUPPORTED: Final = sys.implementation.name == "cpython"
_ATOMS: Final = (int, str, bytes, float, bool, type(None), type(Ellipsis), enum.Enum)
_PLAIN: Final = {int, str, bytes, type(None)}  # the commonest types that stand for themselves
_SHARED: Final = (Cell, Lock, Object, ListHead, Srcu)
_BY_IDENTITY: Final = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType)
_SAMPLES: Final[tuple[Any, ...]] = (
    iter(range(1)), iter(range(1 << 70)), iter([]), iter(()), iter({}), iter({}.values()), iter({}.items()), iter(set()),
    iter(""), reversed([]),
)  # fmt: skip
_ITERATORS: Final[tuple[Any, ...]] = (*(type(sample) for sample in _SAMPLES), enumerate, zip, map, filter, reversed)


class Continuation:
    """Turns generators into hashable keys.

    name_of: names a world object (cell, lock ...). built: is this what the world was built with? Such things are told by
    identity; what a run made itself, by what is in it.
    """

    def __init__(self, name_of: Callable[[Any], Any], built: Callable[[Any], bool]) -> None:
        self._name_of = name_of
        self._built = built
        self._keep: list[Any] = []  # objects that count by identity must not be recycled

    def of(self, generator: Any, effect: Effect) -> tuple[Any, ...] | None:
        """The continuation of a generator that has just yielded `effect` (which it does not hold any more), or None where
        it cannot be told."""
        if not SUPPORTED:
            return None
        seen: dict[int, int] = {}
        return self._value(effect, seen), self._generator(generator, seen)

    def _generator(self, generator: Any, seen: dict[int, int]) -> tuple[Any, ...]:
        frame = generator.gi_frame
        if frame is None:
            return ("finished",)
        if id(generator) in seen:
            return ("seen", seen[id(generator)])
        seen[id(generator)] = len(seen)
        code = frame.f_code
        names = frame.f_locals  # up to CPython 3.12 a dict that the frame keeps, in whatever order it was filled
        bound = tuple(sorted(names))  # which locals are bound: unbound ones leave no trace among the referents
        known = {id(frame), id(code), id(frame.f_globals), id(frame.f_builtins), id(names)}
        state = self._values([item for item in gc.get_referents(generator) if id(item) not in known], seen)
        return (id(code), frame.f_lasti, bound, state)

    def _values(self, items: Iterable[Any], seen: dict[int, int]) -> tuple[Any, ...]:
        return tuple([item if type(item) in _PLAIN else self._value(item, seen) for item in items])

    def _value(self, item: Any, seen: dict[int, int]) -> Any:
        kind: Any = type(item)
        sort = _sort(kind)
        if sort == "atom":
            return item
        if sort == "number":
            return (type(item).__name__, item)
        if sort == "shared":
            return ("shared", self._name_of(item))
        if sort == "function" and item.__closure__ is None and item.__defaults__ is None:
            return ("function", id(item.__code__))
        if self._built(item):
            return ("built", id(item))
        if sort == "tuple":
            return ("tuple", type(item).__name__, self._values(item, seen))
        if isinstance(item, range):
            return ("range", item.start, item.stop, item.step)
        if isinstance(item, frozenset):
            return ("frozenset", frozenset(self._value(i, seen) for i in item))
        if isinstance(item, _BY_IDENTITY):
            return ("id", id(item))
        if isinstance(item, types.MethodType):
            return ("method", id(item.__func__), self._value(item.__self__, seen))
        if id(item) in seen:
            return ("seen", seen[id(item)])
        if isinstance(item, types.GeneratorType):
            return self._generator(item, seen)
        seen[id(item)] = len(seen)
        if isinstance(item, types.FunctionType):
            return self._function(item, seen)
        if isinstance(item, (list, set)):
            parts = sorted(item, key=repr) if isinstance(item, set) else item
            return (type(item).__name__, tuple(self._value(i, seen) for i in parts))
        if isinstance(item, dict):
            return ("dict", tuple((self._value(k, seen), self._value(v, seen)) for k, v in item.items()))
        if isinstance(item, types.CellType):
            try:
                return ("cell", self._value(item.cell_contents, seen))
            except ValueError:
                return ("cell",)
        if isinstance(item, _ITERATORS):
            return ("iterator", self._value(item.__reduce__(), seen))
        if isinstance(item, Effect):
            slots = (s for c in type(item).__mro__ for s in getattr(c, "__slots__", ()))
            return ("effect", type(item).__name__, tuple(self._value(getattr(item, s), seen) for s in slots))
        return self._instance(item, seen)

    def _function(self, item: types.FunctionType, seen: dict[int, int]) -> Any:
        return (
            "function",
            id(item.__code__),
            self._values(item.__closure__ or (), seen),
            self._value(item.__defaults__, seen),
        )

    def _instance(self, item: Any, seen: dict[int, int]) -> Any:
        kind: Any = type(item)
        if kind.__module__ == "builtins" or kind.__reduce__ is not object.__reduce__:
            self._keep.append(item)  # nothing we know how to look into
            return ("id", id(item))
        slots = [s for c in kind.__mro__ for s in getattr(c, "__slots__", ()) if hasattr(item, s)]
        state = [(s, self._value(getattr(item, s), seen)) for s in slots if not s.startswith("__")]
        state += [(k, self._value(v, seen)) for k, v in sorted(getattr(item, "__dict__", {}).items())]
        return ("instance", id(kind), tuple(state))


@cache
def _sort(kind: type) -> str:
    """The way in which values of a common type are told apart; "" for other types."""
    if issubclass(kind, (bool, float)):
        return "number"
    if issubclass(kind, _ATOMS):
        return "atom"
    if issubclass(kind, _SHARED):
        return "shared"
    if kind is types.FunctionType:
        return "function"
    return "tuple" if issubclass(kind, tuple) else ""
