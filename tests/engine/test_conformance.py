"""The engine against the direct reading: equal after every event, whatever the events and however batches are cut."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.engine.conformance import Twin
from tests.engine.stories import (
    CROWDED,
    beyond_memory,
    chance_of,
    in_turns,
    mixed_of,
    nested_of,
    partly_used,
    pressure_of,
    scattered_of,
    some_of,
    story_of,
    tiers_of,
)

from agewalk.engine.state import layout as at
from agewalk.model.profiles import profile

pytestmark = pytest.mark.slow

MMUS = ("tdp", "legacy", "shadow", "tdp-noad", "legacy-noad", "shadow-noad")
KERNELS = ("6.1", "6.9", "6.12", "6.13", "6.15", "6.18", "7.3")
PROTOCOLS = (
    "linux-6.9", "linux-6.13", "linux-6.15", "linux-6.18", "linux-7.3", "v2", "v3", "v4", "v5", "v6", "v7",
    "houghton", "houghton:must_check=rmaps", "christopherson", "christopherson:variant=repaired",
)  # fmt: skip


@st.composite
def stories(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """A host and what happens on it."""
    mmu = draw(st.sampled_from(MMUS))
    pages, others = draw(st.integers(20, 140)), draw(st.sampled_from((0, 60)))
    spaces = [(pages, mmu)] + ([(others, "process")] if others else [])
    memory = draw(st.sampled_from(((pages + others) * 2, (pages + others) * 7 // 10)))
    host = {
        "kernel": draw(st.sampled_from(KERNELS)),
        "protocol": draw(st.sampled_from(PROTOCOLS)),
        "spaces": spaces,
        "memory": memory,
        "marks": draw(st.sampled_from((None, (memory // 20, memory // 8, memory // 3)))),
    }

    def row() -> st.SearchStrategy[tuple[int, int, bool, int]]:
        guest = st.tuples(st.just(0), st.integers(0, pages - 1), st.booleans(), st.sampled_from((0, 0, 0, 1, 2)))
        process = st.tuples(st.just(1), st.integers(0, max(others - 1, 0)), st.booleans(), st.just(2))
        return st.one_of(guest, guest, process) if others else guest

    touch = st.tuples(st.just("touch"), st.lists(row(), min_size=1, max_size=40))
    event = st.one_of(
        touch,
        touch,
        touch,
        st.tuples(st.just("sweep"), st.integers(0, pages - 1), st.booleans()),
        st.tuples(st.just("age"), st.booleans()),
        st.tuples(st.just("reclaim"), st.integers(1, 70)),
        st.tuples(st.just("evict"), st.integers(0, 3), st.integers(1, 60)),
        st.tuples(st.just("nested"), st.booleans()),
    )
    return host, draw(st.lists(event, min_size=4, max_size=14))


def tell(host: dict[str, Any], events: list[tuple[Any, ...]]) -> None:
    """Let it happen twice, and compare after each event."""
    twin = Twin(**host)
    pages, mmu = host["spaces"][0]
    for number, (what, *args) in enumerate(events):
        if what == "touch":
            twin.touch(args[0])
        elif what == "sweep":
            first, write = args
            twin.touch([(0, page, write, 0) for page in range(first, min(pages, first + 64))])
        elif what == "age":
            twin.age(force_scan=args[0])
        elif what == "reclaim":
            twin.reclaim(args[0])
        elif what == "evict":
            twin.evict(*args)
        elif not mmu.startswith("process"):
            twin.nested(0, alive=args[0])
        twin.check(f"event {number} ({what})")


GONE_AT_ONCE = (  # kswapd takes the page that woke it: it has come all the same
    {"kernel": "6.1", "protocol": "linux-6.9", "spaces": [(23, "tdp")], "memory": 16, "marks": (0, 2, 5)},
    [("sweep", 4, True), ("touch", [(0, 0, False, 0)]), ("age", False), ("sweep", 0, False)],
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(stories())
@example(GONE_AT_ONCE)
def test_equal_after_every_event(story: tuple[dict[str, Any], list[tuple[Any, ...]]]) -> None:
    tell(*story)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("crowd", CROWDED)
def test_kswapd_at_work(kernel: str, crowd: dict[str, Any]) -> None:
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(900, "tdp")], **crowd}
    tell(host, pressure_of(KERNELS.index(kernel) + CROWDED.index(crowd), 900))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_kernel_and_protocol(kernel: str, protocol: str) -> None:
    mmu = MMUS[(KERNELS.index(kernel) + PROTOCOLS.index(protocol)) % len(MMUS)]
    tell({"kernel": kernel, "protocol": protocol, "spaces": [(130, mmu)], "memory": 95}, story_of(3))


@pytest.mark.parametrize("mmu", MMUS)
@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
def test_every_mmu(kernel: str, mmu: str) -> None:
    protocol = {"6.1": "linux-6.9", "6.12": "linux-6.13", "6.18": "linux-6.18", "7.3": "linux-7.3"}[kernel]
    tell({"kernel": kernel, "protocol": protocol, "spaces": [(130, mmu), (70, "process")], "memory": 120}, story_of(11))


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
def test_by_chance(kernel: str) -> None:
    protocol = {"6.1": "linux-6.9", "6.12": "linux-6.13", "6.18": "linux-6.18", "7.3": "linux-7.3"}[kernel]
    tell({"kernel": kernel, "protocol": protocol, "spaces": [(600, "tdp")], "memory": 420}, chance_of(1, 600))


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
@pytest.mark.parametrize("swappiness", [0, 1, 2, 199, 200])
def test_every_swappiness(kernel: str, swappiness: int) -> None:
    """Memory suffices: with 0, nothing can be taken."""
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(130, "tdp")], "memory": 400}
    tell({**host, "swappiness": swappiness}, story_of(3))


@pytest.mark.parametrize("kernel", KERNELS)
def test_uses_that_only_kvm_counts(kernel: str) -> None:
    mmu = MMUS[KERNELS.index(kernel) % 3]
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(130, mmu)], "memory": 300}
    tell(host, nested_of(KERNELS.index(kernel), 130))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_fault_marks_its_page_table_before_reclaim_walks(kernel: str) -> None:
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(600, "process")], "memory": 60}
    tell(host, beyond_memory(600))


@pytest.mark.parametrize("kernel", KERNELS)
def test_pages_of_two_spaces_in_turns(kernel: str) -> None:
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(130, "tdp"), (130, "process")]}
    tell({**host, "memory": 300}, in_turns(130))


@pytest.mark.parametrize("kernel", ["6.12", "6.18"])
@pytest.mark.parametrize("seed", range(3))
def test_hits_between_faults_and_before_reclaim(kernel: str, seed: int) -> None:
    host: dict[str, Any] = {
        "kernel": kernel,
        "protocol": profile(kernel).protocol,
        "spaces": [(130, "tdp"), (130, "tdp")],
    }
    tell({**host, "memory": 150, "marks": (2, 8, 30)}, mixed_of(seed, 130))


@pytest.mark.parametrize("kernel", KERNELS)
def test_pages_of_every_tier_come_back(kernel: str) -> None:
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(130, "tdp")], "memory": 140}
    tell(host, tiers_of(KERNELS.index(kernel), 130))


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18"])
def test_reclaim_meets_pages_that_wait_for_their_activation(kernel: str) -> None:
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(1000, "process")], "memory": 2000}
    tell(host, scattered_of(1, 1000))


@pytest.mark.parametrize("kernel", KERNELS)
def test_kswapd_does_not_count_what_a_pass_before_took(kernel: str) -> None:
    """It gets 48 pages in small shares, and then, with a share of 75, must not stop at 64, though 112 are more than it wants."""
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(900, "tdp")]}
    tell({**host, "memory": 620, "marks": (2, 8, 100)}, partly_used(608, 384))


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18"])
@pytest.mark.parametrize(("mmu", "before"), [("tdp", 300), ("legacy-noad", 511), ("shadow", 512), ("tdp", 1)])
def test_memory_begins_anywhere(kernel: str, mmu: str, before: int) -> None:
    """In the middle of a page table, which a space then has alone, and on both sides of a border of 1 GiB."""
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "base": (1 << 31) - before * 4096}
    tell({**host, "spaces": [(700, mmu), (70, "process")], "memory": 600}, chance_of(before, 700)[:20])
    for used in (range(min(before, 200)), range(before, 700, 3)):
        tell({**host, "spaces": [(1800, mmu), (1800, "process")], "memory": 900}, some_of(used))


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18"])
@pytest.mark.parametrize("mmu", ["tdp", "legacy", "shadow"])
@pytest.mark.parametrize("guest", [0, 1])
def test_a_write_is_a_hit_from_the_second_on(kernel: str, mmu: str, guest: int) -> None:
    """Whatever table lacked its dirty bit at first: nothing but speed depends on it."""
    twin = Twin(kernel, profile(kernel).protocol, [(130, mmu)], 300)
    for _ in range(2):
        twin.touch([(0, 3, True, guest), (0, 4, False, guest), (0, 4, True, guest)])
        twin.check()
    first = int(twin.engine.state.space[0, at.S_FIRST])
    assert (twin.engine.state.pte_bits[first + 3 : first + 5] & at.WRITTEN).all()


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
@pytest.mark.parametrize("mmu", ["tdp", "legacy", "shadow"])
def test_tables_that_may_write_beside_one_that_may_not(kernel: str, mmu: str) -> None:
    """A guest reads what comes back from swap, so its table may not write; a nested guest writes, again and again."""
    rows = [(0, page, True, 0) for page in range(40)]
    back = [("touch", [(0, page, False, reader) for page in range(40)]) for reader in (0, 1)]
    writes = [("touch", [(0, page, True, 1) for page in range(0, 40, 3)])] * 2
    events = [("touch", rows), *[("age", True)] * 3, ("reclaim", 40), *back, *writes, ("touch", rows), *writes]
    tell({"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(90, mmu)], "memory": 300}, events)


@pytest.mark.parametrize("mmu", MMUS)
def test_nested_guests_come_and_go(mmu: str) -> None:
    events: list[tuple[Any, ...]] = []
    for turn in range(4):
        events += [
            ("touch", [(0, (i * (turn + 3)) % 90, i % 3 == 0, i % 2) for i in range(60)]),
            ("age", True),
            ("reclaim", 20),
        ]
        events += [("nested", turn % 2 == 1)]
    tell({"kernel": "6.18", "protocol": "v7", "spaces": [(90, mmu)], "memory": 70}, events)


def test_equal_without_the_compiler() -> None:
    """The same kernels and stories as plain Python: NUMBA_DISABLE_JIT=1, in a process of its own."""
    code = (
        "from agewalk.engine.compiler.jit import COMPILED\n"
        "from tests.engine.test_conformance import story_of, tell, test_equal_after_every_event\n"
        "assert not COMPILED\n"
        "test_equal_after_every_event()\n"
        "for kernel, protocol, mmu in (('6.12', 'linux-6.13', 'tdp'), ('7.3', 'linux-7.3', 'legacy')):\n"
        "    tell({'kernel': kernel, 'protocol': protocol, 'spaces': [(130, mmu)], 'memory': 95}, story_of(5)[:20])\n"
    )
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, env=env, cwd=Path(__file__).parents[2], timeout=300
    )


def test_both_readings_decide_alike() -> None:
    """tests/engine/decisions.py, in a process of its own."""
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "tests.engine.decisions"]
    subprocess.run(command, check=True, env=env, cwd=Path(__file__).parents[2], timeout=300)


def test_both_readings_take_large_shares_alike() -> None:
    """tests/engine/scaled.py, in a process of its own."""
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "tests.engine.scaled"]
    subprocess.run(command, check=True, env=env, cwd=Path(__file__).parents[2], timeout=300)


def test_the_kit_catches_seeded_faults() -> None:
    """tests/engine/faults.py, in a process of its own."""
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "tests.engine.faults"]
    done = subprocess.run(
        command, check=False, env=env, cwd=Path(__file__).parents[2], timeout=600, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
