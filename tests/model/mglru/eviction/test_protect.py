"""Thrashing protection and kswapd's first step."""

from __future__ import annotations

import pytest
from tests.model.mglru.minihost import MiniHost

from agewalk.core.units import Ns
from agewalk.model.mglru.aging.generations import DEF_PRIORITY
from agewalk.model.mglru.eviction import protect
from agewalk.model.mglru.eviction.reclaim import should_abort_scan, shrink_lruvec
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mm.folio import ANON, FILE

SECOND = 1_000_000_000


def aged(kernel: str) -> MiniHost:
    """Four generations, born at 1, 2 and 3 s."""
    host = MiniHost(kernel, 1024)
    host.touch(*range(1024))
    for second in (1, 2, 3):
        host.lruvec.clock.value = Ns(second * SECOND)
        host.age()
    return host


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
def test_the_oldest_generation_must_outlive_min_ttl(kernel: str) -> None:
    host = aged(kernel)
    sc = ScanControl(host, kswapd=True, target_memcg=False, priority=6, memcgs_need_aging=True)
    birth = host.lruvec.timestamps[host.lruvec.min_seq[0].value % 4].value
    host.lruvec.clock.value = Ns(birth + 5 * SECOND)
    assert host.run(protect.lru_gen_age_node(host.lruvec, sc, Ns(6 * SECOND)))
    assert not host.run(protect.lru_gen_age_node(host.lruvec, sc, Ns(4 * SECOND)))


def test_off_by_default_and_min_protects() -> None:
    host = aged("7.3")
    sc = ScanControl(host, kswapd=True, target_memcg=False)
    assert not host.run(protect.lru_gen_age_node(host.lruvec, sc, Ns(0)))
    host.limits = (2000, 0, 1024)
    host.lruvec.clock.value = Ns(100 * SECOND)
    assert host.run(protect.lru_gen_age_node(host.lruvec, sc, Ns(SECOND)))


def test_too_small_to_help() -> None:
    host = MiniHost("6.12", 8)
    host.touch(*range(8))
    host.lruvec.clock.value = Ns(100 * SECOND)
    sc = ScanControl(host, kswapd=True, target_memcg=False, priority=DEF_PRIORITY)
    assert host.run(protect.lru_gen_age_node(host.lruvec, sc, Ns(SECOND)))
    sc.priority = 0
    assert not host.run(protect.lru_gen_age_node(host.lruvec, sc, Ns(SECOND)))


def test_kswapd_ages_on_61_alone() -> None:
    for kernel, moved in (("6.1", 1), ("6.12", 0)):
        host = MiniHost(kernel, 256)
        host.touch(*range(256))
        host.age()
        for cell in host.lruvec.min_seq:
            cell.value = 3  # nothing but the two youngest generations: out of cold pages
        before = host.lruvec.max_seq.value
        sc = ScanControl(host, kswapd=True, target_memcg=False)
        host.run(protect.lru_gen_age_node(host.lruvec, sc, Ns(0)))
        assert host.lruvec.max_seq.value == before  # not in its first pass
        host.run(protect.lru_gen_age_node(host.lruvec, sc, Ns(0)))
        assert host.lruvec.max_seq.value - before == moved


def test_61_does_not_age_after_a_pass_that_went_well() -> None:
    host = aged("6.1")
    sc = ScanControl(host, kswapd=True, target_memcg=False, nr_to_reclaim=100, priority=0, memcgs_need_aging=True)
    host.run(shrink_lruvec(host.lruvec, sc))
    assert sc.nr_reclaimed >= 64
    assert not sc.memcgs_need_aging


