"""Idle page tracking: /sys/kernel/mm/page_idle/bitmap (mm/page_idle.c, read in 6.12 and 7.3).

It clears accessed bits that reclaim wants, and leaves PG_young in their place. folio_referenced() reads that flag. A page-table
walk of MGLRU does not.
"""

from __future__ import annotations

from agewalk.core.effects import Count, FetchAnd, FetchOr, Load, Release, Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.folio import PG_IDLE, PG_LOCKED, PG_YOUNG
from agewalk.model.mm.mm import find_vma
from agewalk.model.mm.mm_types import Folio, Mm
from agewalk.model.mm.pte import ptep_test_and_clear_young
from agewalk.model.mm.rmap import page_vma_mapped_walk

PMD_SIZE = 512 * PAGE_SIZE


def folio_trylock(folio: Folio) -> Step[bool]:
    """folio_trylock(): PG_locked by one atomic operation, without waiting."""
    return not (yield FetchOr(folio.flags, PG_LOCKED)) & PG_LOCKED


def folio_unlock(folio: Folio) -> Step[None]:
    """folio_unlock()."""
    yield FetchAnd(folio.flags, ~PG_LOCKED)


def page_idle_clear_pte_refs_one(folio: Folio, mm: Mm, start: Hva) -> Step[None]:
    """page_idle_clear_pte_refs_one(): one mapping of the folio, every entry under its lock.

    Each entry and its secondary MMUs are made old. If one was young, PG_idle goes and PG_young comes, after the page table lock
    is released (page_vma_mapped_walk() ends first).
    """
    yield Count("page_idle_clear_pte_refs_one")
    vma = find_vma((yield Load(mm.vmas)), start)
    if vma is None:
        return
    referenced = False
    address = start
    while address < start + folio.pages * PAGE_SIZE:
        pvmw = yield from page_vma_mapped_walk(folio, mm, vma, address)
        if pvmw is not None:
            cell, size = (pvmw.pmd, PMD_SIZE) if pvmw.pte is None else (pvmw.pte, PAGE_SIZE)
            referenced |= yield from ptep_test_and_clear_young(cell)
            referenced |= bool((yield from mmu_notifier.clear_young(mm, address, Hva(address + size))))
            yield Release(pvmw.ptl)
            if pvmw.pte is None:
                break
        address = Hva(address + PAGE_SIZE)
    if referenced:
        yield FetchAnd(folio.flags, ~PG_IDLE)
        yield FetchOr(folio.flags, PG_YOUNG)


def page_idle_clear_pte_refs(folio: Folio) -> Step[None]:
    """page_idle_clear_pte_refs(): every mapping. Does nothing while the folio is locked, by reclaim for one."""
    mappings = yield Load(folio.mappings)
    if not mappings or not (yield from folio_trylock(folio)):
        return
    for mm, start in mappings:
        yield from page_idle_clear_pte_refs_one(folio, mm, start)
    yield from folio_unlock(folio)


def page_idle_bitmap_write(folio: Folio) -> Step[None]:
    """page_idle_bitmap_write() of one bit: from now on the page counts as idle until it is seen used."""
    yield from page_idle_clear_pte_refs(folio)
    yield FetchOr(folio.flags, PG_IDLE)


def page_idle_bitmap_read(folio: Folio) -> Step[bool]:
    """page_idle_bitmap_read() of one bit: is the page still idle?"""
    if not (yield Load(folio.flags)) & PG_IDLE:
        return False
    yield from page_idle_clear_pte_refs(folio)
    return bool((yield Load(folio.flags)) & PG_IDLE)
