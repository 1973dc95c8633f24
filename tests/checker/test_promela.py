"""SPIN, asked about the same systems: verdict and number of states."""

from __future__ import annotations

import shutil

import pytest
from tests.checker import toys
from tests.checker.counts import SPIN
from tests.checker.faults import kvm
from tests.checker.faults.base import Fault

from agewalk.checker.automata.store_buffers import with_memory_model
from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.catalog import get_system
from agewalk.checker.promela import promela, run_spin
from agewalk.checker.search.bfs import Search
from agewalk.checker.search.bfs_numba import F_DEADLOCK
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.system import System
from agewalk.core.errors import UsageError

needs_spin = pytest.mark.skipif(
    shutil.which("spin") is None or shutil.which("gcc") is None,
    reason="spin or gcc is missing: apt-get install spin gcc",
)

HOLDING = [
    toys.lost_update(2),
    toys.lost_update(3, atomic=True),
    toys.peterson(2),
    toys.rcu("call_rcu"),
    toys.rcu("synchronize"),
    toys.allocator(reuse=True),
    with_memory_model(toys.message_passing(), "tso"),
]


def minimal_of(system: System) -> Minimal:
    automata = Automata(system)
    Search(OnTheFly(automata)).run()
    return Minimal(automata)


def agree(system: System) -> None:
    source = minimal_of(system)
    graph = Search(source).run()
    found = run_spin(promela(source), optimise=0)
    assert not graph.errors()
    assert found.errors == len(graph.flagged(F_DEADLOCK)) == 0
    assert found.states == graph.count
    assert found.transitions == graph.transitions + 1  # SPIN counts the step into the first state


@needs_spin
@pytest.mark.parametrize("system", HOLDING, ids=lambda s: s.name)
def test_toys(system: System) -> None:
    agree(system)


@needs_spin
@pytest.mark.parametrize("name", SPIN)
def test_shipped(name: str) -> None:
    agree(get_system(name))


@needs_spin
@pytest.mark.parametrize(
    "fault", [f for f in kvm.FAULTS if "freed w" in f.name or "opposite" in f.name], ids=lambda f: f.name
)
def test_faults_are_violations_for_spin_too(fault: Fault) -> None:
    """Safety alone; what SPIN calls an assertion or an invalid end state."""
    with fault.seeded() as system:
        source = minimal_of(system)
    graph = Search(source).run()
    spin = run_spin(promela(source), optimise=0)
    assert bool(spin.errors) == bool(graph.errors() or len(graph.flagged(F_DEADLOCK)))


@needs_spin
def test_a_deadlock_and_a_failed_assertion() -> None:
    assert run_spin(promela(minimal_of(toys.lock_order(same=False))), optimise=0).errors == 1
    assert run_spin(promela(minimal_of(toys.peterson(wrong_order=True))), optimise=0).errors > 0


@needs_spin
def test_spin_goes_on_behind_a_warning_too() -> None:
    """Its processes take the same steps behind `assert(false)`, so the counts are the same."""
    for system in (toys.warns_then_loses(), toys.peterson(wrong_order=True), get_system("subscribers/v5/tdp")):
        source = minimal_of(system)
        graph = Search(source).run()
        found = run_spin(promela(source), optimise=0)
        assert graph.errors()
        assert found.errors
        assert (found.states, found.transitions) == (graph.count, graph.transitions + 1)


def test_every_line_names_its_function() -> None:
    text = promela(minimal_of(toys.rcu("call_rcu")))
    assert "reader(): RcuReadLock" in text
    assert "/* o.pointer: victim; None */" in text


def test_shared_cpus_have_no_promela() -> None:
    system = kvm.on_one_cpu(toys.lock_order(same=True))
    with pytest.raises(UsageError, match="pins threads to CPUs"):
        promela(minimal_of(system))