@pytest.mark.parametrize(
    ("kernel", "wanted", "priority"),
    [
        ("6.1", 100, 12),
        ("6.9", 100, 2),
        ("6.9", 64, 3),
        ("6.9", 63, 12),
        ("6.12", 100, 6),
        ("7.3", 100, 6),
        ("7.3", 63, 12),
    ],
)
def test_kswapd_begins_where_a_scan_should_bring_what_it_wants(kernel: str, wanted: int, priority: int) -> None:
    """924 of 1024 pages are inactive: 2^9 rounded down, over 2^7 or 2^6."""
    host = aged(kernel)
    host.touch(*range(100))
    host.age()
    sc = ScanControl(host, kswapd=True, target_memcg=False, nr_to_reclaim=wanted)
    host.run(protect.set_initial_priority(host.lruvec, sc))
    assert sc.priority == priority
    sc.priority = 11  # only at the default priority
    host.run(protect.set_initial_priority(host.lruvec, sc))
    assert sc.priority == 11


def test_initial_priority() -> None:
    assert protect.initial_priority(1 << 20, 1024) == 10  # 2^20 pages, 2^10 wanted
    assert protect.initial_priority((1 << 21) - 1, 1024) == 10
    assert protect.initial_priority(1 << 20, 1025) == 9
    assert protect.initial_priority(1 << 12, 1024) == 6  # never below half
    assert protect.initial_priority(1 << 12, 1024, 0) == 2
    assert protect.initial_priority(0, 1024, 0) == 0
    assert protect.initial_priority(1 << 30, 64) == DEF_PRIORITY


@pytest.mark.parametrize(
    ("kernel", "slots", "swappiness", "priority"),
    [
        ("6.9", 64, 60, 7),
        ("6.9", 63, 60, 0),
        ("6.9", 64, 0, 0),
        ("6.12", 1, 60, 7),
        ("6.12", 0, 60, 6),
        ("6.12", 1, 0, 7),
    ],
)
def test_what_cannot_go_to_swap_is_not_counted(kernel: str, slots: int, swappiness: int, priority: int) -> None:
    host = MiniHost(kernel, 8)
    host.lruvec.nr_pages[(host.lruvec.max_seq.value + 1) % 4][ANON].value = 8192
    host.free_slots = slots
    sc = ScanControl(host, kswapd=True, target_memcg=False, nr_to_reclaim=64, swappiness=swappiness)
    host.run(protect.set_initial_priority(host.lruvec, sc))
    assert sc.priority == priority


def test_inactive_pages() -> None:
    host = aged("6.12")
    assert host.run(protect.inactive_pages(host.lruvec, ANON)) == 1024
    host.touch(*range(100))
    host.age()
    assert host.run(protect.inactive_pages(host.lruvec, ANON)) == 924
    assert host.run(protect.inactive_pages(host.lruvec, FILE)) == 0


@pytest.mark.parametrize(
    ("kernel", "free", "kswapd", "reclaimed", "stops", "counted"),
    [
        ("6.12", 264, True, 0, False, 0),  # the high watermark is 200
        ("6.12", 265, True, 0, True, 0),
        ("6.12", 265, False, 0, False, 0),
        ("7.3", 265, True, 0, True, 0),
        ("7.3", 0, True, 100, True, 0),
        ("6.1", 265, True, 109, False, 0),  # of these, 10 in earlier passes: 99 of the 100 that it wants
        ("6.1", 199, True, 110, False, 0),
        ("6.1", 200, True, 110, True, 64),
        ("6.1", 99, False, 0, False, 0),  # the task that allocates is content with the low one
        ("6.1", 100, False, 0, True, 64),
        ("6.1", 0, False, 100, True, 0),
    ],
)
def test_reclaim_for_the_node_stops(
    kernel: str, free: int, kswapd: bool, reclaimed: int, stops: bool, counted: int
) -> None:
    host = aged(kernel)
    host.marks = (free, 100, 200)
    sc = ScanControl(host, kswapd=kswapd, target_memcg=False, nr_to_reclaim=100, priority=10)
    sc.nr_reclaimed, sc.last_reclaimed = reclaimed, 10 if kswapd else 0
    seq = host.lruvec.max_seq.value
    assert host.run(should_abort_scan(host.lruvec, sc, seq)) == stops
    assert sc.nr_reclaimed - reclaimed == counted
    sc.priority, sc.nr_reclaimed = 11, reclaimed
    assert host.run(should_abort_scan(host.lruvec, sc, seq)) == (stops and not counted)  # 6.1: gentle scans go on
