"""Symmetry, checked: the image of every node, variable, value and edge of the automata.

A group element exchanges identical threads, or pages as the system's `Interchangeable` says, or both. Images are
followed: from the start, along every edge that was unfolded, to an edge that must exist (it is unfolded if need be), find the
image of the value and write the image of the new value, with nodes one to one. If two behaviours differ, `Asymmetric` says
where. When all edges have passed, the group is one of
automorphisms of the transition system, whatever the model's code looks like (docs/check.md).
"""

from __future__ import annotations

import itertools
from typing import Any, Final

from agewalk.checker.automata.lifetimes import Memory
from agewalk.checker.automata.semantics import show
from agewalk.checker.automata.shared_state import MEMORY
from agewalk.checker.automata.unfolding import CHOICE, ERROR, STEP, Automata, Node
from agewalk.checker.interchangeable import Order
from agewalk.checker.system import System
from agewalk.core.effects import Choose

UNKNOWN: Final = -1
Element = tuple[int, tuple[int, ...]]  # (index of the order of pages, or -1; thread t takes the part of [t])


class Asymmetric(Exception):
    """A system is not as symmetric as it says; the text tells where."""


def thread_groups(system: System) -> list[tuple[int, ...]]:
    """All ways to exchange identical threads, the one that changes nothing first: thread t takes the part of [t]."""
    groups, start = [], 0
    for t in system.threads:
        groups.append(list(itertools.permutations(range(start, start + t.n))))
        start += t.n
    return [tuple(itertools.chain(*choice)) for choice in itertools.product(*groups)]


