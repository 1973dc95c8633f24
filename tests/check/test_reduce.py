"""Partial order, symmetry, the fast search: fewer states or faster, never another verdict."""

from __future__ import annotations

import numpy as np
import pytest
from tests.check import toys
from tests.check.faults import kvm, mm
from tests.check.faults.base import Fault

from agewalk.check.automaton import Automata
from agewalk.check.catalog import get_system
from agewalk.check.explore import reduced_graph
from agewalk.check.fast import Fast, fits
from agewalk.check.kernel import F_DEADLOCK, F_TERMINAL
from agewalk.check.learn import Learner
from agewalk.check.minimal import Minimal
from agewalk.check.search import Graph, Search
from agewalk.check.simulate import Simulator
from agewalk.check.system import System

NAMES = [
    "age-vs-guest/linux-7.3/tdp",
    "age-vs-zap/v7/nested",
    "two-agers/linux-7.3/tdp",
    "walk-vs-register/linux-6.18/tdp",
    "subscribers/v5/tdp",
    "update-gen-vs-isolation/linux-7.3/tdp",
]
SEEDED = [f for f in (*kvm.FAULTS, *mm.FAULTS) if not f.adjust and "storm" not in f.system][::3]


def ends(graph: Graph, automata: Automata) -> tuple[set[str], bool, set[object]]:
    """Broken rules, whether there is a deadlock, and what can be seen of all ends."""
    simulator = Simulator(automata)
    outcomes: set[object] = set()
    for state in graph.flagged(F_TERMINAL):
        at = simulator.start()
        for move in graph.path(int(state)):
            after = simulator.take(at, *move)
            assert after is not None
            at = after
        outcomes.add(simulator.outcome(at))
    return {automata.nodes[n].property for n in graph.errors()}, bool(len(graph.flagged(F_DEADLOCK))), outcomes


def full(system: System) -> tuple[Graph, Automata]:
    automata = Automata(system)
    return Search(Learner(automata)).run(), automata


@pytest.mark.parametrize(
    "system",
    [toys.lost_update(3), toys.rcu("at once"), toys.lock_order(same=False), *map(get_system, NAMES)],
    ids=lambda s: s.name,
)
def test_reduction_keeps_every_end(system: System) -> None:
    graph, automata = full(system)
    small, learnt = reduced_graph(system)
    assert ends(small, learnt) == ends(graph, automata)
    assert small.count <= graph.count


def test_reduction_reduces() -> None:
    for name in ("age-vs-zap/v7/nested", "walk-vs-register/linux-6.18/tdp"):
        system = get_system(name)
        assert reduced_graph(system)[0].count < 0.8 * full(system)[0].count


@pytest.mark.parametrize("fault", SEEDED, ids=lambda f: f.name)
def test_reduction_finds_the_faults_too(fault: Fault) -> None:
    with fault.seeded() as system:
        graph, automata = full(system)
        small, learnt = reduced_graph(system)
    names = [{a.nodes[n].property for n in g.errors()} for g, a in ((graph, automata), (small, learnt))]
    assert names[0] == names[1]
    assert bool(len(graph.flagged(F_DEADLOCK))) == bool(len(small.flagged(F_DEADLOCK)))


def test_symmetry_counts_orbits() -> None:
    """Two identical threads: every state that is not its own mirror image has one partner."""
    automata = Automata(get_system("two-agers/linux-7.3/tdp"))
    Search(Learner(automata)).run()
    plain = Search(Minimal(automata)).run()
    folded = Search(Minimal(automata, symmetric=True)).run()
    a, b = plain.column(0), plain.column(1)
    assert folded.count < plain.count <= 2 * folded.count
    assert folded.depth == plain.depth
    assert plain.count >= 2 * folded.count - int((a == b).sum())  # at most those are their own mirror images


@pytest.mark.parametrize("name", [*NAMES, "age-vs-nested-end/v7/nested", "age-vs-fault/linux-7.3/tdp-noad"])
def test_the_fast_search_finds_the_same_states_in_the_same_order(name: str) -> None:
    automata = Automata(get_system(name))
    Search(Learner(automata)).run()
    source = Minimal(automata)
    assert fits(source)
    slow, fast = Search(source).run(), Fast(source).run()
    n, words = slow.count, slow.layout.words
    assert (n, slow.transitions, slow.depth, slow.levels) == (fast.count, fast.transitions, fast.depth, fast.levels)
    for mine, theirs in (
        (slow.states[:n], fast.states[:n, :words]), (slow.parents[:n], fast.parents[:n]), (slow.flags[:n], fast.flags[:n]),
    ):  # fmt: skip
        assert np.array_equal(mine, theirs)
    assert slow.errors() == fast.errors()
