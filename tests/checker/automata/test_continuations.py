"""Continuations: what makes two suspended generators the same, and that it changes no verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.checker import toys

from agewalk.checker.automata.continuations import Continuation
from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.search.bfs import Search
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.system import System
from agewalk.core.cells import Cell, Object
from agewalk.core.effects import Load, Step, Store

CELL = Cell(Object("o"), "c", 0)


def key(make: Callable[[], Any], *answers: Any) -> Any:
    generator = make()
    effect = generator.send(None)
    for answer in answers:
        effect = generator.send(answer)
    return Continuation(lambda item: item.name, lambda _: False).of(generator, effect)


def remembers() -> Step[int]:
    first = yield Load(CELL)
    yield Load(CELL)
    return int(first)


def on_the_stack() -> Step[int]:
    total: int = (yield Load(CELL)) + (yield Load(CELL))
    return total


def in_the_effect() -> Step[None]:
    yield Store(CELL, (yield Load(CELL)) + 1)
    yield Load(CELL)


def in_a_loop() -> Step[None]:
    for _ in range(3):
        yield Load(CELL)


def in_a_callee() -> Step[None]:
    yield from remembers()


def in_a_list() -> Step[None]:
    found: list[int] = []
    for _ in range(3):
        found.append((yield Load(CELL)))


@pytest.mark.parametrize("make", [remembers, on_the_stack, in_the_effect, in_a_callee, in_a_list])
def test_what_was_sent_counts_wherever_it_is_kept(make: Callable[[], Any]) -> None:
    assert key(make, 1) == key(make, 1)
    assert key(make, 1) != key(make, 2)


def test_rounds_differ_and_what_is_forgotten_does_not() -> None:
    assert key(in_a_loop) != key(in_a_loop, 0)
    assert key(in_a_loop, 1) == key(in_a_loop, 2)


@pytest.mark.parametrize(
    "system",
    [
        toys.lost_update(3),
        toys.rcu("call_rcu"),
        toys.rcu("at once"),
        toys.lock_order(same=False),
        toys.allocator(reuse=True),
    ],
    ids=lambda s: s.name,
)
def test_same_minimal_states_without_frames(system: System) -> None:
    """Nodes told apart by frames, or by the answers that led there: the minimal automata have the same states."""
    counts = []
    for by_frames in (True, False):
        automata = Automata(system, by_frames=by_frames)
        graph = Search(OnTheFly(automata)).run()
        minimal = Search(Minimal(automata)).run()
        counts.append((minimal.count, minimal.transitions, {automata.nodes[n].property for n in graph.errors()}))
    assert counts[0] == counts[1]
