"""mm/huge_memory.c: 2 MiB folios mapped by one PMD entry, and the same folio mapped by 512 PTEs after a split of the entry.

What is only read first is mapped by the huge zero page: an entry with PSE and SPECIAL that cannot be written. No khugepaged:
a page table never becomes a huge entry again.
"""

from __future__ import annotations

from typing import Final

from agewalk.core.effects import RELEASE, Acquire, Count, FetchAnd, FlushTlb, Load, Release, Step, Store, Work
from agewalk.core.units import PMD_SHIFT, PTRS_PER_PTE, Hva, Pfn
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import ANON
from agewalk.model.mm.memory import alloc_folio
from agewalk.model.mm.mm_types import (
    HPAGE_PMD_NR,
    HPAGE_PMD_ORDER,
    ZERO_PFN,
    Folio,
    Memory,
    Mm,
    NotifierRange,
    PteTable,
    Vma,
)
from agewalk.model.mm.swap import folio_add_lru, folio_put

PMD_SIZE: Final = 1 << PMD_SHIFT


def huge_fits(vma: Vma, address: Hva) -> bool:
    """thp_vma_suitable_order(): the aligned 2 MiB around `address` lie in an anonymous VMA."""
    start = address & -PMD_SIZE
    return vma.anon and vma.start <= start and start + PMD_SIZE <= vma.end


def alloc_anon_folio_pmd(memory: Memory) -> Step[Folio | None]:
    """vma_alloc_anon_folio_pmd() (7.3 mm/huge_memory.c): None if 2 MiB are not free above the watermark.

    By default nothing is reclaimed for them, and kswapd is not woken: vma_thp_gfp_mask() is GFP_TRANSHUGE_LIGHT unless the
    VMA was madvised or `defrag` changed (6.1 to 7.3).
    """
    if (yield Load(memory.free)) - HPAGE_PMD_NR < memory.minimum:
        yield Count("thp_fault_fallback")
        return None
    return (yield from alloc_folio(memory, ANON, HPAGE_PMD_ORDER))


def do_huge_pmd_anonymous_page(memory: Memory, mm: Mm, vma: Vma, address: Hva, *, in_fault: bool) -> Step[bool]:
    """do_huge_pmd_anonymous_page(): 2 MiB at once. False: the caller maps a small page (VM_FAULT_FALLBACK)."""
    start = Hva(address & -PMD_SIZE)
    cell = mm.pmd_cell(start)
    folio = yield from alloc_anon_folio_pmd(memory)
    if folio is None:
        return False
    yield Work("zero_page", HPAGE_PMD_NR)
    yield Acquire(mm.pmd_ptl)
    if (yield Load(cell)) == p.NONE:
        yield Store(folio.mappings, ((mm, start),))
        yield from folio_add_lru(memory, folio, in_fault=in_fault and not vma.locked)
        yield Store(cell, p.make_pte(folio.pfn, writable=True, dirty=True) | p.PSE)
    yield Release(mm.pmd_ptl)
    yield from folio_put(memory, folio)
    return True


def do_huge_zero_page(mm: Mm, address: Hva) -> Step[None]:
    """do_huge_pmd_anonymous_page() for a read: the huge zero page (transparent_hugepage_use_zero_page(), on by default)."""
    cell = mm.pmd_cell(address)
    yield Acquire(mm.pmd_ptl)
    if (yield Load(cell)) == p.NONE:
        yield Store(cell, p.make_pte(ZERO_PFN, writable=False, special=True) | p.PSE)
    yield Release(mm.pmd_ptl)


def do_huge_zero_wp_pmd(memory: Memory, mm: Mm, vma: Vma, address: Hva, *, in_fault: bool) -> Step[bool]:
    """do_huge_pmd_wp_page() of the huge zero page: since 6.13 2 MiB take its place, if there are any to be had. Otherwise, and in
    every case before, the entry is split and the caller writes to one small page: False."""
    start = Hva(address & -PMD_SIZE)
    cell = mm.pmd_cell(start)
    folio: Folio | None = None
    if memory.features.copies_huge_zero:
        folio = yield from alloc_anon_folio_pmd(memory)
    rng = NotifierRange(mm, start, Hva(start + PMD_SIZE))
    if folio is not None:
        yield Work("zero_page", HPAGE_PMD_NR)
    yield from mmu_notifier.invalidate_range_start(rng)
    yield Acquire(mm.pmd_ptl)
    huge_zero = bool((yield Load(cell)) & p.SPECIAL)
    if huge_zero and folio is None:
        yield from split_huge_pmd(mm, start)
    elif huge_zero and folio is not None:
        yield Store(cell, p.NONE)  # pmdp_huge_clear_flush()
        yield Count("flush_tlb_mm_range")
        yield FlushTlb(mm)
        yield Store(folio.mappings, ((mm, start),))
        yield from folio_add_lru(memory, folio, in_fault=in_fault and not vma.locked)
        yield Store(cell, p.make_pte(folio.pfn, writable=True, dirty=True) | p.PSE)
    yield Release(mm.pmd_ptl)
    yield from mmu_notifier.invalidate_range_end(rng)
    if folio is None:
        return False
    yield from folio_put(memory, folio)
    return True


def split_huge_pmd(mm: Mm, address: Hva) -> Step[None]:
    """__split_huge_pmd_locked(), pmd_ptl held, secondary MMUs told: the huge entry becomes a table of 512 entries that map the
    same frames, each young, dirty and writable as the huge one was. The folio stays whole. Of the huge zero page it becomes a
    table of small ones (__split_huge_zero_page_pmd())."""
    cell = mm.pmd_cell(address)
    pmd: int = yield Load(cell)
    yield FetchAnd(cell, ~p.PRESENT)  # pmdp_invalidate(): no CPU sets bits in it from here on
    table: PteTable = mm.new_table(address)
    first = p.pte_pfn(pmd & ~p.PSE)
    for i in range(PTRS_PER_PTE):
        if pmd & p.SPECIAL:
            entry = p.make_pte(ZERO_PFN, writable=False, special=True)
        else:
            entry = p.make_pte(
                Pfn(first + i), writable=bool(pmd & p.RW), young=p.pte_young(pmd), dirty=p.pte_dirty(pmd)
            )
        yield Store(table.ptes[i], entry)
    yield Store(cell, p.make_pte(table.pfn, writable=True), RELEASE)