class Symmetry:
    """The group of a system, and what its elements make of the automata.

    orders: those of the pages, without the first; elements: of the whole group, without the one that changes nothing.
    nodes[s][n], vars[s][v], values[s][v][x]: images under order s. grow: unfold images that are missing; without it a
    missing one is an asymmetry, as it is after a search that asked for all there is. Raises Asymmetric.
    """

    def __init__(self, automata: Automata, *, threads: bool, pages: bool = True, grow: bool = True) -> None:
        self.automata = automata
        self.shared = automata.shared
        self.grow = grow
        system = automata.system
        self.exchange = system.exchange if pages else None
        self.orders: list[Order] = self.exchange.orders() if self.exchange else []
        self.inverse = [self.orders.index(_inverted(o)) for o in self.orders]
        everyone = tuple(range(len(automata.threads)))
        inside = thread_groups(system) if threads else [everyone]
        self.parts = [self._parts(o) for o in self.orders]
        self.elements: list[Element] = [
            (s, tuple(own[p] for p in part))
            for s, part in itertools.chain([(-1, everyone)], enumerate(self.parts))
            for own in inside
            if (s, own) != (-1, everyone)
        ]
        self.nodes: list[list[int]] = [[] for _ in self.orders]
        self.vars: list[list[int]] = [[] for _ in self.orders]
        self.values: list[list[list[int]]] = [[] for _ in self.orders]
        self._generators = [  # enough to follow: what they keep, all that is made of them keeps
            p for p, (s, to) in enumerate(self.elements) if (to == self.parts[s] if s >= 0 else _adjacent(to))
        ]
        self._memory: list[dict[int, int]] = [{} for _ in self.elements]
        self._closed = 0  # values of the memory that have all their images
        self._done = 0  # edges of automata.unfolded that have been followed
        for s in range(len(self.orders)):
            for a, root in enumerate(automata.roots):
                self._pair(
                    s, root, automata.roots[automata.automaton_of[self.parts[s][automata.automaton_of.index(a)]]]
                )

    def _parts(self, order: Order) -> tuple[int, ...]:
        """For each thread, the thread whose part it takes. Raises Asymmetric where the two are not alike."""
        automata, exchange = self.automata, self.exchange
        assert exchange is not None
        found, groups = [], automata.system.threads
        first = [sum(t.n for t in groups[:g]) for g in range(len(groups))]
        by_name = {t.name: g for g, t in enumerate(groups)}
        for name in (n for row in exchange.threads for n in row):
            if name not in by_name:
                raise Asymmetric(f"there is no thread {name!r}")
        for t, g in enumerate(automata.automaton_of):
            other = by_name[exchange.thread(groups[g].name, order)]
            mine, theirs = groups[g], groups[other]
            if (mine.n, mine.daemon, mine.cpu) != (theirs.n, theirs.daemon, theirs.cpu):
                raise Asymmetric(f"threads {mine.name!r} and {theirs.name!r} are not of a kind")
            found.append(first[other] + t - first[g])
        return tuple(found)

    # --- images -------------------------------------------------------------------------------------------------------

    def _tell(self, s: int, node: Node, what: str) -> Asymmetric:
        pages = f"{self.exchange.what}s" if self.exchange else "threads"
        name = self.automata.system.threads[node.automaton].name
        order = " ".join(map(str, self.orders[s])) if s >= 0 else ""
        return Asymmetric(f"with {pages} in order {order}, {name} in {node.function}(), line {node.line}: {what}")

    def node(self, s: int, ident: int) -> int:
        """The image of a node, or UNKNOWN."""
        row = self.nodes[s]
        return row[ident] if ident < len(row) else UNKNOWN

    def var(self, s: int, var: int) -> int:
        """The image of a variable."""
        row = self.vars[s]
        while len(row) <= var:
            v = len(row)
            if v == MEMORY:
                row.append(MEMORY)
                continue
            assert self.exchange is not None
            place = self.exchange.one(self.shared.places[v], self.orders[s])
            if not self.grow and not self.shared.has_var(place):
                raise Asymmetric(f"{self.shared.names[v]} is used, but {place!r} is not")
            row.append(self.shared.var_of(place))
        return row[var]

    def value(self, s: int, var: int, value: int) -> int:
        """The image of a value of a variable other than the memory."""
        rows = self.values[s]
        while len(rows) <= var:
            rows.append([])
        row = rows[var]
        while len(row) <= value:
            row.append(self._renamed(s, var, self.shared.values[var][len(row)]))
        return row[value]

    def _renamed(self, s: int, var: int, found: Any) -> int:
        assert self.exchange is not None
        image, order = self.var(s, var), self.orders[s]
        renamed = self.exchange.value(self.shared.places[var], found, order)
        back = self.exchange.value(self.shared.places[image], renamed, _inverted(order))
        if self.shared.interned(back) != self.shared.interned(found):
            raise Asymmetric(
                f"{self.shared.names[var]} = {show(found)} is renamed to {show(renamed)}, and that to {show(back)}"
            )
        if not self.grow and not self.shared.met(image, renamed):
            raise Asymmetric(
                f"{self.shared.names[var]} may be {show(found)}, but {self.shared.names[image]} is never {show(renamed)}"
            )
        return self.shared.value_id(image, renamed)

    def memory(self, p: int, value: int) -> int:
        """The image of a value of the memory under an element of the group."""
        row = self._memory[p]
        if value not in row:
            s, threads = self.elements[p]
            m: Memory = self.shared.values[MEMORY][value]
            row[value] = self.shared.value_id(MEMORY, m.renamed(threads, lambda o: self.object(s, o)))
        return row[value]

    def object(self, s: int, one: Any) -> Any:
        """The image of an object."""
        if s < 0 or self.exchange is None:
            return one
        return self.shared.canonical(self.exchange.one(one, self.orders[s]))

    def choice(self, s: int, node: Node, answer: int) -> int:
        """The image of an answer to a choice."""
        return self.orders[s][answer] if s >= 0 and self.names_page(node) else answer

    def names_page(self, node: Node) -> bool:
        """Is a page what is chosen here?"""
        effect = node.effect
        return self.exchange is not None and isinstance(effect, Choose) and effect.what in self.exchange.choices

    # --- following ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Follow every edge unfolded so far, until nothing new comes of it. Raises Asymmetric."""
        unfolded = self.automata.unfolded
        while self._done < len(unfolded):
            ident, key = unfolded[self._done]
            self._done += 1
            if self.automata.nodes[ident].var == MEMORY:
                for p in self._generators:
                    self._follow_memory(p, ident, key)
            else:
                for s in range(len(self.orders)):
                    self._follow(s, ident, key)
        value = self._closed
        while value < len(self.shared.values[MEMORY]):  # an image may be a new value
            for p in range(len(self.elements)):
                self.memory(p, value)
            value += 1
        self._closed = value
        for s in range(len(self.orders)):
            self._lifetimes(s)
            var = 1
            while var < len(self.shared.values):  # images may be new variables
                if self.value(s, var, 0) != 0:
                    raise Asymmetric(
                        f"{self.shared.names[var]} and {self.shared.names[self.var(s, var)]} begin differently"
                    )
                self.value(s, var, len(self.shared.values[var]) - 1)
                var += 1

    def _follow(self, s: int, ident: int, key: tuple[int, int]) -> None:
        node = self.automata.nodes[ident]
        image = self.automata.nodes[self.nodes[s][ident]]
        choice = node.kind == CHOICE
        to = (0, self.choice(s, node, key[1]) if choice else self.value(s, node.var, key[1]))
        target, left = node.edges[key]
        theirs, leaves = self._edge(s, node, image, to)
        self._arrive(s, node, target, theirs)
        if not choice and target >= 0 and self.value(s, node.var, left) != leaves:
            raise self._tell(
                s, node, f"leaves {show(self.shared.values[node.var][left])}, its image "
                f"{show(self.shared.values[image.var][leaves])} in {self.shared.names[image.var]}",
            )  # fmt: skip

    def _follow_memory(self, p: int, ident: int, key: tuple[int, int]) -> None:
        s, threads = self.elements[p]
        node = self.automata.nodes[ident]
        image = node if s < 0 else self.automata.nodes[self.nodes[s][ident]]
        target, left = node.edges[key]
        theirs, leaves = self._edge(s, node, image, (threads[key[0]], self.memory(p, key[1])))
        if s >= 0:
            self._arrive(s, node, target, theirs)
        elif target != theirs:
            raise self._tell(s, node, "identical threads part ways")
        if self.memory(p, left) != leaves:
            raise self._tell(s, node, "its image does something else to the memory")

    def _edge(self, s: int, node: Node, image: Node, key: tuple[int, int]) -> tuple[int, int]:
        if not self.grow and key not in image.edges:
            raise self._tell(s, node, "its image never meets the image of what it meets")
        self.automata.extend(image.id, *key)
        return image.edges[key]

    def _arrive(self, s: int, node: Node, target: int, theirs: int) -> None:
        if (target < 0) != (theirs < 0):
            raise self._tell(s, node, "waits where its image goes on, or the other way round")
        if target >= 0:
            self._pair(s, target, theirs, node)

    def _pair(self, s: int, ident: int, image: int, before: Node | None = None) -> None:
        """`image` is the image of `ident` under order s, or else."""
        for order, a, b in ((s, ident, image), (self.inverse[s], image, ident)):
            row = self.nodes[order]
            row += [UNKNOWN] * (len(self.automata.nodes) - len(row))
            if row[a] == UNKNOWN:
                self._alike(order, self.automata.nodes[a], self.automata.nodes[b])
                row[a] = b
            elif row[a] != b:
                raise self._tell(s, before or self.automata.nodes[ident], "two histories meet whose images do not")

    def _alike(self, s: int, a: Node, b: Node) -> None:
        """May b be the image of a?"""
        what = (a.kind, a.ghost, a.property, a.warned) == (b.kind, b.ghost, b.property, b.warned)
        what = what and (a.context.atomic, type(a.effect)) == (b.context.atomic, type(b.effect))
        if not what:
            raise self._tell(s, a, f"{_doing(a)}, its image {_doing(b)} in {b.function}(), line {b.line}")
        if a.kind == STEP and self.var(s, a.var) != b.var:
            names = self.shared.names
            raise self._tell(
                s,
                a,
                f"{_doing(a)} {names[a.var]}, its image {_doing(b)} {names[b.var]}, not {names[self.var(s, a.var)]}",
            )
        if a.kind == CHOICE and self.automata.choices(a) != self.automata.choices(b):
            raise self._tell(s, a, "has another number of answers to choose from")

    def _lifetimes(self, s: int) -> None:
        """Check objects that can be freed: owners go where their cells go, and use after free to use after free."""
        mortals = self.shared.mortals
        for var in range(1, len(self.shared.values)):
            owner, theirs = self.shared.owner_of(var), self.shared.owner_of(self.var(s, var))
            dies = any(owner is m for m in mortals) or any(theirs is m for m in mortals)
            if dies and self.object(s, owner) is not theirs:
                raise Asymmetric(f"{self.shared.names[var]} dies with {owner!r}, its image with {theirs!r}")
        for node in list(self.automata.nodes) if mortals else []:
            owner = self.shared.owner_of(node.var) if node.kind == STEP and node.var != MEMORY else None
            if self.node(s, node.id) >= 0 and any(owner is m for m in mortals):
                image = self.automata.used_after_free(self.nodes[s][node.id])
                self._pair(s, self.automata.used_after_free(node.id), image)


def _doing(node: Node) -> str:
    if node.kind == ERROR:
        return f"breaks {node.property!r}"
    return type(node.effect).__name__ if node.effect is not None else "ends"


def _inverted(order: Order) -> Order:
    return tuple(order.index(i) for i in range(len(order)))


def _adjacent(to: tuple[int, ...]) -> bool:
    """Are two neighbouring threads exchanged, and no others?"""
    moved = [t for t, other in enumerate(to) if other != t]
    return len(moved) == 2 and moved[1] == moved[0] + 1
