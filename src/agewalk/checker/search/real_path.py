"""From a path between states that stand for others back to a path that really runs.

Each step of a symmetric search goes from a state p to q, and q is kept as the state h(q) that stands for it. If the real run is
in k(p), its step is the image of the found one under k, and leads to k(q), which is (k after the inverse of h) of what was
kept. The whole run may then be exchanged once more, so that it ends in the very state that is asked for: all of the group
leaves the first state alone.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from agewalk.checker.automata.unfolding import CHOICE
from agewalk.checker.reduction.canonical_numba import image
from agewalk.checker.reduction.symmetry import Symmetry
from agewalk.checker.search.bfs import Graph
from agewalk.checker.search.bfs_numba import SuccessorBuffer, successors


class _Change(NamedTuple):
    """An element of the group: page i takes the part of pages[i], thread t of threads[t]."""

    pages: tuple[int, ...]
    threads: tuple[int, ...]

    def after(self, first: _Change) -> _Change:
        """First the other, then this."""
        return _Change(tuple(self.pages[i] for i in first.pages), tuple(self.threads[t] for t in first.threads))

    def undone(self) -> _Change:
        """The inverse."""
        return _Change(*(tuple(row.index(i) for i in range(len(row))) for row in self))


def _change(symmetry: Symmetry, p: int) -> _Change:
    pages = tuple(range(symmetry.exchange.n if symmetry.exchange else 0))
    if p < 0:
        return _Change(pages, tuple(range(len(symmetry.automata.threads))))
    s, threads = symmetry.elements[p]
    return _Change(symmetry.orders[s] if s >= 0 else pages, threads)


def real_moves(graph: Graph, state: int, element: int = -1) -> list[tuple[int, int]]:
    """(thread, choice) of each step of a run that ends in what group element `element` (-1: none) makes of a found state."""
    source = graph.source
    symmetry = source.symmetry
    if symmetry is None or not source.elements:
        return graph.path(state)
    chain = [state]
    while chain[-1]:
        chain.append(int(graph.parents[chain[-1]]))
    chain.reverse()
    now = _change(symmetry, -1)
    taken: list[tuple[_Change, int, int, Any]] = []
    for before, behind in itertools.pairwise(chain):
        move = int(graph.moves[behind])
        t, choice = move >> 4, move & 15
        node = int(graph.layout.column(graph.states[before : before + 1], t)[0]) + int(source.tables.offset[t])
        taken.append((now, t, choice, symmetry.automata.nodes[node]))
        now = now.after(_change(symmetry, _element_of(graph, before, move, behind)).undone())
    last = _change(symmetry, element).after(now.undone())
    moves = []
    for change, t, choice, node in taken:
        real = last.after(change)
        asked = node.kind == CHOICE and symmetry.names_page(node)
        moves.append((real.threads[t], real.pages[choice] if asked else choice))
    return moves


def _element_of(graph: Graph, before: int, move: int, behind: int) -> int:
    """The element that makes the kept state of what a move led to."""
    model, words = graph.source.model(graph.layout), graph.layout.words
    fan = model.fan
    batch = SuccessorBuffer(
        np.empty((fan, words), np.uint64), np.empty(fan, np.uint8), np.empty(fan, np.int64), np.empty(fan, np.uint64)
    )
    _, made = successors(
        model, graph.states, graph.flags, before, before + 1, move >> 4, False, batch, 0, np.empty((1, 3), np.int64),
        np.zeros(8, np.int64),
    )  # fmt: skip
    found = next(batch.rows[i] for i in range(made) if batch.moves[i] == move)
    kept = graph.states[behind]
    if np.array_equal(found, kept):
        return -1
    out = np.empty(words, np.uint64)
    for p in range(len(graph.source.elements)):
        image(found, words, model.fields, model.nodes.offset, model.group, model.nodes.memory, p, out)
        if np.array_equal(out, kept):
            return p
    raise AssertionError("a kept state is an image of the state that was found")
