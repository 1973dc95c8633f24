"""Every page as plain values: what a witness records, and what the compiled engine must agree with."""

from __future__ import annotations

from typing import NamedTuple

from agewalk.core.units import PMD_SHIFT
from agewalk.model.machine.parts import Process
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import (
    PG_ACTIVE,
    PG_DIRTY,
    PG_LRU,
    PG_REFERENCED,
    PG_SWAPCACHE,
    PG_WORKINGSET,
    folio_lru_gen,
    folio_lru_refs_field,
)
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import Folio, Memory


class PageView(NamedTuple):
    """One page of a process. All but `swapped` are None if it is not present.

    seq: generation; -1: on no list (isolated, in a CPU's batch, or the shared zero page). refs: the LRU_REFS field.
    """

    seq: int | None
    swapped: int
    referenced: int | None = None
    workingset: int | None = None
    refs: int | None = None
    active: int | None = None
    dirty: int | None = None
    swapcache: int | None = None
    lru: int | None = None


NOT_THERE = PageView(None, 0)
SWAPPED = PageView(None, 1)


def entry_of(process: Process, page: int) -> int:
    """The page table entry of a page; a huge one if a huge one maps it; 0 if there is none."""
    mm = process.mm
    hva = process.hva(page)
    pmd = mm.pmds.get(hva >> PMD_SHIFT)
    if pmd is None or not pmd.value & p.PRESENT:
        return 0
    if pmd.value & p.PSE:
        return int(pmd.value)
    return int(mm.table_of(pmd.value).ptes[pte_index(hva)].value)


def folio_of(memory: Memory, process: Process, page: int) -> Folio | None:
    """The folio of a present page."""
    entry = entry_of(process, page)
    return memory.folio(p.pte_pfn(entry & ~p.PSE)) if entry & p.PRESENT else None


def cached_folio(memory: Memory, process: Process, page: int) -> Folio | None:
    """The folio of a page that is present or, unmapped by reclaim and not freed, in the swap cache."""
    entry = entry_of(process, page)
    if p.pte_is_swap(entry):
        folio: Folio | None = memory.slot(p.pte_pfn(entry)).folio.value
        return folio
    return memory.folio(p.pte_pfn(entry & ~p.PSE)) if entry & p.PRESENT else None


def page_view(memory: Memory, process: Process, page: int, max_seq: int) -> PageView:
    """One page now."""
    entry = entry_of(process, page)
    if not entry & p.PRESENT:
        return SWAPPED if p.pte_is_swap(entry) else NOT_THERE
    folio = memory.folio(p.pte_pfn(entry))
    flags: int = folio.flags.value
    gen = folio_lru_gen(flags)
    return PageView(
        seq=-1 if gen < 0 else max_seq - (max_seq - gen) % 4,
        swapped=0,
        referenced=int(bool(flags & PG_REFERENCED)),
        workingset=int(bool(flags & PG_WORKINGSET)),
        refs=folio_lru_refs_field(flags),
        active=int(bool(flags & PG_ACTIVE)),
        dirty=int(bool(flags & PG_DIRTY)),
        swapcache=int(bool(flags & PG_SWAPCACHE)),
        lru=int(bool(flags & PG_LRU)),
    )
