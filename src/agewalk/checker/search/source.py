"""The automata as a search needs them: tables of nodes and edges, symmetry, footprints."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from agewalk.checker.automata.shared_state import MEMORY, SharedState
from agewalk.checker.automata.unfolding import ERROR
from agewalk.checker.reduction.canonical_numba import Group
from agewalk.checker.reduction.symmetry import Element, Symmetry
from agewalk.checker.search.bfs_numba import Cpus, Dependence, Model
from agewalk.checker.search.tables import Layout, Tables
from agewalk.checker.system import System


class Source(ABC):
    """Automata as tables, with their symmetries and footprints.

    Thread t runs automaton automaton_of[t]. Threads that share a CPU are never exchanged.
    symmetry: the images of what the automata hold, if anything is exchanged.
    """

    system: System
    shared: SharedState
    tables: Tables
    automaton_of: list[int]
    cyclic: bool = True  # may a thread come round to a node again?
    symmetry: Symmetry | None = None

    def __init__(self, system: System) -> None:
        threads = system.flat()
        self.daemons = np.array([t.daemon for t in threads], np.uint8)
        cpus = sorted({t.cpu for t in threads if t.cpu is not None})
        self._cpu_of = np.array([-1 if t.cpu is None else cpus.index(t.cpu) for t in threads], np.int64)
        self.cpus = len(cpus)
        self.elements: list[Element] = []
        self._memory_of = np.zeros((0, 0), np.int64)
        self._images: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None = None
        self._images_of = 0  # values, when they were looked at last

    def _exchange(self, symmetry: Symmetry) -> None:
        """From now on, one state stands for its images under the group of `symmetry`."""
        self.symmetry = symmetry
        self.elements = symmetry.elements
        self._memory_of = np.zeros((len(self.elements), 0), np.int64)

    @abstractmethod
    def unfold(self, missing: list[tuple[int, ...]]) -> None:
        """Make the edges (node, thread, value id) known."""

    @abstractmethod
    def widths(self) -> list[int]:
        """Bits that each field of a state needs, for what is known."""

    def layout(self) -> Layout:
        """A layout that fits what is known."""
        return Layout(self.widths())

    @abstractmethod
    def roots(self) -> list[int]:
        """The node that each thread starts at."""

    def initial(self) -> list[int]:
        """The fields of the first state: nodes, CPUs, variables (all at value 0)."""
        nodes = [root - int(self.tables.offset[t]) for t, root in enumerate(self.roots())]
        return nodes + [0] * self.cpus

    def initial_errors(self) -> list[int]:
        """The first nodes of threads that break a rule before their first step."""
        return [n for n in self.roots() if self.tables.kind[n] == ERROR or self.tables.warned[n]]

    def model(self, layout: Layout) -> Model:
        """The transitions, for the compiled search."""
        cpus = Cpus(self._cpu_of, self.tables.firm, len(self._cpu_of))
        return Model(layout.fields, self.tables.nodes(), cpus, self.group(), self.daemons, self.fan())

    def node_images(self) -> NDArray[np.int64]:
        """[s, n]: the node that n becomes under the s-th order of the pages."""
        return np.zeros((0, 1), np.int64)

    def group(self) -> Group:
        """The symmetries, for the compiled search."""
        n = len(self.elements)
        values = len(self.shared.values[MEMORY]) if self.symmetry is not None else 0
        known = self._memory_of.shape[1]
        if known < values:
            more = (
                [[self.symmetry.memory(p, m) for m in range(known, values)] for p in range(n)] if self.symmetry else []
            )
            self._memory_of = np.concatenate(
                [self._memory_of, np.array(more, np.int64).reshape(n, values - known)], axis=1
            )
        perms = np.array([threads for _, threads in self.elements], np.int64).reshape(n, len(self.daemons))
        which = np.array([s for s, _ in self.elements], np.int64)
        back = np.argsort(perms, axis=1)
        return Group(perms, which, self._memory_of, self.node_images(), *self._value_images(), back)

    def _value_images(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        orders = self.symmetry.orders if self.symmetry is not None and any(s >= 0 for s, _ in self.elements) else []
        fields = len(self.tables.size)
        size = sum(map(len, self.shared.values))
        if size == self._images_of and self._images is not None:
            return self._images
        self._images_of = size
        moved = np.full((len(orders), fields, 2), -1, np.int64)
        start = np.zeros((len(orders), fields), np.int64)
        flat: list[int] = []
        for s in range(len(orders)):
            assert self.symmetry is not None
            i = 0
            for var in range(1, fields):
                values = range(len(self.shared.values[var]))
                images = [self.symmetry.value(s, var, v) for v in values]
                to = self.symmetry.var(s, var)
                if to == var and images == list(values):
                    continue
                moved[s, i] = self.tables.first_var + var, self.tables.first_var + to
                start[s, i] = len(flat)
                flat += images
                i += 1
        self._images = moved, start, np.array(flat or [0], np.int64)
        return self._images

    def fan(self) -> int:
        """The largest number of successors that a state can have."""
        return len(self.daemons) * int(self.tables.choices.max())

    def dependence(self) -> Dependence:
        """Masks of the nodes for partial-order reduction. Nothing is independent as long as nothing is known."""
        n = len(self.tables.kind)
        ones = np.full(n, -1, np.int64)
        return Dependence(ones, ones, ones, ones, np.ones(n, np.uint8))
