"""Anonymous folios of more than one page that PTEs map: multi-size THP (mm/memory.c, 7.3).

They come at a fault. What was swapped out comes back page by page (docs/deviations.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from agewalk.core.cells import Cell
from agewalk.core.effects import Count, Load, Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import ANON
from agewalk.model.mm.memory import alloc_folio
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import HPAGE_PMD_ORDER, Folio, Memory, PteTable, Vma


def pte_range_none(cells: Iterable[Cell]) -> Step[bool]:
    """pte_range_none(): is none of these entries in use?"""
    for cell in cells:
        if (yield Load(cell)) != p.NONE:
            return False
    return True


def alloc_anon_folio(memory: Memory, vma: Vma, table: PteTable, address: Hva) -> Step[Folio]:
    """alloc_anon_folio(): the largest folio that is enabled, fits the VMA, meets no entry in use and is free without reclaim
    (vma_thp_gfp_mask() is GFP_TRANSHUGE_LIGHT by default); else one page."""
    orders = [order for order in range(HPAGE_PMD_ORDER - 1, 0, -1) if vma.orders >> order & 1]
    allowed = False
    for order in orders if memory.features.anon_mthp else ():
        size = PAGE_SIZE << order
        start = Hva(address & -size)
        if start < vma.start or start + size > vma.end:
            continue
        if not allowed:  # below the first order that is free of entries, all are
            first = pte_index(start)
            allowed = yield from pte_range_none(table.ptes[first + i] for i in range(1 << order))
        if not allowed:
            continue
        if (yield Load(memory.free)) - (1 << order) >= memory.minimum:
            return (yield from alloc_folio(memory, ANON, order))
        yield Count("anon_fault_fallback")
    return (yield from alloc_folio(memory, ANON))
