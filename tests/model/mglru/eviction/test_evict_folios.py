"""Eviction: who goes, in which order, how many. Expectations are those of recorded kernels (host backing) or worked by hand."""

from __future__ import annotations

import pytest
from tests.model.mglru.minihost import MiniHost

from agewalk.model.mglru import commands
from agewalk.model.mglru.aging.generations import EINVAL
from agewalk.model.mglru.eviction import workingset
from agewalk.model.mm.folio import PG_MLOCKED, PG_UNEVICTABLE, PG_WORKINGSET


def settled(kernel: str, pages: int = 2048, agings: int = 3) -> MiniHost:
    """All pages old."""
    host = MiniHost(kernel, pages)
    host.touch(*range(pages))
    for _ in range(agings):
        host.age()
    return host


@pytest.mark.parametrize(("kernel", "taken"), [("6.1", 64), ("6.12", 64), ("6.18", 58), ("7.3", 58)])
def test_how_many_pages_128_kib_take(kernel: str, taken: int) -> None:
    """SUMMARY 15: 64 a batch up to 6.12; later 2048 >> priority, summed over the priorities that it takes."""
    assert len(settled(kernel).reclaim(128 << 10)) == taken


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
def test_victims_go_in_list_order_and_leave_the_books_balanced(kernel: str) -> None:
    host = settled(kernel)
    oldest = host.lruvec.folios[host.lruvec.min_seq[0].value % 4][0]
    expected = [host.page_of[f] for f in reversed(oldest.items)]
    taken = host.reclaim(1 << 20)
    assert taken == expected[: len(taken)]
    assert sum(cell.value for gen in host.lruvec.nr_pages for cell in gen) == 2048 - len(taken)
    assert host.free_slots == (1 << 20) - len(taken)


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
def test_exactly(kernel: str) -> None:
    host = settled(kernel)
    assert len(host.reclaim(4096, exactly=100)) == 100


def test_young_pages_are_kept_and_their_neighbours_promoted() -> None:
    """A touched page is met by eviction alone: it stays, and look-around sees the window of 64."""
    for kernel in ("6.1", "6.12", "7.3"):
        host = settled(kernel)
        oldest = host.lruvec.folios[host.lruvec.min_seq[0].value % 4][0]
        first = host.page_of[next(reversed(oldest.items))]
        window = range(64) if first == 0 else range(2048 - 64, 2048)
        host.touch(*window)
        taken = host.reclaim(4096)
        assert not set(taken) & set(window)
        youngest = host.lruvec.max_seq.value % 4
        assert host.lruvec.nr_pages[youngest][0].value == 64


def test_evict_command_is_exact_from_617_and_rounds_up_before() -> None:
    """SUMMARY 18: 200 -> 256 on 6.12, 200 on 6.18 and 7.3."""
    for kernel, taken in (("6.12", 256), ("6.18", 200), ("7.3", 200)):
        host = settled(kernel)
        assert len(host.evict(host.lruvec.max_seq.value - 2, 200)) == taken


def test_evict_command_refuses_young_generations() -> None:
    host = settled("6.12", 64)
    err, _ = host.run(commands.run_eviction(host.lruvec, host, host.lruvec.max_seq.value - 1, 60, 1))
    assert err == EINVAL
    err, _ = host.run(commands.run_eviction(host.lruvec, host, 0, 201, 1))
    assert err == EINVAL


def test_mlocked_folios_become_unevictable() -> None:
    host = settled("6.12", 128)
    folios = [host.folio(i) for i in range(128)]
    for folio in folios:
        assert folio is not None
        folio.flags.value |= PG_MLOCKED
    assert host.reclaim(4096, exactly=None) == []
    assert any(f is not None and f.flags.value & PG_UNEVICTABLE for f in folios)


def test_without_swap_nothing_is_taken_and_nothing_lost() -> None:
    host = settled("6.12", 256)
    host.free_slots = 0
    assert host.reclaim(4096) == []
    assert sum(cell.value for gen in host.lruvec.nr_pages for cell in gen) == 256


def test_memory_min_protects() -> None:
    host = settled("6.18", 256)
    host.limits = (300, 0, 256)
    assert host.reclaim(4096) == []


def test_memory_low_gives_way_when_there_is_nothing_else() -> None:
    host = settled("6.18", 256)
    host.limits = (0, 300, 256)
    assert host.reclaim(4096)


@pytest.mark.parametrize(("kernel", "workingset"), [("6.1", True), ("6.12", True), ("6.18", False), ("7.3", True)])
def test_refaults_come_back_marked(kernel: str, workingset: bool) -> None:
    """SUMMARY 20: up to 6.13 every refault in a fault, from 6.14 only what was in the working set (7.3: since its fault)."""
    host = settled(kernel, 256, agings=2)
    taken = host.reclaim(128 << 10)
    before = host.lruvec.refaulted[0]
    host.touch(*taken)
    assert sum(tier.value for tier in before) == len(taken)
    folio = host.folio(taken[0])
    assert folio is not None
    assert bool(folio.flags.value & PG_WORKINGSET) is workingset


def test_what_counts_as_recent() -> None:
    """Up to 6.13 what left the generation that is still the oldest; from 6.14 what left less than four generations ago."""
    token = 5 << 2 | 1
    assert [workingset.test_recent(token, 8, m, refault_window=False) for m in (4, 5, 6)] == [False, True, False]
    assert [workingset.test_recent(token, m, 0, refault_window=True) for m in (5, 8, 9)] == [True, True, False]


def test_an_old_refault_is_not_counted() -> None:
    for kernel in ("6.12", "7.3"):
        host = settled(kernel, 1024)
        taken = host.reclaim(4096, exactly=64)
        host.age()
        host.age()
        host.touch(*taken)
        assert sum(tier.value for tier in host.lruvec.refaulted[0]) == 0
