"""mm/huge_memory.c: 2 MiB folios mapped by one PMD entry, and the same folio mapped by 512 PTEs after a split of the entry."""

from __future__ import annotations

from typing import Final

from agewalk.core.effects import RELEASE, Acquire, FetchAnd, Load, Release, Step, Store, Work
from agewalk.core.units import PMD_SHIFT, PTRS_PER_PTE, Hva, Pfn
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import ANON
from agewalk.model.mm.memory import HPAGE_PMD_NR, HPAGE_PMD_ORDER, Memory, alloc_folio
from agewalk.model.mm.mm import Mm, PteTable, Vma
from agewalk.model.mm.swap import folio_add_lru, folio_put

PMD_SIZE: Final = 1 << PMD_SHIFT


def huge_fits(vma: Vma, address: Hva) -> bool:
    """thp_vma_suitable_order(): the aligned 2 MiB around `address` lie in an anonymous VMA."""
    start = address & -PMD_SIZE
    return vma.anon and vma.start <= start and start + PMD_SIZE <= vma.end


def do_huge_pmd_anonymous_page(memory: Memory, mm: Mm, vma: Vma, address: Hva, *, in_fault: bool) -> Step[None]:
    """do_huge_pmd_anonymous_page(): 2 MiB at once."""
    start = Hva(address & -PMD_SIZE)
    cell = mm.pmd_cell(start)
    folio = yield from alloc_folio(memory, ANON, HPAGE_PMD_ORDER)
    yield Work("zero_page", HPAGE_PMD_NR)
    yield Acquire(mm.pmd_ptl)
    if (yield Load(cell)) == p.NONE:
        yield Store(folio.mappings, ((mm, start),))
        yield from folio_add_lru(memory, folio, in_fault=in_fault and not vma.locked)
        yield Store(cell, p.make_pte(folio.pfn, writable=True, dirty=True) | p.PSE)
    yield Release(mm.pmd_ptl)
    yield from folio_put(memory, folio)


def split_huge_pmd(mm: Mm, address: Hva) -> Step[None]:
    """__split_huge_pmd_locked(), pmd_ptl held, secondary MMUs told: the huge entry becomes a table of 512 entries that map the
    same frames, each young, dirty and writable as the huge one was. The folio stays whole."""
    cell = mm.pmd_cell(address)
    pmd: int = yield Load(cell)
    yield FetchAnd(cell, ~p.PRESENT)  # pmdp_invalidate(): no CPU sets bits in it from here on
    table: PteTable = mm.new_table(address)
    first = p.pte_pfn(pmd & ~p.PSE)
    for i in range(PTRS_PER_PTE):
        entry = p.make_pte(Pfn(first + i), writable=bool(pmd & p.RW), young=p.pte_young(pmd), dirty=p.pte_dirty(pmd))
        yield Store(table.ptes[i], entry)
    yield Store(cell, p.make_pte(table.pfn, writable=True), RELEASE)
