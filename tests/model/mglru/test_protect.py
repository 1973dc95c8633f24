"""Thrashing protection and kswapd's first step."""

from __future__ import annotations

import pytest
from tests.model.mglru.minihost import MiniHost

from agewalk.core.units import Ns
from agewalk.model.mglru import protect
from agewalk.model.mglru.gens import DEF_PRIORITY
from agewalk.model.mglru.scan_control import ScanControl

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
    sc = ScanControl(host, kswapd=True, target_memcg=False, priority=6)
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
        assert host.lruvec.max_seq.value - before == moved


def test_initial_priority() -> None:
    assert protect.initial_priority(1 << 20, 32) == DEF_PRIORITY  # below a batch: no estimate
    assert protect.initial_priority(1 << 20, 1024) == 10  # 2^20 pages, 2^10 wanted
    assert protect.initial_priority(1 << 12, 1024) == 6  # never below half
    assert protect.initial_priority(1 << 30, 64) == DEF_PRIORITY


def test_inactive_pages() -> None:
    host = aged("6.12")
    assert host.run(protect.inactive_pages(host.lruvec, 60)) == 1024
    host.touch(*range(100))
    host.age()
    assert host.run(protect.inactive_pages(host.lruvec, 60)) == 924
