"""The classic lists in the engine against the direct reading (study/two_list.py): equal after every event."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.conformance import features_of
from tests.engine.test_huge import huge_story
from tests.engine.two_lists import ListTwin

from agewalk.core.errors import ModelError, UsageError
from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.state.config import Host, Space
from agewalk.model.profiles import profile
from agewalk.model.protocols.tables.table import ProtocolTable

pytestmark = pytest.mark.slow

MMUS = ("tdp", "legacy", "shadow", "tdp-noad", "legacy-noad", "shadow-noad")
OWN = {"6.1": "linux-6.9", "6.9": "linux-6.9", "6.12": "linux-6.13", "6.18": "linux-6.18", "7.3": "linux-7.3"}
Events = list[tuple[Any, ...]]


def tell(kernel: str, spaces: list[tuple[int, str]], memory: int, events: Events) -> ListTwin:
    """Let it happen twice, and compare after each event."""
    twin = ListTwin(kernel, OWN[kernel], spaces, memory)
    for number, (what, *args) in enumerate(events):
        if what == "touch":
            twin.touch(args[0])
        elif not spaces[0][1].startswith("process"):
            twin.nested(0, alive=args[0])
        twin.check(f"event {number} ({what})")
    return twin


def story_of(seed: int, *, process: bool) -> Events:
    """Populate more than memory holds, then a hot set, sweeps and returns, so that lists fill, swap and refault."""
    events: Events = []
    for turn in range(14):
        first = (turn * 37 + seed) % 90
        events.append(("touch", [(0, page, turn % 3 != 1, 0) for page in range(first, first + 40)]))
        events.append(("touch", [(0, (7 * i + turn // 4) % 40, i % 4 == 0, 0) for i in range(30)]))
        events.append(("touch", [(0, (11 * i + seed) % 130, i % 5 == 0, 2 * (i % 9 == 0)) for i in range(45)]))
        if process:
            events.append(("touch", [(1, (5 * i + turn) % 70, i % 2 == 0, 2) for i in range(20)]))
    return events


@st.composite
def stories(draw: st.DrawFn) -> tuple[str, list[tuple[int, str]], int, Events]:
    """A host and what happens on it."""
    mmu = draw(st.sampled_from(MMUS))
    pages, others = draw(st.integers(80, 150)), draw(st.sampled_from((0, 60)))
    row = st.tuples(st.just(0), st.integers(0, pages - 1), st.booleans(), st.sampled_from((0, 0, 0, 1, 2)))
    if others:
        row |= st.tuples(st.just(1), st.integers(0, others - 1), st.booleans(), st.just(2))
    touch = st.tuples(st.just("touch"), st.lists(row, min_size=1, max_size=40))
    sweep = st.integers(0, pages - 1).map(
        lambda first: ("touch", [(0, page, True, 0) for page in range(first, min(pages, first + 64))])
    )
    event = st.one_of(touch, touch, sweep, sweep, st.tuples(st.just("nested"), st.booleans()))
    spaces = [(pages, mmu)] + ([(others, "process")] if others else [])
    memory = (pages + others) * draw(st.sampled_from((6, 8))) // 10  # a CPU keeps up to 31 from reclaim
    return draw(st.sampled_from(tuple(OWN))), spaces, memory, draw(st.lists(event, min_size=4, max_size=16))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(stories())
def test_equal_after_every_event(story: tuple[str, list[tuple[int, str]], int, Events]) -> None:
    tell(*story)


@pytest.mark.parametrize("kernel", OWN)
@pytest.mark.parametrize("mmu", MMUS)
def test_every_kernel_and_mmu(kernel: str, mmu: str) -> None:
    twin = tell(kernel, [(130, mmu), (70, "process")], 110, story_of(3, process=True))
    result = twin.engine.result()
    assert result.evictions > 300
    assert result.refaults > 100


def test_active_pages_are_spared_and_then_opened() -> None:
    """Everything is used twice, so nothing is left to take but what is active; a lone sweep then passes it by."""
    twice = [("touch", [(0, page, True, 0) for page in range(300)])] * 2
    sweeps = [("touch", [(0, 300 + page, True, 0) for page in range(first, first + 80)]) for first in range(0, 400, 80)]
    twin = tell("6.12", [(800, "tdp")], 420, [*twice, *sweeps, *twice, *sweeps])
    lists = twin.ours()
    assert lists["activations"][0] > 0
    assert lists["cost"] > 0


@pytest.mark.parametrize("mmu", ["tdp-huge", "shadow-huge", "tdp-noad-huge", "process-huge"])
@pytest.mark.parametrize("kernel", ["6.1", "6.18"])
def test_huge_folios_count_512(kernel: str, mmu: str) -> None:
    """2 MiB folios beside small ones, in too little memory."""
    events: Events = [event for event in huge_story(2, 1300, mmu, turns=20) if event[0] in ("touch", "nested")]
    sweeps: Events = [
        ("touch", [(0, page, True, 2 * mmu.startswith("process")) for page in range(first, min(first + 200, 1300))])
        for first in range(0, 1300, 200)
    ]
    twin = tell(kernel, [(1300, mmu)], 1100, [*events, *sweeps, *events])
    assert twin.engine.result().evictions > 100


def test_it_takes_no_commands() -> None:
    host = Host([Space("vm", 512)], 512, features_of(profile("6.12")), policy="two-list", age_every_ns=5)
    engine = Engine(host, ProtocolTable("none", (), ()))
    columns = np.zeros(1, np.uint16), np.zeros(1, np.uint32), np.ones(1, np.bool_), np.zeros(1, np.uint8)
    engine.feed(HostAccesses(np.full(1, 1000, np.int64), *columns))  # the clock of proactive aging is off, too
    assert engine.result().counts["agings"] == 0
    commands: tuple[Callable[[], object], ...] = (engine.age, lambda: engine.reclaim(1), lambda: engine.evict(0, 1))
    for command in commands:
        with pytest.raises(UsageError, match="the classic lists take no commands"):
            command()
    with pytest.raises(UsageError, match="there is no policy 'arc'"):
        Engine(Host([Space("vm", 1)], 1, {}, policy="arc"), ProtocolTable("none", (), ()))


def test_equal_without_the_compiler() -> None:
    """The same kernels as plain Python, and the seeded faults, in processes of their own."""
    root = Path(__file__).parents[2]
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    code = (
        "from tests.engine.test_two_list import story_of, tell\n"
        "tell('6.18', [(130, 'tdp'), (70, 'process')], 110, story_of(5, process=True))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=root, timeout=300)


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_a_host_smaller_than_its_batches_runs_out_of_memory(kernel: str) -> None:
    """All of its pages wait in the batch of new ones, on no list that reclaim could shrink."""
    frames = profile(kernel).mm.folio_batch_size - 1
    twin = ListTwin(kernel, OWN[kernel], [(60, "tdp")], frames)
    rows = [(0, page, True, 0) for page in range(60)]
    with pytest.raises(ModelError, match="out of memory") as theirs:
        twin.touch(rows)
    host = Host([Space("vm", 60)], frames, features_of(profile(kernel)), policy="two-list",
                folio_batch_size=profile(kernel).mm.folio_batch_size, tick_ns=1)  # fmt: skip
    engine = Engine(host, ProtocolTable("none", (), ()), assess=False)
    n = len(rows)
    with pytest.raises(ModelError, match="out of memory") as ours:
        engine.feed(HostAccesses(np.zeros(n, np.int64), np.zeros(n, np.uint16), np.arange(n, dtype=np.uint32),
                          np.ones(n, np.bool_), np.zeros(n, np.uint8)))  # fmt: skip
    assert str(theirs.value).split(",")[0] == str(ours.value).split(",")[0]
