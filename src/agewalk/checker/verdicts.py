"""Verdicts on the properties of a system, from the graph that a search left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.checker.automata.unfolding import END, ERROR, Automata
from agewalk.checker.search.bfs import Graph
from agewalk.checker.search.bfs_numba import F_DEADLOCK, F_TERMINAL
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.system import BUILT_IN, MUST, NO_DEADLOCK, TERMINATES, TOLERATED, Property, Result

HOLDS: Final = "holds"
VIOLATED: Final = "violated"
TOLERATED_SEEN: Final = "tolerated"
NOT_APPLICABLE: Final = "not-applicable"
BOUNDED: Final = "bounded"  # not decided
_DENSE: Final = 1 << 24


@dataclass(frozen=True)
class Verdict:
    """On one property. state: index of the first state that decides it (a violation, or a witness of `sometimes`).

    length: steps to that state. count and worst: of a tolerated property, states in which it fails, and the largest measure.
    witnessed: `sometimes` was seen; for other properties, that it could be evaluated at least once.
    """

    name: str
    severity: str
    verdict: str
    witnessed: bool
    state: int | None = None
    length: int | None = None
    count: int = 0
    worst: int | None = None
    why: str = ""
    error: int | None = None  # the error node
    element: int = -1  # symmetry: it is decided in what this element of the group makes of the state
    loop: list[tuple[int, int]] = field(default_factory=list)  # liveness: moves round the cycle

    @property
    def holds(self) -> bool:
        """Is there nothing to report as a bug?"""
        return self.verdict != VIOLATED

    @property
    def decided(self) -> bool:
        """Would it be the same if the search had gone on? A state was found that decides it, or nothing has to."""
        return self.state is not None or self.verdict == NOT_APPLICABLE


@dataclass
class _Look:
    """hit, miss: first (state, element) in which a predicate is true, or false. count, worst: of those in which it is false."""

    hit: tuple[int, int] | None = None
    miss: tuple[int, int] | None = None
    count: int = 0
    worst: int | None = None


class Evaluation:
    """All verdicts of one graph. Where its states stand for others too, a property is asked about all of them."""

    def __init__(self, graph: Graph, automata: Automata) -> None:
        self.graph = graph
        self.automata = automata
        self.depths = _depths(graph)
        self._undecided: frozenset[str] = frozenset()
        assert isinstance(graph.source, OnTheFly)
        self._first_var = graph.source.tables.first_var

    def all(
        self, liveness: dict[str, tuple[int, list[tuple[int, int]]] | None], undecided: frozenset[str] = frozenset()
    ) -> list[Verdict]:
        """Every property in order, the built-in ones last. `liveness`: by name, None if it holds, or (state, cycle).

        undecided: liveness that was not judged. What no state decides is BOUNDED where the search has not seen all: it was ended,
        or a thread could not go on behind a broken rule.
        """
        self._undecided = undecided
        system = self.automata.system
        verdicts = [self._one(p, liveness) for p in system.properties]
        for name in BUILT_IN:
            if name == NO_DEADLOCK:
                stuck = self.graph.flagged(F_DEADLOCK)
                verdicts.append(self._found(name, int(stuck[0])) if len(stuck) else self._fine(name))
            elif name == TERMINATES:
                verdicts.append(
                    self._live(name, liveness)
                    if system.terminates
                    else self._skipped(name, "threads run for ever here")
                )
            else:
                verdicts.append(self._by_error(name))
        unseen = self._unseen()
        return [
            replace(v, verdict=BOUNDED, witnessed=False, why=unseen) if unseen and not v.decided else v
            for v in verdicts
        ]

    def _unseen(self) -> str:
        """Why states are missing in the graph, if any are."""
        if not self.graph.complete:
            return "not all states were seen"
        nodes = [self.automata.nodes[n] for n in self.graph.errors()]
        stops = dict.fromkeys(n.property for n in nodes if n.kind == ERROR)
        return f"undecided behind a broken rule: {', '.join(stops)}" if stops else ""

    def _one(self, p: Property, liveness: dict[str, tuple[int, list[tuple[int, int]]] | None]) -> Verdict:
        why = self.automata.system.not_applicable.get(p.name)
        if why:
            return Verdict(p.name, p.severity, NOT_APPLICABLE, False, why=why)
        if p.kind == "monitor":
            return self._by_error(p.name)
        if p.kind == "eventually":
            return self._live(p.name, liveness)
        states = self.graph.flagged(F_TERMINAL) if p.kind == "finally" else np.arange(self.graph.count)
        found = self._look(p, states)
        if p.kind == "sometimes":
            if found.hit is not None:
                return Verdict(
                    p.name, p.severity, HOLDS, True, found.hit[0], self.depths(found.hit[0]), element=found.hit[1]
                )
            return Verdict(p.name, p.severity, VIOLATED, False, why="no reachable state satisfies it")
        if found.miss is None:
            return Verdict(p.name, p.severity, HOLDS, bool(len(states)))
        first, element = found.miss
        verdict = TOLERATED_SEEN if p.severity == TOLERATED else VIOLATED
        return Verdict(
            p.name, p.severity, verdict, True, first, self.depths(first), found.count, found.worst, element=element
        )

    def _look(self, p: Property, states: NDArray[np.int64]) -> _Look:
        """The first states in which a predicate is true and in which it is not, among the states and all that they stand for."""
        look = _Look()
        failing = np.zeros(self.graph.count, np.bool_)
        elements = self._elements(p.over)
        for element in elements:
            for i, n, values in self._projections(p.over, states, element):
                if p.predicate(*values):
                    look.hit = min(look.hit or (i, element), (i, element))
                    continue
                look.miss = min(look.miss or (i, element), (i, element))
                look.count += n
                if p.measure is not None:
                    worst = p.measure(*values)
                    look.worst = worst if look.worst is None else max(look.worst, worst)
            if len(elements) > 1 and look.miss is not None:
                failing |= ~self.truth(p, element)
        if len(elements) > 1:
            look.count = int(failing[states].sum())
        return look

    def _elements(self, over: tuple[Any, ...]) -> list[int]:
        """Elements of the group, -1 first, that may show a property something else."""
        groups = {t.name for t in self.automata.threads if self.automata.names.count(t.name) == 0}
        alone = any(isinstance(o, Result) and o.thread not in groups and o.thread in self.automata.names for o in over)
        elements = self.graph.source.elements
        if alone and groups:
            return list(range(-1, len(elements)))
        first = {s: p for p, (s, _) in reversed(list(enumerate(elements))) if s >= 0}
        return [-1, *sorted(first.values())]

    def _by_error(self, name: str) -> Verdict:
        found = [
            (state, node, what)
            for node, state in self.graph.errors().items()
            for broken, what in self.automata.nodes[node].broken
            if broken == name
        ]
        if not found:
            return self._fine(name)
        state, node, what = min(found)
        return Verdict(name, MUST, VIOLATED, True, state, self.depths(state), why=what, error=node)

    def _live(self, name: str, liveness: dict[str, tuple[int, list[tuple[int, int]]] | None]) -> Verdict:
        if name in self._undecided:
            return Verdict(name, MUST, BOUNDED, False, why="not judged: liveness needs a search without reduction")
        found = liveness.get(name)
        if found is None:
            return self._fine(name)
        state, loop = found
        return Verdict(
            name,
            MUST,
            VIOLATED,
            True,
            state,
            self.depths(state) + len(loop),
            why="a fair run goes round for ever",
            loop=loop,
        )

    def _found(self, name: str, state: int) -> Verdict:
        return Verdict(name, MUST, VIOLATED, True, state, self.depths(state))

    def _fine(self, name: str) -> Verdict:
        return Verdict(name, MUST, HOLDS, True)

    def _skipped(self, name: str, why: str) -> Verdict:
        return Verdict(name, MUST, NOT_APPLICABLE, False, why=why)

    # --- states -------------------------------------------------------------------------------------------------------

    def values_of(self, over: tuple[Any, ...], state: int) -> tuple[Any, ...]:
        """The values that a property is told in one state."""
        return next(values for _, _, values in self._projections(over, np.array([state])))

    def truth(self, p: Property, element: int = -1) -> NDArray[np.bool_]:
        """For every state, or what a group element makes of it, whether a predicate holds."""
        columns, decode = self._columns(p.over, element)
        key, _ = _combine(columns, self.graph.count)
        out = np.zeros(self.graph.count, np.bool_)
        values, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        answers = np.array([bool(p.predicate(*decode([c[i] for c in columns]))) for i in first], np.bool_)
        del values
        out[:] = answers[inverse]
        return out

    def _column(self, f: int, element: int) -> NDArray[np.int64]:
        """Field f of what a group element makes of each state."""
        symmetry = self.graph.source.symmetry
        if element < 0 or symmetry is None:
            return self.graph.column(f)
        s, threads = symmetry.elements[element]
        if f < len(threads):
            column = self.graph.column(threads.index(f))
            return column if s < 0 else np.array(symmetry.nodes[s], np.int64)[column]
        if s < 0:
            return self.graph.column(f)
        to = f - self._first_var
        var = next(v for v in range(len(symmetry.shared.values)) if symmetry.var(s, v) == to)
        images = [symmetry.value(s, var, x) for x in range(len(symmetry.shared.values[var]))]
        return np.array(images, np.int64)[self.graph.column(self._first_var + var)]

    def _columns(self, over: tuple[Any, ...], element: int = -1) -> tuple[list[NDArray[np.int64]], Any]:
        """Columns of ids, and how to turn one row of them into values."""
        columns: list[NDArray[np.int64]] = []
        readers = []
        names = self.automata.names
        for o in over:
            if isinstance(o, Result):
                which = [
                    i
                    for i, n in enumerate(names)
                    if o.thread in {n, self.automata.threads[i].name, self.automata.threads[i].of}
                ]
                single = o.thread in names
                readers.append((len(columns), len(which), single, -1))
                columns += [self._column(i, element) for i in which]
            else:
                var = self.automata.shared.var_of(o)
                readers.append((len(columns), 1, True, var))
                columns.append(self._column(self._first_var + var, element))
        shared, nodes = self.automata.shared, self.automata.nodes

        def decode(row: list[Any]) -> list[Any]:
            values: list[Any] = []
            for at, n, single, var in readers:
                if var >= 0:
                    values.append(shared.values[var][int(row[at])])
                    continue
                found = [nodes[int(row[at + k])] for k in range(n)]
                results = [f.result if f.kind == END else None for f in found]
                values.append(results[0] if single else tuple(sorted(results, key=repr)))
            return values

        return columns, decode

    def _projections(
        self, over: tuple[Any, ...], states: NDArray[np.int64], element: int = -1
    ) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
        """(first state, how many, values) for every different combination of values."""
        if not len(states):
            return
        columns, decode = self._columns(over, element)
        columns = [c[states] for c in columns]
        key, size = _combine(columns, len(states))
        if size <= _DENSE:
            first = np.full(size, -1, np.int64)
            first[key[::-1]] = np.arange(len(key))[::-1]
            counts = np.bincount(key, minlength=size)
            at = first[first >= 0]
            how_many = counts[first >= 0]
        else:
            _, at, how_many = np.unique(key, return_index=True, return_counts=True)
        for i, n in sorted(zip(at.tolist(), how_many.tolist(), strict=True)):
            yield int(states[i]), n, tuple(decode([c[i] for c in columns]))


def _combine(columns: list[NDArray[np.int64]], n: int) -> tuple[NDArray[np.int64], int]:
    """One number for each row; rows are equal iff their numbers are."""
    key, size = np.zeros(n, np.int64), 1
    for c in columns:
        width = int(c.max(initial=0)) + 1
        if size * width >= 1 << 62:
            _, key = np.unique(key, return_inverse=True)
            size = int(key.max(initial=0)) + 1
        key = key * width + c
        size *= width
    return key, size


def _depths(graph: Graph) -> Any:
    levels = np.array([*graph.levels, graph.count + 1])

    def depth(state: int) -> int:
        return int(np.searchsorted(levels, state, side="right")) - 1

    return depth
