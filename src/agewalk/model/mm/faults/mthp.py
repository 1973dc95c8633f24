"""Anonymous folios of more than one page that PTEs map: multi-size THP (mm/memory.c, 7.3).

They come at a fault, and back from swap if their slots were allocated together.
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
from agewalk.model.mm.mm_types import HPAGE_PMD_ORDER, Folio, Memory, PteTable, SwapSlot, Vma


def pte_range_none(cells: Iterable[Cell]) -> Step[bool]:
    """pte_range_none(): is none of these entries in use?"""
    for cell in cells:
        if (yield Load(cell)) != p.NONE:
            return False
    return True


def suitable_orders(vma: Vma, address: Hva) -> list[int]:
    """thp_vma_suitable_orders() of what is enabled: orders whose range around `address` lies in the VMA, largest first."""
    found = []
    for order in range(HPAGE_PMD_ORDER - 1, 0, -1):
        size = PAGE_SIZE << order
        start = address & -size
        if vma.orders >> order & 1 and vma.start <= start and start + size <= vma.end:
            found.append(order)
    return found


def thp_swapin_suitable_orders(
    memory: Memory, vma: Vma, table: PteTable, address: Hva, slot: SwapSlot
) -> Step[list[int]]:
    """thp_swapin_suitable_orders() (7.3): orders at which the page in `slot` may come back, largest first: all entries of the
    range name neighbouring slots, aligned likewise. Slots that are neighbours by chance do not count here."""
    if not memory.features.large_swapin or not slot.run:
        return []
    at = slot.run.index(slot)
    found: list[int] = []
    for order in suitable_orders(vma, address):
        pages = 1 << order
        first = pte_index(address) & -pages
        if pages > len(slot.run) or (at ^ pte_index(address)) & pages - 1:
            continue
        if found or (yield from names_slots(table, first, slot.run[at & -pages :][:pages])):
            found.append(order)
    return found


def names_slots(table: PteTable, first: int, slots: tuple[SwapSlot, ...]) -> Step[bool]:
    """swap_pte_batch(): do the entries from `first` on name these slots, one after the other?"""
    for i, slot in enumerate(slots):
        if (yield Load(table.ptes[first + i])) != p.make_swap_pte(slot.index):
            return False
    return True


def alloc_swapin_folio(memory: Memory, orders: list[int], slot: SwapSlot) -> Step[tuple[Folio, tuple[SwapSlot, ...]]]:
    """swap_cache_alloc_folio() up to its allocation: a folio of the largest order that is free without reclaim and meets none
    in the swap cache, with its slots; else one page."""
    for order in orders:
        pages = 1 << order
        slots = slot.run[slot.run.index(slot) & -pages :][:pages]
        if (yield Load(memory.free)) - pages < memory.minimum:
            continue
        cached = False
        for other in slots:
            cached |= (yield Load(other.folio)) is not None
        if not cached:
            return (yield from alloc_folio(memory, ANON, order)), slots
    return (yield from alloc_folio(memory, ANON)), (slot,)


def alloc_anon_folio(memory: Memory, vma: Vma, table: PteTable, address: Hva) -> Step[Folio]:
    """alloc_anon_folio(): the largest folio that is enabled, fits the VMA, meets no entry in use and is free without reclaim
    (vma_thp_gfp_mask() is GFP_TRANSHUGE_LIGHT by default); else one page."""
    allowed = False
    for order in suitable_orders(vma, address) if memory.features.anon_mthp else ():
        if not allowed:  # below the first order that is free of entries, all are
            first = pte_index(address) & -1 << order
            allowed = yield from pte_range_none(table.ptes[first + i] for i in range(1 << order))
        if not allowed:
            continue
        if (yield Load(memory.free)) - (1 << order) >= memory.minimum:
            return (yield from alloc_folio(memory, ANON, order))
        yield Count("anon_fault_fallback")
    return (yield from alloc_folio(memory, ANON))
