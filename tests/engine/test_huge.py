"""2 MiB folios: the engine against the direct reading, and what one touched page of 512 means, by hand."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.conformance import Twin, features_of, table_of
from tests.engine.test_conformance import KERNELS, PROTOCOLS, tell

from agewalk.core.errors import UsageError
from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.state import layout as at
from agewalk.engine.state.config import Host, Space
from agewalk.engine.state.huge import folio_numbers, is_huge
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol
from agewalk.model.protocols.tables.table import ProtocolTable

pytestmark = pytest.mark.slow

MMUS = (
    "tdp-huge", "legacy-huge", "shadow-huge", "tdp-noad-huge", "legacy-noad-huge", "shadow-noad-huge", "process-huge",
)  # fmt: skip
Event = tuple[Any, ...]


def rows_of(dice: random.Random, pages: int, mmu: str) -> list[tuple[int, int, bool, int]]:
    """Accesses to a cluster, from all contexts that there are."""
    contexts = (2,) if mmu.startswith("process") else (0, 0, 0, 1, 2)
    base, width, writes = dice.randrange(pages), dice.choice((4, 600, pages)), dice.choice((0.1, 0.5, 0.9))
    return [
        (0, (base + dice.randrange(width)) % pages, dice.random() < writes, dice.choice(contexts))
        for _ in range(dice.randrange(1, 40))
    ]


def huge_story(seed: int, pages: int, mmu: str, turns: int = 14) -> list[Event]:
    """By the dice: reads that find the huge zero page, writes, aging by force and not, and reclaim enough to take folios."""
    dice = random.Random(seed)
    events: list[Event] = []
    for turn in range(turns):
        events.append(("touch", rows_of(dice, pages, mmu)))
        events.append(("age", dice.random() < 0.6))
        if turn % 3 == 2:
            reclaim = ("reclaim", dice.choice((40, 600))), ("evict", dice.randrange(4), dice.choice((40, 600)))
            events.append(dice.choice(reclaim))
        if turn % 4 == 3:
            events.append(("nested", dice.random() < 0.5))
    return events


@st.composite
def stories(draw: st.DrawFn) -> tuple[dict[str, Any], list[Event]]:
    """A host with 2 MiB pages and what happens on it."""
    mmu = draw(st.sampled_from(MMUS))
    pages = draw(st.sampled_from((512, 1024, 1300)))
    beside = draw(st.sampled_from(((), ((60, "process"),))))
    host = {
        "kernel": draw(st.sampled_from(KERNELS)),
        "protocol": draw(st.sampled_from(PROTOCOLS)),
        "spaces": [(pages, mmu), *beside],
        "memory": draw(st.sampled_from((pages * 2, pages * 7 // 10))),
    }
    event = st.one_of(
        st.builds(
            lambda seed: ("touch", rows_of(random.Random(seed), pages, mmu)), st.integers(0, 1000)
        ),
        st.tuples(st.just("age"), st.booleans()),
        st.tuples(st.just("reclaim"), st.sampled_from((1, 40, 600))),
        st.tuples(st.just("evict"), st.integers(0, 3), st.sampled_from((1, 60, 600))),
        st.tuples(st.just("nested"), st.booleans()),
    )  # fmt: skip
    return host, draw(st.lists(event, min_size=4, max_size=12))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(stories())
def test_equal_after_every_event_with_2_mib_pages(story: tuple[dict[str, Any], list[Event]]) -> None:
    tell(*story)


@pytest.mark.parametrize("mmu", MMUS)
@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
def test_every_mmu_with_2_mib_pages(kernel: str, mmu: str) -> None:
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(1100, mmu)], "memory": 1500}
    tell(host, huge_story(len(kernel) + len(mmu), 1100, mmu))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_with_2_mib_pages(protocol: str) -> None:
    kernel = KERNELS[PROTOCOLS.index(protocol) % len(KERNELS)]
    host = {"kernel": kernel, "protocol": protocol, "spaces": [(1100, "tdp-huge")], "memory": 1200}
    tell(host, huge_story(PROTOCOLS.index(protocol), 1100, "tdp-huge", 10))


def test_equal_without_the_compiler_with_2_mib_pages() -> None:
    code = (
        "from tests.engine.test_huge import huge_story, tell\n"
        "for kernel, protocol, mmu in (('6.12', 'linux-6.13', 'tdp-noad-huge'), ('7.3', 'linux-7.3', 'legacy-huge')):\n"
        "    host = {'kernel': kernel, 'protocol': protocol, 'spaces': [(1100, mmu)], 'memory': 1200}\n"
        "    tell(host, huge_story(5, 1100, mmu, 8))\n"
    )
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=Path(__file__).parents[2], timeout=300)


def engine_of(pages: int, memory: int, kernel: str = "6.18", **space: Any) -> Engine:
    known = profile(kernel)
    host = Host(
        [Space("vm", pages, huge=True, **space)], memory, features_of(known), tick_ns=1, cold_after_ns=4, hot_after_ns=4
    )
    return Engine(host, table_of(get_protocol(known.protocol)))


def feed(engine: Engine, now: int, pages: list[int], *, write: bool = True) -> None:
    n = len(pages)
    zeros = np.zeros(n, np.uint16)
    engine.feed(
        HostAccesses(
            np.full(n, now, np.int64), zeros, np.array(pages, np.uint32), np.full(n, write), zeros.astype(np.uint8)
        )
    )


def test_one_page_of_512_makes_all_young_and_the_truth_knows_which() -> None:
    engine = engine_of(1024, 4096)
    feed(engine, 1, [0, 512])
    s = engine.state
    assert s.word[at.HELD] == 1024
    assert engine.result().faults == 2
    for _ in range(3):
        engine.age()
    feed(engine, 9, [600], write=False)
    engine.age()
    engine.age()
    meta = s.folios[folio_numbers(s, 0, 1024), at.META]
    gens = (meta & at.GEN_MASK) >> at.GEN_SHIFT
    assert len(set(gens[:512])) == len(set(gens[512:])) == 1
    assert gens[0] != gens[512]  # only one of the two folios was used
    assert is_huge(s.pmd, 600)
    assert np.flatnonzero(s.used_at[512:1024] == 9).tolist() == [88]
    assert s.used_at[601] == at.NEVER
    assert engine.result().counts["pmds_walked"] == 2 * 5
    assert engine.result().counts["ptes_walked"] == 0
    sample = engine.samples[-1]
    assert sample.pages == 1024  # each page counts, and all but one are idle


def test_a_folio_goes_as_a_whole_and_comes_back_page_by_page() -> None:
    engine = engine_of(512, 4096, kvm=False)
    feed(engine, 1, [3])
    engine.age()
    engine.reclaim(1)
    result = engine.result()
    assert (result.evictions, result.counts["swap_writes"], engine.state.word[at.HELD]) == (512, 512, 0)
    assert not is_huge(engine.state.pmd, 3)
    feed(engine, 2, [3, 4], write=False)
    assert engine.result().refaults == 2
    assert engine.state.word[at.HELD] == 2


def test_2_mib_that_are_not_free_are_not_reclaimed_for() -> None:
    engine = engine_of(1024, 900)
    feed(engine, 1, [0, 512, 513])
    assert engine.state.word[at.HELD] == 514
    assert engine.result().evictions == 0


def test_a_table_that_says_nothing_about_2_mib_is_refused() -> None:
    with pytest.raises(UsageError, match="does not say what it answers about 2 MiB entries"):
        Engine(Host([Space("vm", 512, huge=True)], 512, {}), ProtocolTable("none", (), ()))


def test_two_huge_spaces_beside_each_other_keep_their_bits() -> None:
    twin = Twin("6.18", "linux-6.18", [(700, "tdp-huge"), (1024, "process-huge")], 4000)
    twin.touch([(0, 5, True, 0), (1, 5, True, 2), (1, 700, False, 2), (0, 600, True, 0)])
    twin.check("touched")
    twin.age(force_scan=True)
    twin.touch([(1, 701, True, 2), (0, 6, False, 0)])
    twin.check("touched again")
