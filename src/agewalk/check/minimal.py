"""Minimal automata: nodes that behave alike become one, and each state takes as few bits as it can.

Nodes of one automaton are merged when no reachable value tells them apart. An edge that only one of them has was never
asked of the others, in a search that asked for all there is, so the others never meet that value: the merged automaton
runs exactly as the first did (docs/check.md). A thread that ignores a value then has no branch on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agewalk.check.automaton import BLOCKED, CHOICE, END, ERROR, STEP, Automata, Node
from agewalk.check.footprint import Footprints
from agewalk.check.learn import Source, firmness
from agewalk.check.tables import Layout, Tables
from agewalk.check.world import MEMORY
from agewalk.core.errors import ModelError

Edges = dict[tuple[int, int], tuple[int, int]]


class Minimal(Source):
    """The automata of a finished search, minimised.

    blocks[b]: the nodes that became node b (global number); automaton a's nodes are first[a] .. first[a + 1] - 1.
    """

    def __init__(self, automata: Automata, *, symmetric: bool = False) -> None:
        super().__init__(automata.system, symmetric=symmetric)
        self.automata = automata
        self.system = automata.system
        self.world = automata.world
        self.automaton_of = automata.automaton_of
        self.blocks, self.block_of, self.edges = _minimise(automata)
        self.first = [0]
        for a in range(len(automata.roots)):
            size = sum(1 for b in self.blocks if automata.nodes[b[0]].automaton == a)
            self.first.append(self.first[-1] + size)
        self.tables = Tables(
            len(self.automaton_of), self.cpus, [self.first[a] for a in self.automaton_of], memory_size=1
        )
        self._fill()
        self._foot = Footprints(automata)
        self.cyclic = self._foot.cyclic
        self._masks = self._fold_masks()

    def node(self, block: int) -> Node:
        """A node of a block; all behave alike."""
        return self.automata.nodes[self.blocks[block][0]]

    def roots(self) -> list[int]:
        return [self.block_of[self.automata.roots[a]] for a in self.automaton_of]

    def layout(self) -> Layout:
        sizes = [self.first[a + 1] - self.first[a] for a in self.automaton_of]
        return self.tables.layout([max(1, (s - 1).bit_length()) for s in sizes])

    def learn(self, missing: list[tuple[int, ...]]) -> None:
        for node, thread, value in missing:
            if node >= 0:
                raise ModelError(
                    f"{self.system.name}: thread {thread}'s automaton lacks {self.node(node).effect!r} on value {value}",
                    hint="a generator is not deterministic in what it is sent, or keeps state outside its locals",
                )
            self._rename_memory(thread, value)
        self._size_memory()

    def footprints(self) -> tuple[Any, ...]:
        return self._masks

    def _size_memory(self) -> None:
        self.tables.fit(MEMORY, len(self.world.values[MEMORY]))
        for m, value in enumerate(self.world.values[MEMORY]):
            self.tables.freed[m] = sum(1 << i for i, o in enumerate(self.world.mortals) if o in value.freed)

    def _fill(self) -> None:
        world, tables = self.world, self.tables
        for var, values in enumerate(world.values):
            tables.fit(var, len(values))
        self._size_memory()
        for b, members in enumerate(self.blocks):
            node = self.automata.nodes[members[0]]
            choices = self.automata.choices(node) if node.kind == CHOICE else 0
            tables.add_node(kind=node.kind, var=node.var, ghost=node.ghost, firm=firmness(node), choices=choices)
            if node.kind == STEP and node.var != MEMORY:
                owner = world.owner_of(node.var)
                for i, mortal in enumerate(world.mortals):
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


def _static(automata: Automata, n: Node) -> Any:
    """What no merging may mix."""
    if n.kind == END:
        return (n.automaton, END, automata.world.interned(n.result))
    if n.kind == ERROR:
        return (n.automaton, ERROR, n.property, n.result)
    choices = automata.choices(n) if n.kind == CHOICE else 0
    return (n.automaton, n.kind, n.var, n.ghost, firmness(n), choices)


def _minimise(automata: Automata) -> tuple[list[list[int]], list[int], list[Edges]]:
    """Blocks (lists of nodes), block of each node, merged edges of each block."""
    for n in list(automata.nodes):  # error nodes of freed memory must have a block too
        if (
            n.kind == STEP
            and n.var != MEMORY
            and any(automata.world.owner_of(n.var) is m for m in automata.world.mortals)
        ):
            automata.used_after_free(n.id)
    nodes = automata.nodes
    groups: dict[Any, list[int]] = {}
    for n in nodes:
        groups.setdefault(_static(automata, n), []).append(n.id)
    blocks = list(groups.values())
    block_of = [0] * len(nodes)
    while True:
        for b, members in enumerate(blocks):
            for m in members:
                block_of[m] = b
        split = [part for members in blocks for part in _split(nodes, members, block_of)]
        if len(split) == len(blocks):
            break
        blocks = split
    order = sorted(range(len(blocks)), key=lambda b: (nodes[blocks[b][0]].automaton, min(blocks[b])))
    blocks = [blocks[b] for b in order]
    for b, members in enumerate(blocks):
        for m in members:
            block_of[m] = b
    merged = []
    for members in blocks:
        edges: Edges = {}
        for m in members:
            edges.update(_seen(nodes[m], block_of))
        merged.append(edges)
    return blocks, block_of, merged


def _seen(node: Node, block_of: list[int]) -> Edges:
    """A node's edges between blocks."""
    return {k: (block_of[t] if t >= 0 else BLOCKED, left) for k, (t, left) in node.edges.items()}


def _split(nodes: list[Node], members: list[int], block_of: list[int]) -> list[list[int]]:
    """Parts of a block whose nodes agree wherever two of them have an edge for the same value."""
    if len(members) == 1:
        return [members]
    parts: list[tuple[Edges, list[int]]] = []
    exact: dict[Any, int] = {}
    for m in members:
        mine = _seen(nodes[m], block_of)
        signature = frozenset(mine.items())
        if signature in exact:
            parts[exact[signature]][1].append(m)
            continue
        for i, (edges, part) in enumerate(parts):
            if all(edges.get(k, e) == e for k, e in mine.items()):
                edges.update(mine)
                part.append(m)
                exact[signature] = i
                break
        else:
            exact[signature] = len(parts)
            parts.append((dict(mine), [m]))
    return [part for _, part in parts]
