"""DAMON's two questions about one page, by address and by frame (mm/damon/ops-common.c, vaddr.c, paddr.c; read in 7.3).

damon_*_mkold() makes a page old and idle, damon_*_young() asks later whether it was used since. Only small pages of a process are
modelled; regions and their adjustment are not.
"""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.core.effects import Acquire, Count, FetchOr, Load, Release, Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import PG_IDLE, PG_YOUNG
from agewalk.model.mm.mm import find_vma, pte_index
from agewalk.model.mm.mm_types import Folio, Mm
from agewalk.model.mm.rmap import page_vma_mapped_walk
from agewalk.model.mm.trackers.page_idle import folio_trylock, folio_unlock


def damon_ptep_mkold(folio: Folio, mm: Mm, entry: Cell, address: Hva) -> Step[None]:
    """damon_ptep_mkold(), page table lock held: PG_young if any MMU was young, PG_idle in any case."""
    yield Count("damon_ptep_mkold")
    young = yield from p.ptep_test_and_clear_young(entry)
    young |= bool((yield from mmu_notifier.clear_young(mm, address, Hva(address + PAGE_SIZE))))
    if young:
        yield FetchOr(folio.flags, PG_YOUNG)
    yield FetchOr(folio.flags, PG_IDLE)


def _is_young(folio: Folio, mm: Mm, entry: Cell, address: Hva) -> Step[bool]:
    """The primary entry, then the flag, then the secondary MMUs; the first that says used ends it."""
    if p.pte_young((yield Load(entry))) or not (yield Load(folio.flags)) & PG_IDLE:
        return True
    return bool((yield from mmu_notifier.test_young(mm, address)))


def damon_va_mkold(folio: Folio, mm: Mm, address: Hva) -> Step[None]:
    """damon_va_mkold(): the entry at an address, which maps `folio` if it is present."""
    table = mm.table_of((yield Load(mm.pmd_cell(address))))
    yield Acquire(table.ptl)
    entry = table.ptes[pte_index(address)]
    if p.pte_present((yield Load(entry))):
        yield from damon_ptep_mkold(folio, mm, entry, address)
    yield Release(table.ptl)


def damon_va_young(folio: Folio, mm: Mm, address: Hva) -> Step[bool]:
    """damon_va_young()."""
    yield Count("damon_va_young")
    table = mm.table_of((yield Load(mm.pmd_cell(address))))
    yield Acquire(table.ptl)
    entry, young = table.ptes[pte_index(address)], False
    if p.pte_present((yield Load(entry))):
        young = yield from _is_young(folio, mm, entry, address)
    yield Release(table.ptl)
    return young


def damon_folio_mkold(folio: Folio) -> Step[None]:
    """damon_folio_mkold(): through the rmap. An unmapped folio is idle at once; a locked one is left as it is."""
    mappings = yield Load(folio.mappings)
    if not mappings:
        yield FetchOr(folio.flags, PG_IDLE)
        return
    if not (yield from folio_trylock(folio)):
        return
    for mm, start in mappings:
        vma = find_vma((yield Load(mm.vmas)), start)
        pvmw = None if vma is None else (yield from page_vma_mapped_walk(folio, mm, vma, start))
        if pvmw is not None:
            if pvmw.pte is not None:
                yield from damon_ptep_mkold(folio, mm, pvmw.pte, start)
            yield Release(pvmw.ptl)
    yield from folio_unlock(folio)


def damon_folio_young(folio: Folio) -> Step[bool]:
    """damon_folio_young(): was it used through any mapping? A locked folio counts as unused."""
    mappings = yield Load(folio.mappings)
    if not mappings:
        return not (yield Load(folio.flags)) & PG_IDLE
    if not (yield from folio_trylock(folio)):
        return False
    young = False
    for mm, start in mappings:
        vma = find_vma((yield Load(mm.vmas)), start)
        pvmw = None if vma is None else (yield from page_vma_mapped_walk(folio, mm, vma, start))
        if pvmw is not None:
            if pvmw.pte is not None:
                young = yield from _is_young(folio, mm, pvmw.pte, start)
            yield Release(pvmw.ptl)
        if young:
            break
    yield from folio_unlock(folio)
    return young
