"""A system's declaration of interchangeable pages: the cells, threads and answers that belong to each page.

It is a claim. `agewalk.checker.reduction.symmetry` follows it through every edge of the automata and refuses it where it fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agewalk.core.cells import Cell, ListHead, Lock, Object

Place = Cell | Lock | ListHead
Order = tuple[int, ...]  # page i takes the part of page order[i]


@dataclass(frozen=True)
class Interchangeable:
    """`n` pages (or whatever `what` calls them) that can be exchanged.

    places, objects, threads: rows of n, one of each page: cells, locks and lists; allocations; names of threads that work on
    one page each. Whatever is in no row belongs to no page.
    choices: names of `Choose` effects whose answer is a page.
    rename: what a value of a place becomes when the pages take order `to`; None: values name no page. Cells and objects
    inside a value (alone, or in tuples) are renamed by the rows, after it.
    """

    n: int
    places: tuple[tuple[Place, ...], ...] = ()
    threads: tuple[tuple[str, ...], ...] = ()
    choices: tuple[str, ...] = ()
    rename: Callable[[Place, Any, Order], Any] | None = None
    objects: tuple[tuple[Object, ...], ...] = ()
    what: str = "page"
    _rows: dict[int, tuple[tuple[Any, ...], int]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for row in (*self.places, *self.objects):
            for i, one in enumerate(row):
                self._rows[id(one)] = row, i

    def orders(self) -> list[Order]:
        """All orders but the one that changes nothing."""
        return list(itertools.permutations(range(self.n)))[1:]

    def one(self, item: Any, to: Order) -> Any:
        """The cell, lock, list or object that takes the part of `item`."""
        row, i = self._rows.get(id(item), ((item,), 0))
        return row[to[i]] if len(row) > 1 else item

    def value(self, place: Place, value: Any, to: Order) -> Any:
        """The value that a value found in `place` becomes."""
        return self._inside(value if self.rename is None else self.rename(place, value, to), to)

    def _inside(self, value: Any, to: Order) -> Any:
        if type(value) is tuple:
            return tuple(self._inside(v, to) for v in value)
        return self.one(value, to)

    def thread(self, name: str, to: Order) -> str:
        """The thread that takes the part of `name`."""
        for row in self.threads:
            if name in row:
                return row[to[row.index(name)]]
        return name
