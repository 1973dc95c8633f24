"""Automata that are unfolded while the search asks for their edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agewalk.checker.automata.shared_state import MEMORY
from agewalk.checker.automata.unfolding import CHOICE, STEP, Automata, Node, firmness
from agewalk.checker.reduction.partial_order import Footprints
from agewalk.checker.reduction.symmetry import Symmetry
from agewalk.checker.search.bfs_numba import Dependence
from agewalk.checker.search.source import Source
from agewalk.checker.search.tables import Tables


class OnTheFly(Source):
    """Automata that are unfolded while the search asks for their edges; with `symmetric`, together with their images.

    Raises Asymmetric (also while it unfolds) where pages are not as interchangeable as the system says.
    """

    def __init__(self, automata: Automata, *, symmetric: bool = False) -> None:
        super().__init__(automata.system)
        if symmetric and not self.cpus:
            self._exchange(Symmetry(automata, threads=True))
        self.automata = automata
        self.system = automata.system
        self.shared = automata.shared
        self.automaton_of = automata.automaton_of
        self.tables = Tables(len(automata.threads), self.cpus, [0] * len(automata.threads))
        self._node_bits = 6
        self._foot: Footprints | None = None
        self._mortals = 0
        self._lifetimes = 0  # values of the memory whose freed objects the tables have
        self._edges = 0  # of automata.unfolded, that the tables have
        self._sync()

    def roots(self) -> list[int]:
        return [self.automata.roots[a] for a in self.automaton_of]

    def widths(self) -> list[int]:
        return self.tables.widths([self._node_bits] * len(self.automaton_of))

    def unfold(self, missing: list[tuple[int, ...]]) -> None:
        for node, thread, value in missing:
            self.automata.extend(node, thread, value)
        self._sync()

    def node_images(self) -> NDArray[np.int64]:
        if self.symmetry is None:
            return super().node_images()
        images = np.full((len(self.symmetry.orders), len(self.tables.kind)), -1, np.int64)
        for s, row in enumerate(self.symmetry.nodes):
            images[s, : len(row)] = row
        return images

    def _sync(self) -> None:
        """Copy to the tables what has been unfolded since the last call."""
        if self.symmetry is not None:
            self.symmetry.close()
        shared, tables, automata = self.shared, self.tables, self.automata
        for var, values in enumerate(shared.values):
            tables.fit(var, len(values))
        for m in range(self._lifetimes, len(shared.values[MEMORY])):
            freed = shared.values[MEMORY][m].freed
            tables.freed[m] = sum(1 << i for i, o in enumerate(shared.mortals) if o in freed)
        self._lifetimes = len(shared.values[MEMORY])
        while tables.count < len(automata.nodes):
            node = automata.nodes[tables.count]
            choices = automata.choices(node) if node.kind == CHOICE else 0
            tables.add_node(
                kind=node.kind, var=node.var, ghost=node.ghost, warned=bool(node.warned), firm=firmness(node), choices=choices
            )  # fmt: skip
            self._mark_mortal(node)
        if len(shared.mortals) > self._mortals:
            self._mortals = len(shared.mortals)
            self._lifetimes = 0
            for node in list(automata.nodes):
                self._mark_mortal(node)
            self._sync()
        for ident, (thread, value) in automata.unfolded[self._edges :]:
            target, left = automata.nodes[ident].edges[(thread, value)]
            tables.set_edge(ident, thread, value, target, left)
        self._edges = len(automata.unfolded)
        self._node_bits = max(
            self._node_bits, (2 * len(automata.nodes)).bit_length() if len(automata.nodes) >> self._node_bits else 0
        )

    def _mark_mortal(self, node: Node) -> None:
        if node.kind != STEP or node.var == MEMORY or self.tables.mortal[node.id] >= 0:
            return
        owner = self.shared.owner_of(node.var)
        for i, mortal in enumerate(self.shared.mortals):
            if owner is mortal:
                self.tables.mortal[node.id] = i
                self.tables.uaf[node.id] = self.automata.used_after_free(node.id)

    def study(self) -> bool:
        """Work out footprints from what is known now; did they change?"""
        new = Footprints(self.automata, self.symmetry)
        changed = self._foot is None or new.differs(self._foot)
        self._foot = new
        self.cyclic = new.cyclic
        return changed

    def dependence(self) -> Dependence:
        if self._foot is None:
            return super().dependence()
        return Dependence(*self._foot.arrays(len(self.tables.kind)))
