"""Verdicts, counts and paths on systems whose answers are known."""

from __future__ import annotations

import gc
import itertools

import pytest
from tests.checker import toys

from agewalk.checker.automata.store_buffers import MODELS, with_memory_model
from agewalk.checker.explore import check, reduced_graph
from agewalk.checker.search.bfs import Bounds
from agewalk.checker.system import (
    NO_DEADLOCK,
    NO_USE_AFTER_FREE,
    NO_WARNING,
    TERMINATES,
    Result,
    System,
    Thread,
    always,
    sometimes,
)
from agewalk.core.cells import Cell, Object
from agewalk.core.effects import RELEASE, FetchAdd, Load, Step, Store, Work
from agewalk.core.errors import UsageError


def broken(system: System, **options: bool) -> list[str]:
    return [v.name for v in check(system, **options).verdicts if not v.holds]  # type: ignore[arg-type]


def test_textbook_verdicts() -> None:
    assert broken(toys.lost_update()) == ["nothing is lost"]
    assert broken(toys.lost_update(atomic=True)) == []
    assert broken(toys.peterson()) == []
    assert broken(toys.peterson(wrong_order=True)) == [NO_WARNING]
    assert broken(toys.lock_order(same=True)) == []
    assert broken(toys.lock_order(same=False)) == [NO_DEADLOCK]
    assert broken(toys.rcu("call_rcu")) == []
    assert broken(toys.rcu("synchronize")) == []
    assert broken(toys.rcu("at once")) == [NO_USE_AFTER_FREE]


def test_a_broken_rule_hides_no_other() -> None:
    """Behind a Warn the search goes on: the monitor's violation after 1 step, the other at the end, after 3."""
    outcome = check(toys.warns_then_loses())
    assert [(v.name, v.length) for v in outcome.verdicts if not v.holds] == [("told first", 1), ("never 1", 3)]
    assert outcome.states == 8  # by hand: 3 places of one thread, 2 of the other, and what it read
    assert outcome.path is not None
    assert outcome.path.outcome == "told first"
    for way in ({"reduce": True}, {"symmetric": True}):
        assert broken(toys.warns_then_loses(), **way) == ["told first", "never 1"]


def test_what_lies_behind_a_broken_rule_is_not_said_to_hold() -> None:
    """Memory is used after it was freed: no step leads on, and what was not found is undecided."""
    system = toys.rcu("at once")
    outcome = check(system)
    assert outcome.verdict == outcome.verdict_on(NO_USE_AFTER_FREE).verdict == "violated"
    for v in outcome.verdicts:
        if v.name != NO_USE_AFTER_FREE and v.state is None:
            assert (v.verdict, v.why) == ("bounded", f"undecided behind a broken rule: {NO_USE_AFTER_FREE}")
    assert [v.name for v in outcome.verdicts if v.verdict == "holds"] == ["a reader finds it"]


def test_a_witness_decides_wherever_the_search_ends() -> None:
    cell = Cell(Object("o"), "c", 0)

    def run() -> Step[None]:
        for i in range(1, 100):
            yield Store(cell, i)

    system = System(
        "w", (Thread("t", run),), (sometimes("seen", lambda v: v == 1, cell), sometimes("no", lambda v: v == -1, cell))
    )
    outcome = check(system, Bounds(states=10), stop_at_violation=True)
    assert [outcome.verdict_on(n).verdict for n in ("seen", "no")] == ["holds", "bounded"]
    assert outcome.verdict == "bounded"


def test_nothing_is_collected_while_threads_unfold() -> None:
    seen = []

    def run() -> Step[None]:
        seen.append(gc.isenabled())
        yield FetchAdd(Cell(Object("o"), "c", 0), 1)
        seen.append(gc.isenabled())
        raise KeyError("the model fell over")

    assert check(System("g", (Thread("t", run),))).verdict == "violated"
    assert not seen[-1]
    assert gc.isenabled()


def test_liveness() -> None:
    assert broken(toys.retry(bounded=True)) == []
    assert broken(toys.retry(bounded=False)) == ["the clearer ends", TERMINATES]
    assert broken(toys.queued_lock()) == []
    outcome = check(toys.retry(bounded=False))
    assert outcome.path is not None
    assert outcome.path.loop is not None
    assert {s.name for s in outcome.path.steps[outcome.path.loop - 1 :]} == {"clearer", "writer"}


