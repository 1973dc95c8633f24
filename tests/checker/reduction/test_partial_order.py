"""Partial order, symmetry, the fast search: fewer states or faster, never another verdict."""

from __future__ import annotations

import pytest
from tests.checker import toys
from tests.checker.both_ways import WAYS, differences
from tests.checker.faults import kvm, mm
from tests.checker.faults.base import Fault

from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.catalog import get_system
from agewalk.checker.explore import check, reduced_graph
from agewalk.checker.search.bfs import Bounds, Graph, Search
from agewalk.checker.search.bfs_numba import F_DEADLOCK, F_TERMINAL
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.search.simulate import Simulator
from agewalk.checker.system import TERMINATES, System
from agewalk.checker.systems.pages import crowd
from agewalk.checker.verdicts import BOUNDED
from agewalk.model.protocols.registry import get_protocol

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
    return Search(OnTheFly(automata)).run(), automata


@pytest.mark.parametrize(
    "system",
    [toys.lost_update(3), toys.rcu("at once"), toys.lock_order(same=False), *map(get_system, NAMES)],
    ids=lambda s: s.name,
)
def test_reduction_keeps_every_end(system: System) -> None:
    graph, automata = full(system)
    small, unfolded = reduced_graph(system)
    assert ends(small, unfolded) == ends(graph, automata)
    assert small.count <= graph.count


def test_reduction_reduces() -> None:
    for name in ("age-vs-zap/v7/nested", "walk-vs-register/linux-6.18/tdp"):
        system = get_system(name)
        assert reduced_graph(system)[0].count < 0.8 * full(system)[0].count


@pytest.mark.parametrize("fault", SEEDED, ids=lambda f: f.name)
def test_reduction_finds_the_faults_too(fault: Fault) -> None:
    with fault.seeded() as system:
        graph, automata = full(system)
        small, unfolded = reduced_graph(system)
    names = [{a.nodes[n].property for n in g.errors()} for g, a in ((graph, automata), (small, unfolded))]
    assert names[0] == names[1]
    assert bool(len(graph.flagged(F_DEADLOCK))) == bool(len(small.flagged(F_DEADLOCK)))


def test_symmetry_counts_orbits() -> None:
    """Two identical threads: every state that is not its own symmetry image has one partner."""
    automata = Automata(get_system("two-agers/linux-7.3/tdp"))
    Search(OnTheFly(automata)).run()
    plain = Search(Minimal(automata)).run()
    folded = Search(Minimal(automata, symmetric=True)).run()
    a, b = plain.column(0), plain.column(1)
    assert folded.count < plain.count <= 2 * folded.count
    assert folded.depth == plain.depth
    assert plain.count >= 2 * folded.count - int((a == b).sum())  # at most those are their own symmetry images


# --- the reduced search as the one that decides -----------------------------------------------------------------------------

BOTH_WAYS = [
    *NAMES,
    "questions-vs-guest/v5/nested",
    "age-vs-fault/linux-6.9/tdp-noad",
    "age-vs-memslot/v7/legacy",
    "age-vs-nested-count/v7/nested-noad",
    "invalidate-vs-fault/linux-6.9/legacy",
    "look-around-decision/christopherson/tdp",
    "look-around-vs-eviction/v7/tdp",
    "agers-of-pages/v7/legacy",
    "fault-of-pages/linux-7.3/nested-noad",
    "neighbours/v5/nested",
]


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_verdicts_are_the_same_both_ways(name: str) -> None:
    """`python -m tests.checker.both_ways` compares all shipped systems."""
    system = get_system(name)
    whole = check(system, minimise=False)
    assert [line for way in WAYS for line in differences(system, whole, **way)] == []


@pytest.mark.parametrize("fault", [f for f in SEEDED if "rmap lock" not in f.name][::2], ids=lambda f: f.name)
def test_verdicts_on_faults_are_the_same_both_ways(fault: Fault) -> None:
    with fault.seeded() as system:
        whole = check(system, minimise=False)
        found = [line for way in WAYS for line in differences(system, whole, **way)]
    assert found == []


def test_what_reduction_leaves_open_is_said() -> None:
    outcome = check(toys.retry(bounded=False), reduce=True)
    assert {v.name for v in outcome.verdicts if v.verdict == BOUNDED} == {"the clearer ends", TERMINATES}
    assert (outcome.verdict, outcome.bound) == (BOUNDED, "")
    assert check(toys.retry(bounded=True), reduce=True).verdict_on("the clearer ends").verdict == BOUNDED
    assert check(toys.lock_order(same=True), reduce=True).verdict == "holds"  # nobody goes round: every run ends


def test_a_larger_system_within_a_bound() -> None:
    """Three reclaims, two pages: reduced, all of it is seen in fewer states than the bound that ends an unreduced search."""
    system = crowd(get_protocol("v7"), "tdp", agers=3)
    bounds = Bounds(states=100_000)
    assert check(system, bounds, minimise=False).verdict == BOUNDED
    outcome = check(system, bounds, reduce=True, symmetric=True)
    assert (outcome.verdict, outcome.bound) == ("holds", "")


def test_bounds_end_a_reduced_search_too() -> None:
    """Of its rounds, each of which begins anew: together they take no longer than they may."""
    system = crowd(get_protocol("linux-7.3"), "legacy", agers=3)
    for bounds, bound in (
        (Bounds(states=300), "300 states"),
        (Bounds(seconds=0.0), "0 s"),
        (Bounds(memory=1), "1 bytes"),
    ):
        outcome = check(system, bounds, reduce=True, symmetric=True)
        assert (outcome.verdict, outcome.bound) == (BOUNDED, bound)


def test_threads_that_share_a_cpu_are_not_exchanged() -> None:
    outcome = check(kvm.on_one_cpu(toys.lock_order(same=True)), symmetric=True)
    assert outcome.note == "nothing was exchanged: threads share a CPU"
