"""Reverse mappings, GUP, unmapping, huge pages, files and locked memory, one hand-worked case each."""

from __future__ import annotations

import pytest

from agewalk.core.effects import Release, Step
from agewalk.core.units import Bytes, Hva
from agewalk.model.mm import pte as p
from agewalk.model.mm import rmap, swap, unmap
from agewalk.model.mm.folio import PG_ACTIVE, PG_DIRTY, PG_LRU, PG_MLOCKED, PG_REFERENCED, PG_UNEVICTABLE, PG_YOUNG
from agewalk.model.mm.mm import find_vma
from agewalk.model.mm.mm_types import ZERO_PFN, AddressSpace, Vma
from agewalk.model.mm.mmu_notifier import EAGAIN

from .helpers import Host


def test_walk_finds_the_entry_and_holds_its_lock() -> None:
    host = Host()
    host.write(7)
    folio = host.folio(7)

    def look() -> Step[Hva]:
        vma = find_vma(host.process.mm.vmas.value, host.process.hva(7))
        assert vma is not None
        pvmw = yield from rmap.page_vma_mapped_walk(folio, host.process.mm, vma, host.process.hva(7))
        assert pvmw is not None
        assert pvmw.ptl.writer
        yield Release(pvmw.ptl)
        other = yield from rmap.page_vma_mapped_walk(folio, host.process.mm, vma, host.process.hva(8))
        assert other is None
        return pvmw.address

    assert host.run(look()) == host.process.hva(7)


def test_referenced_counts_mappings_and_clears_what_it_saw() -> None:
    host = Host()
    host.write(*range(31))
    assert host.run(rmap.folio_referenced(host.folio(4))) == (1, False)
    assert not host.entry(4) & p.ACCESSED
    assert host.run(rmap.folio_referenced(host.folio(4))) == (0, False)
    host.folio(4).flags.value |= PG_YOUNG  # what page_idle leaves of a bit that it took
    assert host.run(rmap.folio_referenced(host.folio(4))) == (1, False)
    assert not host.flags(4) & PG_YOUNG


def test_flushes_are_put_off_with_more_than_one_cpu() -> None:
    for cpus, at_once, together in ((1, 64, 0), (4, 0, 1)):
        host = Host()
        host.machine.memory.cpus = cpus
        host.write(*range(64))
        host.machine.drain()
        for _ in range(3):
            host.machine.age()
        host.counted()
        host.machine.reclaim(Bytes(4096))
        counted = host.counted()
        assert counted["flush_tlb_mm_range"] == at_once
        assert bool(counted["arch_tlbbatch_flush"]) == bool(together)


def test_gup_fast_takes_writable_pages_and_marks_referenced_alone() -> None:
    host = Host()
    pages, mm, hva = host.machine.host_pages, host.process.mm, host.process.hva
    assert host.run(pages.get_user_page_fast_only(mm, hva(0))) is None
    host.read(1)
    assert host.run(pages.get_user_page_fast_only(mm, hva(1))) is None  # the zero page may not be written
    host.write(0)
    got = host.run(pages.get_user_page_fast_only(mm, hva(0)))
    assert got is not None
    assert (got.pfn, got.writable) == (host.folio(0).pfn, True)
    assert host.flags(0) & PG_REFERENCED
    assert host.counted()["folio_mark_accessed"] == 0


@pytest.mark.parametrize(("kernel", "through_page"), [("6.12", 1), ("6.18", 0)])
def test_gup_slow_faults_and_marks_once(kernel: str, through_page: int) -> None:
    host = Host(kernel)
    got = host.run(host.machine.host_pages.get_user_page(host.process.mm, host.process.hva(2), write=True))
    counted = host.counted()
    assert got.pfn == host.folio(2).pfn
    assert (counted["handle_mm_fault"], counted["folio_mark_accessed"]) == (1, 1)
    assert counted["mark_page_accessed"] == through_page


def test_gup_read_of_untouched_memory_gets_the_zero_page() -> None:
    host = Host()
    got = host.run(host.machine.host_pages.get_user_page(host.process.mm, host.process.hva(2), write=False))
    assert (got.pfn, got.writable) == (ZERO_PFN, False)
    outside = host.machine.host_pages.get_user_page(host.process.mm, Hva(4096), write=True)
    assert host.run(outside) is None


def test_munmap_frees_pages_and_slots_and_cuts_the_vma() -> None:
    host = Host()
    host.write(*range(64))
    host.swap_out(10)
    host.machine.unmap(host.process, 8, 48)
    memory = host.machine.memory
    host.machine.drain()
    assert memory.swap_used.value == sum(host.see(page).swapped for page in range(64))
    assert memory.free.value == memory.frames - sum(host.see(page).seq is not None for page in range(64))
    start, end = host.process.start, host.process.hva(64)
    assert host.process.mm.vmas.value == (Vma(start, host.process.hva(8)), Vma(host.process.hva(56), end))


def test_cut_keeps_the_pages_of_a_file_where_they_were() -> None:
    vma = Vma(Hva(0), Hva(10 * 4096), anon=False, file_page=100)
    left, right = unmap.cut((vma,), Hva(4096), Hva(3 * 4096))
    assert (left.file_page, right.file_page) == (100, 103)


def test_batched_folio_outlives_its_mapping_until_the_drain() -> None:
    host = Host()
    host.write(0)
    folio = host.folio(0)
    host.machine.unmap(host.process, 0, 64)
    assert not folio.freed
    host.machine.drain()
    assert folio.freed


