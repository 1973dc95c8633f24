"""Partition refinement: nodes of finished automata that behave alike become one.

It treats all orders of interchangeable pages alike.
"""

from __future__ import annotations

from typing import Any

from agewalk.checker.automata.shared_state import MEMORY
from agewalk.checker.automata.unfolding import BLOCKED, CHOICE, END, ERROR, STEP, Automata, Node, firmness

Edges = dict[tuple[int, int], tuple[int, int]]


def minimise(automata: Automata, images: list[list[int]]) -> tuple[list[list[int]], list[int], list[Edges]]:
    """Blocks (lists of nodes), block of each node, merged edges of each block.

    images: for each order of the pages, the image of every node. An order of the pages takes blocks to blocks: nodes a and b
    share one iff their images do.
    """
    for n in list(automata.nodes):  # error nodes of freed memory must have a block too
        owner = automata.shared.owner_of(n.var) if n.kind == STEP and n.var != MEMORY else None
        if owner is not None and any(owner is m for m in automata.shared.mortals):
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
        split = _refined(nodes, blocks, block_of, images)
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


def _static(automata: Automata, n: Node) -> Any:
    """A key of the node. Nodes with different keys never become one."""
    if n.kind == END:
        return (n.automaton, END, automata.shared.interned(n.result), n.warned)
    if n.kind == ERROR:
        return (n.automaton, ERROR, n.broken)
    choices = automata.choices(n) if n.kind == CHOICE else 0
    return (n.automaton, n.kind, n.var, n.ghost, firmness(n), choices, n.warned)


def _refined(
    nodes: list[Node], blocks: list[list[int]], block_of: list[int], images: list[list[int]]
) -> list[list[int]]:
    """All blocks split; the parts of a block's image are the images of its parts."""
    parts: dict[int, list[list[int]]] = {}
    for b, members in enumerate(blocks):
        if b in parts:
            continue
        own = [image for image in images if block_of[image[members[0]]] == b]
        parts[b] = _split(nodes, members, block_of, own)
        for image in images:
            other = block_of[image[members[0]]]
            if other not in parts:
                parts[other] = [[image[m] for m in part] for part in parts[b]]
    return [part for b in range(len(blocks)) for part in parts[b]]


def _seen(node: Node, block_of: list[int]) -> Edges:
    """A node's edges between blocks."""
    return {k: (block_of[t] if t >= 0 else BLOCKED, left) for k, (t, left) in node.edges.items()}


def _agree(a: Edges, b: Edges) -> bool:
    """Are two sets of edges the same wherever both have one for the same value?"""
    return all(a.get(k, e) == e for k, e in b.items())


class _Parts:
    """Parts of one block, whose nodes agree wherever two of them have an edge for the same value.

    own: the orders of pages that take the block to itself; each takes parts to parts, and classes (nodes with equal edges)
    to classes.
    """

    def __init__(self, nodes: list[Node], members: list[int], block_of: list[int], own: list[list[int]]) -> None:
        exact: dict[Any, int] = {}
        self.edges: list[Edges] = []  # of each class
        self.members: list[list[int]] = []
        class_of: dict[int, int] = {}
        for m in members:
            mine = _seen(nodes[m], block_of)
            c = exact.setdefault(frozenset(mine.items()), len(self.edges))
            if c == len(self.edges):
                self.edges.append(mine)
                self.members.append([])
            self.members[c].append(m)
            class_of[m] = c
        same = list(range(len(self.edges)))
        self.images = [same, *([class_of[image[found[0]]] for found in self.members] for image in own)]
        self.part_of: dict[int, int] = {}
        self.parts: list[list[int]] = []  # classes of each
        self.union: list[Edges] = []

    def place(self, c: int) -> None:
        """Put a class, and with it all its images, into parts that are there, or into new ones."""
        orbit = {image[c] for image in self.images}
        for classes in self.parts:
            if self._put({(image[c], self.part_of[image[classes[0]]]) for image in self.images}, orbit):
                return
        first = len(self.parts)
        if not self._put({(k, first) for k in orbit}, orbit):
            self._put({(k, first + i) for i, k in enumerate(sorted(orbit))}, orbit)

    def _put(self, where: set[tuple[int, int]], orbit: set[int]) -> bool:
        """Do all these classes fit there? Then put them."""
        if len(where) != len(orbit):
            return False  # a class would have to be in two parts
        union: dict[int, Edges] = {}
        for k, p in sorted(where):
            edges = union.setdefault(p, dict(self.union[p]) if p < len(self.union) else {})
            if not _agree(edges, self.edges[k]):
                return False
            edges.update(self.edges[k])
        for p, edges in sorted(union.items()):
            if p == len(self.parts):
                self.parts.append([])
                self.union.append({})
            self.union[p] = edges
        for k, p in sorted(where):
            self.parts[p].append(k)
            self.part_of[k] = p
        return True


def _split(nodes: list[Node], members: list[int], block_of: list[int], own: list[list[int]]) -> list[list[int]]:
    """The parts of a block: lists of nodes."""
    if len(members) == 1:
        return [members]
    parts = _Parts(nodes, members, block_of, own)
    for c in range(len(parts.edges)):
        if c not in parts.part_of:
            parts.place(c)
    return [[m for c in sorted(classes) for m in parts.members[c]] for classes in parts.parts]