def test_litmus_tests() -> None:
    """SB fails from TSO on, MP only where stores overtake, and not behind a release (Sewell et al., x86-TSO, 2010)."""
    assert [check(with_memory_model(toys.store_buffering(), m)).verdict for m in MODELS] == [
        "holds",
        "violated",
        "violated",
    ]
    assert [check(with_memory_model(toys.message_passing(), m)).verdict for m in MODELS] == [
        "holds",
        "holds",
        "violated",
    ]
    assert check(with_memory_model(toys.message_passing(RELEASE), "weak")).verdict == "holds"
    with pytest.raises(UsageError, match="no memory model"):
        with_memory_model(toys.store_buffering(), "arm")


def test_states_counted_by_hand() -> None:
    """n threads of k independent steps: (k + 1) ** n states, and with identical threads multisets of them."""

    def grid(n: int, k: int) -> System:
        counters = [Cell(Object(f"o{i}"), "c", 0) for i in range(n)]

        def run(i: int) -> Step[None]:
            for _ in range(k):
                yield FetchAdd(counters[i], 1)

        return System("grid", tuple(Thread(f"t{i}", lambda i=i: run(i)) for i in range(n)))  # type: ignore[misc]

    for n, k in itertools.product((1, 2, 3), (1, 4)):
        outcome = check(grid(n, k))
        assert outcome.states == (k + 1) ** n
        assert outcome.transitions == n * k * (k + 1) ** (n - 1)
        assert outcome.depth == n * k + 1
    assert reduced_graph(grid(3, 4))[0].count == 13  # one order is enough: 12 steps in a row


def test_pinned_counts_with_and_without_reduction() -> None:
    """Of two and three lost updates: 13 and 84 by SPIN 6.5.2 (tests/checker/test_promela.py asks it again)."""
    for n, plain, symmetric in ((2, 13, 8), (3, 84, 22)):
        assert check(toys.lost_update(n)).states == plain
        assert check(toys.lost_update(n), symmetric=True).states == symmetric
    assert check(toys.peterson()).states == 58
    assert check(toys.peterson(), reduce=True).states == 46


@pytest.mark.parametrize("free", ["call_rcu", "synchronize", "at once"])
def test_reduction_and_symmetry_keep_verdicts(free: str) -> None:
    full = check(toys.rcu(free))
    graph, automata = reduced_graph(toys.rcu(free))
    assert graph.count <= full.states
    found = {automata.nodes[n].property for n in graph.errors()}
    assert found == ({NO_USE_AFTER_FREE} if full.verdict == "violated" else set())
    assert check(toys.rcu(free), symmetric=True).states < full.states


def test_shortest_path_reads_well() -> None:
    outcome = check(toys.rcu("at once"))
    assert outcome.path is not None
    assert len(outcome.path.steps) == outcome.verdict_on(NO_USE_AFTER_FREE).length == 5
    last = outcome.path.steps[-1]
    assert (last.function, last.effect, last.cell) == ("reader", "Load", "victim.data")
    assert any(s.changed for s in outcome.path.steps)


def test_bounded_is_said() -> None:
    outcome = check(toys.peterson(50), Bounds(states=100))
    assert outcome.verdict == "bounded"
    assert outcome.bound == "100 states"
    assert {v.verdict for v in outcome.verdicts} == {"bounded"}
    assert not outcome.graph.complete


def test_a_vacuous_sometimes_is_a_violation() -> None:
    cell = Cell(Object("o"), "c", 0)

    def run() -> Step[None]:
        yield Store(cell, 1)

    system = System(
        "v", (Thread("t", run),), (sometimes("two", lambda v: v == 2, cell), always("small", lambda v: v < 2, cell))
    )
    outcome = check(system)
    assert (outcome.verdict_on("two").holds, outcome.verdict_on("small").holds) == (False, True)


def test_allocator() -> None:
    assert broken(toys.allocator(reuse=True)) == []
    assert broken(toys.allocator(reuse=False)) == ["both use the same memory"]


def test_silent_effects_cost_no_states() -> None:
    cell = Cell(Object("o"), "c", 0)

    def run() -> Step[int]:
        yield Work("something", 3)
        found: int = yield Load(cell)
        yield Work("more")
        return found

    assert check(System("s", (Thread("t", run),))).states == 2


def test_bad_descriptions() -> None:
    with pytest.raises(UsageError, match="no threads"):
        check(System("empty", ()))
    with pytest.raises(UsageError, match="result of 'nobody'"):
        check(System("x", toys.lost_update().threads, (sometimes("s", bool, Result("nobody")),)))
