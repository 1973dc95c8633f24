"""Taking mappings away: munmap() and the end of a process (mm/memory.c zap_pte_range(), mm/mmap.c)."""

from __future__ import annotations

from dataclasses import replace

from agewalk.core.cells import Cell
from agewalk.core.effects import Acquire, Exchange, FetchAdd, FetchOr, Load, Release, Step, Store
from agewalk.core.units import PAGE_SIZE, PMD_SHIFT, Hva
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.faults.huge import PMD_SIZE, split_huge_pmd
from agewalk.model.mm.folio import ANON, FILE, PG_DIRTY, PG_SWAPCACHE
from agewalk.model.mm.mm_types import Folio, Memory, Mm, NotifierRange, PteTable, SwapSlot, Vma
from agewalk.model.mm.rmap import flush_tlb, folio_remove_rmap
from agewalk.model.mm.swap import folio_mark_accessed, release_folio
from agewalk.model.mm.swapfile import delete_from_swap_cache, swap_free


def munmap(memory: Memory, mm: Mm, start: Hva, end: Hva) -> Step[None]:
    """munmap() of [start, end), bytes, page aligned: secondary MMUs are told, then entries go, pages are freed, and the VMAs
    shrink."""
    yield Acquire(mm.mmap_lock)
    vmas: tuple[Vma, ...] = yield Load(mm.vmas)
    for vma in vmas:
        if vma.start < end and start < vma.end:
            yield from unmap_single_vma(memory, mm, vma, Hva(max(start, vma.start)), Hva(min(end, vma.end)))
    yield Store(mm.vmas, cut(vmas, start, end))
    yield Release(mm.mmap_lock)


def cut(vmas: tuple[Vma, ...], start: Hva, end: Hva) -> tuple[Vma, ...]:
    """`vmas` without [start, end)."""
    left: list[Vma] = []
    for vma in vmas:
        if vma.end <= start or end <= vma.start:
            left.append(vma)
            continue
        if vma.start < start:
            left.append(replace(vma, end=start))
        if end < vma.end:
            left.append(replace(vma, start=end, file_page=file_page_at(vma, end)))
    return tuple(left)


def file_page_at(vma: Vma, address: Hva) -> int:
    """Page of the file that `address` shows; 0 in anonymous memory."""
    return 0 if vma.anon else vma.file_page + (address - vma.start) // PAGE_SIZE


def exit_mmap(memory: Memory, mm: Mm) -> Step[None]:
    """exit_mmap(): every subscriber of the mm is released first, then all of its memory goes."""
    yield from mmu_notifier.release(mm)
    vmas: tuple[Vma, ...] = yield Load(mm.vmas)
    if vmas:
        yield from munmap(memory, mm, vmas[0].start, vmas[-1].end)


def unmap_single_vma(memory: Memory, mm: Mm, vma: Vma, start: Hva, end: Hva) -> Step[None]:
    """unmap_vmas() of one VMA, between the notifier's start and end; one TLB flush for all (tlb_finish_mmu())."""
    rng = NotifierRange(mm, start, end)
    yield from mmu_notifier.invalidate_range_start(rng)
    flush = False
    address = start
    while address < end:
        stop = Hva(min((address | PMD_SIZE - 1) + 1, end))
        flush |= yield from _zap_pmd(memory, mm, vma, address, stop)
        address = stop
    if flush:
        yield from flush_tlb(mm)
    yield from mmu_notifier.invalidate_range_end(rng)


