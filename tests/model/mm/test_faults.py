"""Faults of a host process, worked out by hand from mm/memory.c of each kernel."""

from __future__ import annotations

import pytest

from agewalk.core.errors import ModelError
from agewalk.core.units import Hva
from agewalk.model.machine.hits import changes_nothing
from agewalk.model.mm import pte as p
from agewalk.model.mm.faults.access import access
from agewalk.model.mm.folio import PG_DIRTY, PG_LRU, PG_REFERENCED, PG_SWAPCACHE, PG_WORKINGSET

from .helpers import Host


def test_first_write_takes_a_page_young_dirty_and_writable() -> None:
    host = Host()
    host.write(3)
    assert host.entry(3) & 0xFFF == p.PRESENT | p.RW | p.ACCESSED | p.DIRTY
    assert host.counted()["do_anonymous_page"] == 1
    assert host.machine.memory.free.value == 4096 - 1
    assert host.folio(3).mappings.value == ((host.process.mm, host.process.hva(3)),)


def test_first_read_maps_the_zero_page_and_a_write_copies_it() -> None:
    host = Host()
    host.read(5)
    assert host.entry(5) & p.SPECIAL
    assert not host.entry(5) & p.RW
    assert host.see(5).seq == -1
    assert host.machine.memory.free.value == 4096
    host.counted()
    host.write(5)
    counted = host.counted()
    assert (counted["handle_mm_fault"], counted["folio_add_lru"], counted["flush_tlb_mm_range"]) == (1, 1, 1)
    assert counted["do_anonymous_page"] == 0  # do_wp_page() -> wp_page_copy()
    assert not host.entry(5) & p.SPECIAL


@pytest.mark.parametrize(("kernel", "size"), [("6.1", 15), ("6.12", 31), ("7.3", 31)])
def test_folios_wait_for_a_full_batch(kernel: str, size: int) -> None:
    host = Host(kernel)
    host.write(*range(size - 1))
    assert not any(host.flags(page) & PG_LRU for page in range(size - 1))
    host.write(size - 1)
    assert all(host.flags(page) & PG_LRU for page in range(size))
    assert all(host.folio(page).refcount.value == 0 for page in range(size))


@pytest.mark.parametrize(("kernel", "writable"), [("6.1", False), ("6.12", True)])
def test_read_of_a_swapped_page_maps_it_writable_from_some_kernel_on(kernel: str, writable: bool) -> None:
    host = Host(kernel)
    host.write(*range(64))
    host.swap_out(64)
    assert p.pte_is_swap(host.entry(0))
    used = host.machine.memory.swap_used.value
    assert used == 64
    host.read(0)
    assert bool(host.entry(0) & p.RW) == writable
    assert not host.entry(0) & p.DIRTY
    assert host.counted()["workingset_refault"] == 1
    assert host.machine.memory.swap_used.value == used - 1
    host.write(0)
    assert host.counted()["handle_mm_fault"] == (0 if writable else 1)
    assert host.entry(0) & (p.RW | p.DIRTY) == p.RW | p.DIRTY


@pytest.mark.parametrize(("kernel", "dirty"), [("6.12", False), ("6.18", False), ("7.3", True)])
def test_swap_cache_on_the_way_back_leaves_the_page_dirty(kernel: str, dirty: bool) -> None:
    host = Host(kernel)
    host.write(*range(64))
    host.swap_out(64)
    host.read(1)
    assert bool(host.flags(1) & PG_DIRTY) == dirty
    assert not host.flags(1) & PG_SWAPCACHE
    assert host.folio(1).backing.value == ()


def test_73_marks_at_fault() -> None:
    """do_anonymous_page() -> folio_add_lru() -> folio_mark_accessed() (witness SUMMARY 9)."""
    host = Host("7.3")
    host.write(0)
    assert host.flags(0) & PG_REFERENCED
    assert Host("6.18").machine.counters["folio_mark_accessed"] == 0


def test_recency_of_a_vma_decides_whether_a_fault_counts() -> None:
    """lru_gen_enter_fault(): a VMA read in sequence teaches nothing; its pages do not start active."""
    host = Host("6.12", sequential=True)
    host.write(*range(31))
    assert {host.see(page).seq for page in range(31)} == {2}
    plain = Host("6.12")
    plain.write(*range(31))
    assert {plain.see(page).seq for page in range(31)} == {3}


def test_access_outside_of_every_vma_is_an_error() -> None:
    host = Host()
    with pytest.raises(ModelError, match="no mapping at"):
        host.run(access(host.machine.memory, host.process.mm, Hva(4096), write=False))


def test_memory_that_cannot_be_reclaimed_ends_in_an_error() -> None:
    host = Host(pages=400, frames=300, locked=True)
    with pytest.raises(ModelError, match="out of memory: 300 frames"):
        host.write(*range(400))


def test_pressure_swaps_what_is_old() -> None:
    host = Host(pages=600, frames=512)
    host.write(*range(600))
    out = [page for page in range(600) if host.see(page).swapped]
    assert len(out) >= 88
    assert host.machine.memory.free.value >= host.machine.memory.minimum
    assert max(out) < 512  # the last ones written are the youngest


def test_skipped_accesses_would_have_changed_nothing() -> None:
    host = Host()
    host.write(1)
    host.read(2)
    mm, hva = host.process.mm, host.process.hva
    assert changes_nothing(mm, hva(1), write=True)
    assert changes_nothing(mm, hva(2), write=False)
    assert not changes_nothing(mm, hva(2), write=True)
    assert not changes_nothing(mm, hva(3), write=False)
    host.machine.age()
    assert not changes_nothing(mm, hva(1), write=False)
    before = host.entry(1), host.flags(1), host.machine.counters["handle_mm_fault"]
    host.read(1)
    host.read(1)
    assert host.entry(1) == before[0] | p.ACCESSED
    assert host.machine.counters["handle_mm_fault"] == before[2]
    assert not host.flags(1) & PG_WORKINGSET