def test_huge_page_is_one_folio_until_reclaim_takes_it_apart() -> None:
    host = Host("6.12", 1024, huge=True)
    host.write(3, 700)
    assert host.entry(3) & p.PSE
    assert host.folio(3).pages == 512
    assert host.folio(3) is host.folio(511) is not host.folio(512)
    assert host.counted()["handle_mm_fault"] == 2
    assert host.machine.memory.free.value == 4096 - 1024
    host.swap_out(1024)
    assert all(host.see(page).swapped for page in range(1024))
    assert host.machine.memory.swap_used.value == 1024
    assert host.machine.memory.free.value == 4096
    host.read(5)
    assert host.folio(5).pages == 1


def test_a_huge_page_that_does_not_fit_becomes_a_small_one() -> None:
    host = Host("6.12", 4096, huge=True)
    for page in range(0, 4096, 512):
        host.write(page)
    assert [host.folio(page).pages for page in range(0, 4096, 512)] == [512] * 7 + [1]  # 4096 frames, 16 kept back
    assert host.counted()["thp_fault_fallback"] == 1
    assert host.counted()["try_to_free_pages"] == 0  # GFP_TRANSHUGE_LIGHT


@pytest.mark.parametrize(("kernel", "order"), [("6.1", 0), ("6.12", 0), ("6.13", 9), ("7.3", 9)])
def test_what_is_read_first_is_the_huge_zero_page(kernel: str, order: int) -> None:
    """do_huge_zero_wp_pmd() since 6.13; a split into 512 small zero pages before."""
    host = Host(kernel, 512, huge=True)
    host.read(7)
    assert host.entry(400) & p.PSE
    assert host.entry(400) & p.SPECIAL
    assert host.machine.memory.free.value == 4096
    host.write(9)
    assert host.folio(9).order == order
    assert host.machine.memory.free.value == 4096 - (1 << order)
    assert bool(host.entry(400) & p.SPECIAL) is (order == 0)
    host.swap_out(1 << order)
    assert host.see(9).swapped
    assert host.machine.memory.free.value == 4096


def test_a_guest_that_reads_the_huge_zero_page_loses_it_to_the_write() -> None:
    host = Host("7.3", 1024, huge=True)
    vm = host.machine.start_vm(host.process)
    host.machine.touch_guest(vm, 3, write=False)
    host.machine.touch_guest(vm, 500, write=False)
    assert host.counted()["kvm_tdp_mmu_map"] == 1  # 2 MiB of zeros, mapped read-only
    host.machine.touch_guest(vm, 500, write=True)
    found = host.counted()
    assert found["kvm_unmap_gfn_range"] == found["kvm_tdp_mmu_map"] == 1
    host.machine.touch_guest(vm, 3, write=True)
    assert host.counted()["kvm_tdp_mmu_map"] == 0  # 2 MiB are mapped already
    assert host.folio(3).order == 9


def test_part_of_a_huge_page_unmapped_leaves_the_folio_whole() -> None:
    host = Host("6.12", 512, huge=True)
    host.write(0)
    folio = host.folio(0)
    host.machine.unmap(host.process, 0, 100)
    assert host.entry(50) == 0
    assert host.folio(100) is folio
    host.machine.unmap(host.process, 100, 412)
    assert folio.freed
    assert host.machine.memory.free.value == 4096


def test_file_pages_come_back_with_a_shadow() -> None:
    file = AddressSpace("file")
    host = Host("6.12", 64, file=file)
    host.read(*range(64))
    assert file.cached() == list(range(64))
    assert host.counted()["work:disk_read"] == 64
    host.swap_out(64)
    assert file.cached() == []
    host.read(9)
    assert host.counted()["workingset_refault"] == 1
    assert host.machine.memory.swap_used.value == 0


def test_two_processes_share_the_pages_of_a_file() -> None:
    file = AddressSpace("file")
    host = Host("6.12", 64, file=file)
    other = host.machine.add_process("q", host.process.pages, file=file)
    host.read(1)
    host.machine.touch_host(other, 1, write=True)
    assert len(host.folio(1).mappings.value) == 2
    assert host.flags(1) & PG_DIRTY
    host.machine.end_process(other)
    assert len(host.folio(1).mappings.value) == 1
    assert host.machine.writeback(file) == 1
    assert host.machine.writeback(file) == 0


def test_locked_memory_is_on_no_list_and_stays() -> None:
    host = Host()
    host.write(*range(64))
    host.machine.mlock(host.process, 0, 32)
    assert host.flags(0) & (PG_MLOCKED | PG_UNEVICTABLE | PG_LRU | PG_ACTIVE) == PG_MLOCKED | PG_UNEVICTABLE | PG_LRU
    assert host.see(0).seq == -1
    for _ in range(3):
        host.machine.age()
    host.machine.reclaim(Bytes(64 << 12))
    assert [host.see(page).swapped for page in range(64)] == [0] * 32 + [1] * 32
    host.machine.mlock(host.process, 0, 32, locked=False)
    assert host.see(0).seq is not None
    assert host.see(0).seq >= 0  # type: ignore[operator]
    assert host.machine.reclaim(Bytes(1 << 20)) in {0, EAGAIN}


def test_activation_waits_for_its_batch() -> None:
    host = Host("6.1")
    host.write(*range(60))
    host.machine.drain()
    for _ in range(2):
        host.machine.age()
    host.run(swap.folio_activate(host.machine.memory, host.folio(0)))
    assert host.see(0).seq == 3
    host.machine.drain()
    assert host.see(0).seq == 5
