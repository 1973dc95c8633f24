"""The shared state of a system: which cells, locks and lists its threads touch, and the values met in them.

Value ids count from 0, the value the world was built with, so that a variable discovered late needs no rewriting of
the states already known. Variable 0 is the memory (`agewalk.checker.automata.lifetimes`).

Generators are replayed, so an object that a thread allocates itself is another Python object each time. Objects of the
built world are known by identity; any other by its type and label, and the first one met stands for all.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Callable, Iterable
from typing import Any, Final

from agewalk.checker.automata.lifetimes import Memory
from agewalk.checker.automata.semantics import initial, place_name
from agewalk.checker.system import Result
from agewalk.core.cells import Cell, ListHead, Lock, Object, Slab, Srcu
from agewalk.core.errors import ModelError

MEMORY: Final = 0
_PLACES: Final = (Cell, Lock, ListHead)
_WORLDLY: Final = (Cell, Lock, ListHead, Srcu, Slab, Object)
_OPAQUE: Final = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType, str, int, float, bytes, type(None))


class SharedState:
    """Variables and their values, as far as they have been met."""

    def __init__(self, starts: Iterable[Callable[[], Any]], watched: Iterable[Any]) -> None:
        self.names: list[str] = ["memory"]
        self.places: list[Any] = [None]
        self.values: list[list[Any]] = [[Memory()]]
        self._ids: list[dict[Any, int]] = [{Memory(): 0}]
        self._var: dict[Any, int] = {}
        self._built: dict[int, Any] = {}
        self._made: dict[Any, Any] = {}
        self.mortals: list[Any] = []  # objects that some thread frees, in the order of discovery
        self._keep = list(starts), list(watched)
        self._slab_base: dict[int, int] = {}
        self._fixed: set[int] = set()
        self._scan(self._keep)
        self._start_memory()
        for place in self._keep[1]:
            if not isinstance(place, Result):
                self.var_of(place)

    def _scan(self, roots: Any) -> None:
        """Find every cell, lock, list and object that the threads can reach before they run."""
        stack, seen = [roots], self._fixed
        self._everything: list[Any] = []  # kept, so that identities stay theirs
        while stack:
            item = stack.pop()
            if isinstance(item, _WORLDLY):
                self._built[id(item)] = item
                if isinstance(item, Slab):
                    self._slab_base[id(item)] = len(item.objects)
            for inner in gc.get_referents(item):
                opaque = isinstance(inner, _OPAQUE) or (isinstance(inner, dict) and "__builtins__" in inner)
                if id(inner) not in seen and not opaque:
                    seen.add(id(inner))
                    self._everything.append(inner)
                    stack.append(inner)

    def _start_memory(self) -> None:
        """Memory that is free already when the threads start."""
        gone = [o for o in self._built.values() if isinstance(o, Object) and o.freed]
        self.mortals += gone
        start = Memory(freed=frozenset(gone))
        self.values[MEMORY], self._ids[MEMORY] = [start], {start: 0}

    def is_built(self, item: Any) -> bool:
        """Was it there when the world was built?"""
        return id(item) in self._fixed

    def slab_base(self, slab: Slab) -> int:
        """The number of objects that a slab had given out when the world was built."""
        return self._slab_base.get(id(slab), 0)

    # --- identity -----------------------------------------------------------------------------------------------------

    def key_of(self, item: Any) -> Any:
        """A hashable name of a cell, lock, list or object that is the same in every replay."""
        if id(item) in self._built:
            return id(item)
        return id(self.canonical(item))

    def canonical(self, item: Any) -> Any:
        """The object that represents `item` in every replay."""
        if id(item) in self._built:
            return item
        if isinstance(item, (Cell, Lock)):
            key: Any = (self.key_of(item.owner), type(item).__name__, item.field)
        else:
            key = (type(item).__name__, item.label)
        if key not in self._made:
            self._made[key] = item
            self._built[id(item)] = item  # kept for ever, so its id is its own
        return self._made[key]

    def adopt(self, item: Any, local: dict[int, Any]) -> Any:
        """The canonical form of an object in a thread's effect. `local` remembers the thread's own object behind it."""
        if isinstance(item, _WORLDLY):
            one = self.canonical(item)
            if one is not item and local.setdefault(id(one), item) is not item and isinstance(item, Object):
                raise ModelError(f"two allocations share the label {item!r}", hint="give each a label of its own")
            return one
        return tuple(self.adopt(i, local) for i in item) if type(item) is tuple else item

    def localised(self, value: Any, local: dict[int, Any]) -> Any:
        """The value that a thread is sent for a canonical value, with the objects that the thread made itself in it."""
        if not local:
            return value
        if isinstance(value, _WORLDLY):
            return local.get(id(value), value)
        return tuple(self.localised(v, local) for v in value) if type(value) is tuple else value

    # --- variables ----------------------------------------------------------------------------------------------------

    def var_of(self, place: Cell | Lock | ListHead) -> int:
        """The number of the variable that a cell, lock or list is."""
        key = self.key_of(place)
        if key not in self._var:
            place = self.canonical(place)
            self._var[key] = len(self.places)
            self.places.append(place)
            self.names.append(place_name(place))
            start = self.interned(initial(place))
            self.values.append([start])
            self._ids.append({start: 0})
        return self._var[key]

    def has_var(self, place: Cell | Lock | ListHead) -> bool:
        """Did any thread touch it?"""
        return self.key_of(place) in self._var

    def owner_of(self, var: int) -> Any:
        """The canonical object that a variable lives in, or None."""
        place = self.places[var]
        return self.canonical(place.owner) if isinstance(place, (Cell, Lock)) else None

    def mortal(self, victim: Object, local: dict[int, Any]) -> Any:
        """The canonical form of an object that is freed somewhere."""
        one = self.adopt(victim, local)
        if not any(one is m for m in self.mortals):
            self.mortals.append(one)
        return one

    def interned(self, value: Any) -> Any:
        """A value in its canonical form, hashable."""
        if isinstance(value, _WORLDLY):
            return self.canonical(value)
        if type(value) is tuple:
            return tuple(self.interned(v) for v in value)
        try:
            hash(value)
        except TypeError:
            raise ModelError(
                f"a cell or result holds {value!r}, which cannot be told from others",
                hint="use ints, tuples, frozen dataclasses",
            ) from None
        return value

    def met(self, var: int, value: Any) -> bool:
        """Was this value of a variable ever met?"""
        return self.interned(value) in self._ids[var]

    def value_id(self, var: int, value: Any) -> int:
        """The id of a value of a variable; a new one if it was never met there."""
        value = self.interned(value)
        ids = self._ids[var]
        if value not in ids:
            ids[value] = len(self.values[var])
            self.values[var].append(value)
        return ids[value]
