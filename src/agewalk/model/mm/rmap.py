"""mm/rmap.c: from a folio to the page table entries that map it. Was it used there, and take it away from there.

The kernel finds mappings through anon_vma and i_mmap trees under their own locks; here `Folio.mappings` is what they would
give. The lock that matters for accessed bits is the page table's.
"""

from __future__ import annotations

from typing import Any

from agewalk.core.effects import (
    Acquire,
    Count,
    Exchange,
    FetchAdd,
    FetchAnd,
    FetchOr,
    FlushTlb,
    Load,
    Release,
    Step,
    Store,
)
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.faults.huge import PMD_SIZE, split_huge_pmd
from agewalk.model.mm.folio import ANON, PG_DIRTY, PG_IDLE, PG_MLOCKED, PG_SWAPCACHE, PG_YOUNG
from agewalk.model.mm.mm import find_vma, pte_index
from agewalk.model.mm.mm_types import Folio, Memory, Mm, NotifierRange, PageVmaMappedWalk, SwapSlot, Vma
from agewalk.model.mm.pte_batch import folio_pte_batch


def maps(entry: int, folio: Folio) -> bool:
    """check_pte(): does a present entry map a frame of `folio`?"""
    return p.pte_present(entry) and not entry & p.SPECIAL and folio.pfn <= p.pte_pfn(entry) < folio.pfn + folio.pages


def page_vma_mapped_walk(folio: Folio, mm: Mm, vma: Vma, address: Hva) -> Step[PageVmaMappedWalk | None]:
    """page_vma_mapped_walk() at one page: the entry that maps it, its page table lock taken; None (and no lock) if none does."""
    pmd_cell = mm.pmd_cell(address)
    pmd: int = yield Load(pmd_cell)
    if pmd & p.PSE:
        yield Acquire(mm.pmd_ptl)
        if maps((yield Load(pmd_cell)), folio):
            return PageVmaMappedWalk(folio, mm, vma, address, pmd_cell, None, None, mm.pmd_ptl)
        yield Release(mm.pmd_ptl)
        return None
    if not p.pte_present(pmd):
        return None
    table = mm.table_of(pmd)
    cell = table.ptes[pte_index(address)]
    yield Acquire(table.ptl)
    if maps((yield Load(cell)), folio):
        return PageVmaMappedWalk(folio, mm, vma, address, pmd_cell, table, cell, table.ptl)
    yield Release(table.ptl)
    return None


def folio_referenced(folio: Folio, mm_walk: Any = None) -> Step[tuple[int, bool]]:
    """folio_referenced(): (mappings through which it was used, their bits cleared; is it in a locked VMA).

    mm_walk: what Lruvec.referenced_one() is given: the reclaiming task's own walk.
    """
    referenced = 0
    for mm, start in (yield Load(folio.mappings)):
        used, locked = yield from folio_referenced_one(folio, mm, start, mm_walk)
        if locked:
            return referenced, True
        referenced += used
    return referenced, False


def folio_referenced_one(folio: Folio, mm: Mm, start: Hva, mm_walk: Any) -> Step[tuple[bool, bool]]:
    """folio_referenced_one(): one mapping of the folio, all its entries."""
    yield Count("folio_referenced_one")
    vma = find_vma((yield Load(mm.vmas)), start)
    if vma is None:
        return False, False
    references = ptes = 0
    address = start
    while address < start + folio.pages * PAGE_SIZE:
        pvmw = yield from page_vma_mapped_walk(folio, mm, vma, address)
        if pvmw is None:
            address = Hva(address + PAGE_SIZE)
            continue
        if vma.locked:  # the mlock that was missed
            yield FetchOr(folio.flags, PG_MLOCKED)
            yield Release(pvmw.ptl)
            return False, True
        nr = 1
        if folio.order and pvmw.table is not None and pvmw.pte is not None and folio.lruvec.asks_about_folios():
            most = (min((address | PMD_SIZE - 1) + 1, vma.end) - address) // PAGE_SIZE
            nr = yield from folio_pte_batch(folio, pvmw.table, address, (yield Load(pvmw.pte)), most)
        references += yield from folio.lruvec.referenced_one(pvmw, mm_walk, nr)
        yield Release(pvmw.ptl)
        ptes += nr
        if pvmw.pte is None or ptes == folio.pages:
            break
        address = Hva(address + nr * PAGE_SIZE)
    flags: int = yield Load(folio.flags)
    if references and flags & PG_IDLE:
        yield FetchAnd(folio.flags, ~PG_IDLE)
    if flags & PG_YOUNG:  # page_idle or DAMON took the accessed bit and left this
        references += 1
        yield FetchAnd(folio.flags, ~PG_YOUNG)
    return bool(references), False