def _zap_pmd(memory: Memory, mm: Mm, vma: Vma, start: Hva, end: Hva) -> Step[bool]:
    """zap_pmd_range() within one PMD entry. A huge page that goes in part is split first."""
    if start >> PMD_SHIFT not in mm.pmds:
        return False
    pmd_cell = mm.pmd_cell(start)
    pmd: int = yield Load(pmd_cell)
    if not p.pte_present(pmd):
        return False
    if pmd & p.PSE:
        yield Acquire(mm.pmd_ptl)
        if end - start == PMD_SIZE:
            yield Exchange(pmd_cell, p.NONE)
            yield Release(mm.pmd_ptl)
            if not pmd & p.SPECIAL:
                yield from _zap_present(memory, mm, vma, start, pmd & ~p.PSE, last=True)
            return True
        yield from split_huge_pmd(mm, start)
        yield Release(mm.pmd_ptl)
        pmd = yield Load(pmd_cell)
    table: PteTable = mm.table_of(pmd)
    flush = False
    yield Acquire(table.ptl)
    for address in range(start, end, PAGE_SIZE):
        cell = table.ptes[address >> 12 & 511]
        flush |= yield from _zap_pte(memory, mm, vma, Hva(address), cell)
    yield Release(table.ptl)
    return flush


def _zap_pte(memory: Memory, mm: Mm, vma: Vma, address: Hva, cell: Cell) -> Step[bool]:
    """zap_pte_range() at one entry: was it present?"""
    entry: int = yield Load(cell)
    if entry == p.NONE:
        return False
    entry = yield Exchange(cell, p.NONE)
    if p.pte_is_swap(entry):
        yield from free_swap_and_cache(memory, memory.slot(p.pte_pfn(entry)))
        return False
    if not entry & p.SPECIAL:
        yield from _zap_present(memory, mm, vma, address, entry, last=False)
    return True


def free_swap_and_cache(memory: Memory, slot: SwapSlot) -> Step[None]:
    """free_swap_and_cache(): the entry's share of the slot, and the cached copy if it has no other user."""
    folio: Folio | None = yield Load(slot.folio)
    yield from swap_free(memory, slot)
    if folio is None or (yield Load(folio.mappings)) or (yield Load(folio.refcount)) != 1:
        return
    for other in (yield Load(folio.backing)):
        if (yield Load(other.count)):
            return
    yield from delete_from_swap_cache(memory, folio)
    yield Store(folio.refcount, 0)
    yield from release_folio(memory, folio)


def _zap_present(memory: Memory, mm: Mm, vma: Vma, address: Hva, entry: int, *, last: bool) -> Step[None]:
    """zap_present_folio_ptes(): dirty and accessed bits of file pages go to the folio, then the mapping is gone."""
    folio = memory.folio(p.pte_pfn(entry))
    if folio.type == FILE:
        if p.pte_dirty(entry):
            yield FetchOr(folio.flags, PG_DIRTY)
        if p.pte_young(entry) and not vma.sequential:
            yield from folio_mark_accessed(folio)
    if folio.order and not last:
        if (yield from _still_mapped(folio)):
            return  # deferred split: freed when its last page goes
        address = Hva(address - (p.pte_pfn(entry) - folio.pfn) * PAGE_SIZE)
    yield from folio_remove_rmap(folio, mm, address)
    if (yield Load(folio.mappings)):
        return
    if folio.type == ANON and (yield Load(folio.flags)) & PG_SWAPCACHE:
        slots: tuple[SwapSlot, ...] = yield Load(folio.backing)
        for slot in slots:
            if (yield Load(slot.count)):
                return
        if (yield Load(folio.refcount)) == 1:
            yield from delete_from_swap_cache(memory, folio)
            yield FetchAdd(folio.refcount, -1)
    if not (yield Load(folio.refcount)):
        yield from release_folio(memory, folio)


def _still_mapped(folio: Folio) -> Step[bool]:
    """Does any entry still map a page of a large folio?"""
    for owner, start in (yield Load(folio.mappings)):
        pmd: int = yield Load(owner.pmd_cell(start))
        table = owner.table_of(pmd)
        for cell in table.ptes.every():
            entry: int = yield Load(cell)
            if p.pte_present(entry) and folio.pfn <= p.pte_pfn(entry) < folio.pfn + folio.pages:
                return True
    return False
