"""docs/metrics.md by hand: every number of a run on traces small enough to work out on paper."""

from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from agewalk.core.errors import ScenarioError
from agewalk.core.units import Bytes, Ns
from agewalk.engine.quality import assess
from agewalk.study.costs import prices
from agewalk.study.job import Executor, Job, plan
from agewalk.study.merge_traces import Accesses
from agewalk.study.replay import replay
from agewalk.study.runners.compiled import CompiledRunner
from agewalk.study.scenarios.scenario import Scenario
from agewalk.study.scenarios.sections import Aging, Choice, CompareSection, HostSection, Swap, VmSection

S = 1_000_000_000
FRAMES = 16


def job(
    trace: Path,
    policy: str,
    *,
    baseline: bool,
    engine: Executor = "direct",
    every: str | None = None,
    frames: int = FRAMES,
) -> Job:
    scenario = Scenario(
        schema_=1,
        host=HostSection(memory=f"{frames * 4} KiB"),  # type: ignore[arg-type]
        aging=Aging(every=every),  # type: ignore[arg-type]
        vm=[VmSection(name="a", trace=str(trace))],
        compare=CompareSection(
            protocols=[] if baseline else [Choice(name=policy)], baselines=[policy] if baseline else []
        ),
    )
    (only,) = plan(scenario, engine)
    return only


def test_refaults_evictions_and_hot_ones_under_lru(write) -> None:  # type: ignore[no-untyped-def]
    # 16 pages fill the host at 0..15 s. Page 16 at 16 s takes page 0 (16 s old: not hot). Page 0 at 16.5 s takes page 1
    # (15.5 s). Then 16 pages at once take 2..15 and, last, page 16 (1 s old) and page 0 (0.5 s old): hot.
    times = [*(i * S for i in range(17)), 16 * S + S // 2, *[17 * S] * 16]
    pages = [*range(17), 0, *range(20, 36)]
    measured = replay(job(write("t", times, pages), "lru", baseline=True)).measured
    assert measured.accesses == 34
    assert measured.faults == 34  # nobody is met twice while resident
    assert measured.refaults == 1  # page 0
    assert measured.evictions == 34 - 16
    assert measured.hot_evictions == 2  # page 15, used at 15 s, 2 s before, is not hot; 16 and 0 are
    assert measured.vcpu_stall_ns == 80_000


def test_the_time_line_says_when(write) -> None:  # type: ignore[no-untyped-def]
    times = [0] * 17 + [S]
    run = replay(job(write("t", times, [*range(17), 0]), "lru", baseline=True))
    assert run.timeline is not None
    (line,) = run.timeline.refaults
    assert sum(line) == 1
    assert line.index(1) == S // run.timeline.bin_ns


@pytest.mark.parametrize("engine", ["direct", "compiled"])
def test_a_host_with_room_only_faults_once_a_page(write, engine: Executor) -> None:  # type: ignore[no-untyped-def]
    times, pages = [i * S // 10 for i in range(60)], [i % 6 for i in range(60)]
    measured = replay(job(write("t", times, pages), "linux-6.18", baseline=False, engine=engine, every="1 s")).measured
    assert (measured.faults, measured.refaults, measured.evictions, measured.hot_evictions) == (6, 0, 0, 0)
    assert measured.vms[0].resident_pages == 6
    assert measured.cold_recall is None  # every page is used within each second: nothing is cold
    assert measured.mmu_lock_write_ns == 0
    exit_and_entry = prices(Swap()).fault
    assert measured.vcpu_stall_ns >= round(6 * exit_and_entry)


@pytest.mark.parametrize("engine", ["direct", "compiled"])
def test_what_is_cold_and_called_so(write, engine: Executor) -> None:  # type: ignore[no-untyped-def]
    # Page 0 is used all the time, pages 1..61 once at the start: 62 pages are two full batches of folio_add_lru(), so all
    # are on a list. Aging every second, until 6 s.
    times, pages = [0] * 62, [*range(62)]
    for tenth in range(1, 61):
        times.append(tenth * S // 10)
        pages.append(0)
    the_job = job(write("t", times, pages), "linux-6.18", baseline=False, engine=engine, every="1 s", frames=256)
    measured = replay(the_job).measured
    assert measured.cold_precision == 1.0
    assert measured.cold_recall is not None
    assert measured.cold_recall > 0.6  # a page is called old an aging or two after it became cold
    assert measured.age_rank_correlation is not None
    assert measured.age_rank_correlation > 0.8
    assert measured.ptes_walked == 64 * 6  # entries of the VMA, present or not; six agings
    assert measured.notifier_calls == 62 * 6  # KVM is asked about each present one


def test_quality_as_worked_out_in_the_docs() -> None:
    sample = assess(np.array([0, 2, 2, 3]), np.array([0, 1, 5, 9]), 2)
    assert sample.recall == 1.0
    assert sample.precision == pytest.approx(2 / 3)
    assert sample.rank_correlation == pytest.approx(5 / sqrt(5 * 6))


def test_costs_are_what_the_table_says() -> None:
    from agewalk.timing.hardware.costs import load_costs

    table = load_costs().with_values(
        {
            "line.hit": 1,
            "line.memory": 100,
            "atomic.local": 10,
            "lock.uncontended": 3,
            "work.vm_exit": 400,
            "work.vm_entry": 500,
            "count.kvm_mmu_page_fault": 30,
            "count.hva_to_pfn": 20,
            "count.kvm_tdp_mmu_map": 50,
        }
    )
    cost = prices(Swap(read="80 us", write="60 us"), table)  # type: ignore[arg-type]
    walk = 3 * 1 + 100 + 10
    lock = 2 * 10 + 3
    assert cost.mmu_lock_write(7) == 7 * (lock + walk)
    assert (
        cost.vcpu_stall(kvm_faults=5, refaults=2, swap_writes=3) == 5 * (1000 + lock + walk) + 2 * 80_000 + 3 * 60_000
    )


def test_the_first_access_to_a_page_is_a_write(write) -> None:  # type: ignore[no-untyped-def]
    reads = write("t", [0] * 20, range(20), write=False)
    measured = replay(job(reads, "linux-6.18", baseline=False)).measured
    assert measured.evictions > 0  # 20 pages do not fit into 16 frames; shared zero pages would


def test_memory_is_in_bytes_and_time_in_nanoseconds(write) -> None:  # type: ignore[no-untyped-def]
    only = job(write("t", [0], [0]), "lru", baseline=True, every="500 ms")
    assert only.memory == Bytes(FRAMES * 4096)
    assert only.interval_ns == Ns(500_000_000)


def test_an_access_that_the_engine_cannot_take_is_of_a_vm(write) -> None:  # type: ignore[no-untyped-def]
    """Page 64 of a guest with 64, in row 2 of what the engine is fed: its VM, its trace and its time are named instead."""
    trace = write("t", [0], [0])
    runner = CompiledRunner(job(trace, "linux-6.18", baseline=False, engine="compiled"))
    columns = np.zeros(3, np.uint16), np.array([0, 1, 64]), np.zeros(3, np.bool_), np.zeros(3, np.uint8)
    with pytest.raises(ScenarioError) as caught:
        runner.feed(Accesses(np.array([0, S, 2 * S]), *columns))
    assert str(caught.value) == f"a ({trace}), 2 s after the start: page 64 of space 0 does not exist"
    assert runner.finish().accesses == 2