def try_to_unmap(memory: Memory, folio: Folio) -> Step[bool]:
    """try_to_unmap() with TTU_BATCH_FLUSH | TTU_SPLIT_HUGE_PMD: is it unmapped everywhere now? Anonymous entries become swap
    entries."""
    for mm, start in (yield Load(folio.mappings)):
        if not (yield from try_to_unmap_one(memory, folio, mm, start)):
            return False
    return not (yield Load(folio.mappings))


def try_to_unmap_one(memory: Memory, folio: Folio, mm: Mm, start: Hva) -> Step[bool]:
    """try_to_unmap_one(): secondary MMUs first (invalidate_range_start), then each entry under its lock."""
    yield Count("try_to_unmap_one")
    vma = find_vma((yield Load(mm.vmas)), start)
    if vma is None:
        return True
    end = Hva(start + folio.pages * PAGE_SIZE)
    rng = NotifierRange(mm, start, end)
    yield from mmu_notifier.invalidate_range_start(rng)
    unmapped = True
    address = start
    while address < end:
        pvmw = yield from page_vma_mapped_walk(folio, mm, vma, address)
        if pvmw is None:
            address = Hva(address + PAGE_SIZE)
            continue
        if vma.locked:
            yield FetchOr(folio.flags, PG_MLOCKED)
            yield Release(pvmw.ptl)
            unmapped = False
            break
        if pvmw.pte is None:
            yield from split_huge_pmd(mm, address)
            yield Release(pvmw.ptl)
            continue
        yield from _unmap_pte(memory, pvmw)
        yield Release(pvmw.ptl)
        address = Hva(address + PAGE_SIZE)
    if unmapped:
        yield from folio_remove_rmap(folio, mm, start)
    yield from mmu_notifier.invalidate_range_end(rng)
    return unmapped


def _unmap_pte(memory: Memory, pvmw: PageVmaMappedWalk) -> Step[None]:
    """The entry is cleared and the TLBs flushed (or that is put off, should_defer_flush()); its dirty bit goes to the folio; a
    swap entry takes its place."""
    folio, cell = pvmw.folio, pvmw.pte
    assert cell is not None
    entry: int = yield Exchange(cell, p.NONE)
    if memory.cpus > 1:
        yield Store(memory.tlb_flush_pending, True)
    else:
        yield from flush_tlb(pvmw.mm)
    if p.pte_dirty(entry):
        yield FetchOr(folio.flags, PG_DIRTY)
    if folio.type == ANON and (yield Load(folio.flags)) & PG_SWAPCACHE:
        slots: tuple[SwapSlot, ...] = yield Load(folio.backing)
        slot = slots[p.pte_pfn(entry) - folio.pfn]
        yield FetchAdd(slot.count, 1)
        yield Store(cell, p.make_swap_pte(slot.index))


def flush_tlb(mm: Mm) -> Step[None]:
    """flush_tlb_mm_range(): with an IPI to each CPU that runs the mm."""
    yield Count("flush_tlb_mm_range")
    yield FlushTlb(mm)


def try_to_unmap_flush(memory: Memory) -> Step[None]:
    """try_to_unmap_flush(): one flush for all that was unmapped since the last one."""
    if (yield Exchange(memory.tlb_flush_pending, False)):
        yield Count("arch_tlbbatch_flush")
        yield FlushTlb(memory)


def folio_add_new_anon_rmap(folio: Folio, mm: Mm, address: Hva) -> Step[None]:
    """folio_add_new_anon_rmap(): the first mapping of a new page."""
    yield Store(folio.mappings, ((mm, address),))


def folio_add_file_rmap(folio: Folio, mm: Mm, address: Hva) -> Step[None]:
    """folio_add_file_rmap_pte(), and a swap-cached page mapped again (folio_add_anon_rmap_pte())."""
    mappings = yield Load(folio.mappings)
    yield Store(folio.mappings, (*mappings, (mm, address)))


def folio_remove_rmap(folio: Folio, mm: Mm, address: Hva) -> Step[None]:
    """folio_remove_rmap_pte(): one mapping fewer; the mapping's reference is not counted in `refcount`."""
    mappings = yield Load(folio.mappings)
    yield Store(folio.mappings, tuple(m for m in mappings if m != (mm, address)))
