"""Random walks and the direct reading reach what the search says can be reached, and nothing else."""

from __future__ import annotations

import pytest
from tests.checker import toys

from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.catalog import get_system
from agewalk.checker.search.bfs import Search
from agewalk.checker.search.bfs_numba import F_DEADLOCK, F_ERROR, F_TERMINAL
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.search.simulate import Simulator, parse_replay
from agewalk.checker.system import System
from agewalk.core.direct import Direct
from agewalk.core.errors import InputError

SYSTEMS = [toys.lost_update(3), toys.rcu("at once"), toys.lock_order(same=False), toys.peterson(2)]
NAMES = [
    "age-vs-guest/linux-7.3/tdp",
    "age-vs-zap/v7/nested",
    "two-agers/houghton/tdp",
    "walk-vs-register/linux-6.18/tdp",
]


def ends(system: System) -> tuple[Simulator, set[object]]:
    """The simulator, and what can be seen of every end that the search found."""
    automata = Automata(system)
    graph = Search(OnTheFly(automata)).run()
    simulator = Simulator(automata)
    outcomes: set[object] = set()
    for state in graph.flagged(F_TERMINAL | F_DEADLOCK | F_ERROR):
        at = simulator.start()
        for move in graph.path(int(state)):
            after = simulator.take(at, *move)
            assert after is not None
            at = after
        outcomes.add(simulator.outcome(at))
    return simulator, outcomes


@pytest.mark.parametrize("system", [*SYSTEMS, *map(get_system, NAMES)], ids=lambda s: s.name)
def test_walks_end_where_the_search_does(system: System) -> None:
    simulator, outcomes = ends(system)
    walked = set()
    for seed in range(400 if system in SYSTEMS else 100):
        moves, state = simulator.walk(seed)
        walked.add(simulator.outcome(state))
        assert simulator.path(moves).replay.startswith(system.name)
    assert walked <= outcomes
    if system in SYSTEMS:
        assert walked == outcomes


@pytest.mark.parametrize("name", NAMES)
def test_the_direct_reading_is_one_of_the_interleavings(name: str) -> None:
    """One thread after the other, to its end, by core's own scheduler: the search knows these results."""
    system = get_system(name)
    _, outcomes = ends(system)
    threads = system.flat()
    results: list[object] = [None] * len(threads)
    world = get_system(name)  # a second world: the direct reading changes cells
    for i, thread in enumerate(world.flat()):
        results[i] = Direct().run(thread.start())
    from agewalk.checker.automata.semantics import show

    expected = tuple(show(r) for r in results)
    assert expected in {tuple(result for _, _, result in outcome[0]) for outcome in outcomes}  # type: ignore[index]


def test_replay_strings() -> None:
    system = toys.lock_order(same=False)
    simulator = Simulator(Automata(system))
    assert parse_replay("a/b:0.1c3.0") == ("a/b", [(0, 0), (1, 3), (0, 0)])
    path = simulator.path(parse_replay("lock-order:0.1")[1])
    assert path.outcome == "deadlock: t0 waits in go() for o.b; t1 waits in go() for o.a"
    assert simulator.path(parse_replay(path.replay)[1]) == path
    for text, message in (("x", "names no system"), ("s:0.x", "no step"), ("s:7", "no thread 7")):
        with pytest.raises(InputError, match=message):
            simulator.path(parse_replay(text)[1])
    with pytest.raises(InputError, match="cannot go on"):
        simulator.path([(0, 0), (1, 0), (0, 0)])
