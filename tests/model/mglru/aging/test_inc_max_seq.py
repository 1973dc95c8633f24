"""Aging: what a walk promotes, what a new generation does to the old ones. Expectations are those of recorded kernels."""

from __future__ import annotations

import pytest
from tests.model.mglru.minihost import MiniHost

from agewalk.model.mglru import state
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.folio import PG_REFERENCED, PG_WORKINGSET, folio_lru_gen
from agewalk.model.mm.mm_types import MmuNotifier, MmuNotifierOps

KERNELS = ["6.1", "6.9", "6.12", "6.13", "6.15", "6.18", "7.3"]


def age_of(host: MiniHost, page: int) -> int:
    """Generations below max_seq."""
    folio = host.folio(page)
    assert folio is not None
    return int(host.lruvec.max_seq.value - folio_lru_gen(folio.flags.value)) % 4


@pytest.mark.parametrize(("kernel", "after"), [("6.1", 1), ("6.12", 1), ("6.18", 2), ("7.3", 1)])
def test_the_first_age_of_new_pages(kernel: str, after: int) -> None:
    """SUMMARY 9 and 11, host: 6.18 needs a second access to promote, 7.3 counts the fault as the first."""
    host = MiniHost(kernel, 8)
    host.touch(*range(8))
    assert host.age() == 0
    assert {age_of(host, i) for i in range(8)} == {after}


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
def test_touched_pages_are_promoted_to_the_generation_that_was_youngest(kernel: str) -> None:
    host = MiniHost(kernel, 64)
    host.touch(*range(64))
    host.age()
    host.age()
    host.touch(*range(0, 64, 4))
    host.age()
    assert [age_of(host, i) for i in range(5)] == [1, 3, 3, 3, 1]


def test_a_single_touch_between_agings_never_promotes_host_memory_on_618() -> None:
    """SUMMARY 9: inc_min_seq() takes PG_referenced off again."""
    host = MiniHost("6.18", 64)
    host.touch(*range(64))
    for _ in range(3):
        host.age()
    for _ in range(3):
        host.touch(0)
        host.age()
    folio = host.folio(0)
    assert folio is not None
    assert age_of(host, 0) == 3
    assert not folio.flags.value & (PG_REFERENCED | PG_WORKINGSET)


def test_workingset_stays_from_614_and_goes_before() -> None:
    for kernel, stays in (("6.12", False), ("7.3", True)):
        host = MiniHost(kernel, 4)
        host.touch(0)
        host.touch(0)
        host.age()
        folio = host.folio(0)
        assert folio is not None
        assert bool(folio.flags.value & PG_WORKINGSET) is stays


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_merge_turns_the_order_over(kernel: str) -> None:
    """SUMMARY 14: inc_min_seq() moves tail to tail."""
    host = MiniHost(kernel, 8)
    host.touch(*range(8))
    while host.lruvec.max_seq.value - host.lruvec.min_seq[0].value < 3 or age_of(host, 0) < 3:
        host.age()

    def order() -> list[int]:
        oldest = host.lruvec.folios[host.lruvec.min_seq[0].value % 4][0]
        return [host.page_of[f] for f in reversed(oldest.items)]

    before = order()
    assert sorted(before) == list(range(8))
    host.age()
    assert order() == before[::-1]
    host.age()
    assert order() == before


@pytest.mark.parametrize(
    ("kernel", "answer", "seq"), [("6.1", -34, 3), ("6.12", -34, 3), ("6.18", 0, 4), ("7.3", 0, 4)]
)
def test_without_force_at_four_generations(kernel: str, answer: int, seq: int) -> None:
    """SUMMARY 8."""
    host = MiniHost(kernel, 4)
    assert host.lruvec.max_seq.value == 3
    assert host.age(force_scan=False) == answer
    assert host.lruvec.max_seq.value == seq


def test_an_mm_that_did_not_run_is_skipped() -> None:
    """SUMMARY 6."""
    host = MiniHost("6.12", 512)
    host.touch(*range(512))
    host.age()
    host.touch(*range(512))
    walk = host.lruvec.mm_stats[state.LEAF_TOTAL]
    before = walk.value
    host.mm.used_since_walk.value = False
    host.reclaim(4096, scheduled=False)
    assert walk.value == before
    assert host.lruvec.max_seq.value > 4  # aged all the same


def test_idle_tables_are_not_read_where_the_pmd_has_an_accessed_bit() -> None:
    """SUMMARY 5: 6.1 obeys it even when forced; later kernels do not when forced."""
    for kernel, read in (("6.1", 0), ("6.12", 512)):
        host = MiniHost(kernel, 512)
        host.touch(*range(512))
        host.age()
        before = host.lruvec.mm_stats[state.LEAF_TOTAL].value
        host.age()
        assert host.lruvec.mm_stats[state.LEAF_TOTAL].value - before == read


def test_with_a_subscriber_the_walk_asks_about_every_page() -> None:
    """SUMMARY 2: 512 touched, every present PTE asked about; on 6.1 nobody is asked."""
    for kernel, asked in (("6.1", 0), ("6.9", 0), ("6.12", 512), ("7.3", 512)):
        host = MiniHost(kernel, 512)
        sub = MmuNotifier("driver", MmuNotifierOps("driver"), host.mm)
        host.run(mmu_notifier.register(host.mm, sub))
        host.touch(*range(512))
        host.age()
        before = host.cpu.counters.snapshot()
        host.touch(*range(0, 512, 4))
        host.age()
        assert host.cpu.counters.since(before)["__mmu_notifier_clear_young"] == asked


@pytest.mark.parametrize("young", [1, 63, 64, 512])
def test_the_filter_keeps_tables_with_a_young_page_a_cache_line(young: int) -> None:
    """SUMMARY 7."""
    host = MiniHost("6.12", 512)
    host.touch(*range(512))
    host.age()
    host.age()
    host.lruvec.min_seq[0].value = host.lruvec.min_seq[1].value = host.lruvec.max_seq.value - 1  # room without force
    host.touch(*range(young))
    host.age(force_scan=True)
    host.lruvec.min_seq[0].value = host.lruvec.min_seq[1].value = host.lruvec.max_seq.value - 1
    host.touch(*range(512))
    before = host.lruvec.mm_stats[state.LEAF_TOTAL].value
    host.age(force_scan=False)
    assert host.lruvec.mm_stats[state.LEAF_TOTAL].value - before == (512 if young >= 64 else 0)
