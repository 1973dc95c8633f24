"""Minimal automata: nodes that behave alike become one, and each state takes as few bits as it can.

Nodes of one automaton are merged if no reachable value tells them apart. If only one of them has an edge for a value, the
others never meet that value, because the search asked for all edges: the merged automaton runs exactly as before
(docs/check.md). A thread that ignores a value then has no branch on it.

Where some nodes have edges that others lack, there is a choice of which to merge. In a system with interchangeable pages it is
made for all orders of the pages at once, so that the minimal automata are as symmetric as the automata they come from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agewalk.checker.automata.partition_refinement import minimise
from agewalk.checker.automata.shared_state import MEMORY
from agewalk.checker.automata.unfolding import CHOICE, STEP, Automata, Node, firmness
from agewalk.checker.reduction.partial_order import Footprints
from agewalk.checker.reduction.symmetry import Asymmetric, Symmetry
from agewalk.checker.search.bfs_numba import Dependence
from agewalk.checker.search.source import Source
from agewalk.checker.search.tables import Tables
from agewalk.core.errors import ModelError


class Minimal(Source):
    """The automata of a finished search, minimised.

    blocks[b]: the nodes that became node b (global number); automaton a's nodes are first[a] .. first[a + 1] - 1.
    refused: why pages are not interchangeable after all, where the system says that they are.
    """

    def __init__(self, automata: Automata, *, symmetric: bool = False) -> None:
        super().__init__(automata.system)
        symmetric = symmetric and not self.cpus
        self.refused = ""
        try:
            symmetry = Symmetry(automata, threads=symmetric, pages=not self.cpus, grow=False)
            symmetry.close()
        except Asymmetric as reason:
            self.refused = str(reason)
            symmetry = Symmetry(automata, threads=symmetric, pages=False, grow=False)
        self.symmetry = symmetry
        if symmetric:
            self._exchange(symmetry)
        self.automata = automata
        self.system = automata.system
        self.shared = automata.shared
        self.automaton_of = automata.automaton_of
        self.blocks, self.block_of, self.edges = minimise(automata, symmetry.nodes)
        self.first = [0]
        for a in range(len(automata.roots)):
            size = sum(1 for b in self.blocks if automata.nodes[b[0]].automaton == a)
            self.first.append(self.first[-1] + size)
        self.tables = Tables(
            len(self.automaton_of), self.cpus, [self.first[a] for a in self.automaton_of], memory_size=1
        )
        self._fill()
        self._foot = Footprints(automata, symmetry)
        self.cyclic = self._foot.cyclic
        self._masks = self._fold_masks()

    def node(self, block: int) -> Node:
        """A node of a block; all behave alike."""
        return self.automata.nodes[self.blocks[block][0]]

    def roots(self) -> list[int]:
        return [self.block_of[self.automata.roots[a]] for a in self.automaton_of]

    def widths(self) -> list[int]:
        sizes = [self.first[a + 1] - self.first[a] for a in self.automaton_of]
        return self.tables.widths([max(1, (s - 1).bit_length()) for s in sizes])

    def unfold(self, missing: list[tuple[int, ...]]) -> None:
        for node, thread, value in missing:
            raise ModelError(
                f"{self.system.name}: thread {thread}'s automaton lacks {self.node(node).effect!r} on value {value}",
                hint="a generator is not deterministic in what it is sent, or keeps state outside its locals",
            )

    def dependence(self) -> Dependence:
        return Dependence(*self._masks)

    def node_images(self) -> NDArray[np.int64]:
        assert self.symmetry is not None
        images = np.full((len(self.symmetry.orders), len(self.tables.kind)), -1, np.int64)
        for s in range(len(images)):
            for b, members in enumerate(self.blocks):
                images[s, b] = self.block_of[self.symmetry.nodes[s][members[0]]]
        return images

    def _size_memory(self) -> None:
        self.tables.fit(MEMORY, len(self.shared.values[MEMORY]))
        for m, value in enumerate(self.shared.values[MEMORY]):
            self.tables.freed[m] = sum(1 << i for i, o in enumerate(self.shared.mortals) if o in value.freed)

    def _fill(self) -> None:
        shared, tables = self.shared, self.tables
        for var, values in enumerate(shared.values):
            tables.fit(var, len(values))
        self._size_memory()
        for b, members in enumerate(self.blocks):
            node = self.automata.nodes[members[0]]
            choices = self.automata.choices(node) if node.kind == CHOICE else 0
            tables.add_node(
                kind=node.kind, var=node.var, ghost=node.ghost, warned=bool(node.warned), firm=firmness(node), choices=choices
            )  # fmt: skip
            if node.kind == STEP and node.var != MEMORY:
                owner = shared.owner_of(node.var)
                for i, mortal in enumerate(shared.mortals):
                    if owner is mortal:
                        tables.mortal[b] = i
                        tables.uaf[b] = self.block_of[self.automata.used_after_free(node.id)]
        for b, edges in enumerate(self.edges):
            for (thread, value), (target, left) in edges.items():
                tables.set_edge(b, thread, value, target, left)

    def _fold_masks(self) -> tuple[Any, ...]:
        """Footprints of a block: those of all its nodes together."""
        arrays = self._foot.arrays(len(self.automata.nodes))
        folded = []
        for a in arrays:
            out = np.zeros(len(self.tables.kind), a.dtype)
            for b, members in enumerate(self.blocks):
                for m in members:
                    out[b] |= a[m]
            folded.append(out)
        return tuple(folded)
