"""mm/memory.c: what happens when an access finds no entry, or one that does not allow it.

The caller of handle_mm_fault() holds a lock that keeps VMAs unchanged; page table locks are taken here.
"""

from __future__ import annotations

from agewalk.core.cells import Cell, Lock
from agewalk.core.effects import (
    RELEASE,
    Acquire,
    Count,
    FetchAdd,
    FetchAnd,
    FetchOr,
    Load,
    Release,
    Step,
    Store,
    Work,
)
from agewalk.core.units import PAGE_SIZE, PTRS_PER_PTE, Hva, Pfn
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.faults.huge import do_huge_pmd_anonymous_page, do_huge_zero_page, do_huge_zero_wp_pmd, huge_fits
from agewalk.model.mm.faults.mthp import (
    alloc_anon_folio,
    alloc_swapin_folio,
    names_slots,
    pte_range_none,
    thp_swapin_suitable_orders,
)
from agewalk.model.mm.filemap import filemap_fault
from agewalk.model.mm.folio import ANON, PG_DIRTY, PG_LOCKED, PG_MLOCKED, PG_SWAPCACHE, PG_UNEVICTABLE
from agewalk.model.mm.memcontrol.charge import try_charge_memcg
from agewalk.model.mm.memory import alloc_folio
from agewalk.model.mm.mm import page_of, pte_index
from agewalk.model.mm.mm_types import ZERO_PFN, Folio, Memory, Mm, NotifierRange, PteTable, SwapSlot, Vma
from agewalk.model.mm.rmap import flush_tlb, folio_add_file_rmap, folio_add_new_anon_rmap
from agewalk.model.mm.swap import folio_add_lru, folio_put, lru_add_drain
from agewalk.model.mm.swapfile import delete_from_swap_cache, folio_free_swap, swap_free


def handle_mm_fault(memory: Memory, mm: Mm, vma: Vma, address: Hva, *, write: bool) -> Step[None]:
    """handle_mm_fault(): one attempt to make `address` accessible; the access is then tried again."""
    yield Count("handle_mm_fault")
    in_fault = not vma.sequential  # lru_gen_enter_fault(): vma_has_recency()
    pmd_cell = mm.pmd_cell(address)
    pmd: int = yield Load(pmd_cell)
    if pmd & p.PSE and (pmd & p.RW or not write):  # huge_pmd_set_accessed(): another thread was first
        yield from _set_accessed(pmd_cell, mm.pmd_ptl, write=write)
        return
    if pmd & p.PSE:
        if (yield from do_huge_zero_wp_pmd(memory, mm, vma, address, in_fault=in_fault)):
            return
    elif pmd == p.NONE and vma.huge and huge_fits(vma, address):
        if not write:
            yield from do_huge_zero_page(mm, address)
            return
        if (yield from do_huge_pmd_anonymous_page(memory, mm, vma, address, in_fault=in_fault)):
            return
    table = yield from pte_alloc(memory, mm, address)
    cell = table.ptes[pte_index(address)]
    entry: int = yield Load(cell)
    if p.pte_is_swap(entry):
        yield from do_swap_page(memory, mm, vma, address, table, cell, entry, write=write, in_fault=in_fault)
    elif entry == p.NONE and vma.anon:
        yield from do_anonymous_page(memory, mm, vma, address, table, cell, write=write, in_fault=in_fault)
    elif entry == p.NONE:
        yield from do_fault(memory, mm, vma, address, table, cell, write=write, in_fault=in_fault)
    elif write and not entry & p.RW:
        yield from do_wp_page(memory, mm, vma, address, table, cell, entry, in_fault=in_fault)
    else:
        yield from _set_accessed(cell, table.ptl, write=write)


def _set_accessed(cell: Cell, ptl: Lock, *, write: bool) -> Step[None]:
    """The end of handle_pte_fault(): the entry is good, only younger and perhaps dirty."""
    yield Acquire(ptl)
    if p.pte_present((yield Load(cell))):
        yield FetchOr(cell, p.ACCESSED | (p.DIRTY if write else 0))
    yield Release(ptl)


def pte_alloc(memory: Memory, mm: Mm, address: Hva) -> Step[PteTable]:
    """pte_alloc(): the page table for `address`, a new one if there is none, charged to the memcg (GFP_PGTABLE_USER). Its PMD
    entry starts young (_PAGE_TABLE)."""
    cell = mm.pmd_cell(address)
    pmd: int = yield Load(cell)
    if p.pte_present(pmd):
        return mm.table_of(pmd)
    if memory.memcg is not None:
        yield from try_charge_memcg(memory.memcg)
    yield Acquire(mm.pmd_ptl)
    pmd = yield Load(cell)
    if p.pte_present(pmd):
        table = mm.table_of(pmd)
    else:
        table = mm.new_table(address)
        yield Store(cell, p.make_pte(table.pfn, writable=True), RELEASE)
    yield Release(mm.pmd_ptl)
    return table


def folio_add_lru_vma(memory: Memory, folio: Folio, vma: Vma, *, in_fault: bool) -> Step[None]:
    """folio_add_lru_vma(): a page of a locked VMA is unevictable from the start (mlock_new_folio())."""
    if vma.locked and not vma.special:
        yield FetchOr(folio.flags, PG_MLOCKED)
    yield from folio_add_lru(memory, folio, in_fault=in_fault and not vma.locked)


def do_anonymous_page(
    memory: Memory, mm: Mm, vma: Vma, address: Hva, table: PteTable, cell: Cell, *, write: bool, in_fault: bool
) -> Step[None]:
    """do_anonymous_page(): a new page for a write, the shared zero page for a read."""
    yield Count("do_anonymous_page")
    if not write:
        yield Acquire(table.ptl)
        if (yield Load(cell)) == p.NONE:
            yield Store(cell, p.make_pte(ZERO_PFN, writable=False, special=True))
        yield Release(table.ptl)
        return
    folio = yield from alloc_anon_folio(memory, vma, table, address)
    yield Work("zero_page", folio.pages)
    start = Hva(address & -folio.pages * PAGE_SIZE)
    cells = [table.ptes[pte_index(start) + i] for i in range(folio.pages)]
    yield Acquire(table.ptl)
    if (yield from pte_range_none(cells)):
        yield from folio_add_new_anon_rmap(folio, mm, start)
        yield from folio_add_lru_vma(memory, folio, vma, in_fault=in_fault)
        for i, entry in enumerate(cells):
            yield Store(entry, p.make_pte(Pfn(folio.pfn + i), writable=True, dirty=True))
    yield Release(table.ptl)
    yield from folio_put(memory, folio)


def do_fault(
    memory: Memory, mm: Mm, vma: Vma, address: Hva, table: PteTable, cell: Cell, *, write: bool, in_fault: bool
) -> Step[None]:
    """do_read_fault() and do_shared_fault() of a shared file mapping, without fault-around."""
    assert vma.file is not None
    index = vma.file_page + (page_of(address) - vma.start) // PAGE_SIZE
    folio = yield from filemap_fault(memory, vma.file, index, in_fault=in_fault)
    yield Acquire(table.ptl)
    if (yield Load(cell)) == p.NONE:
        yield from folio_add_file_rmap(folio, mm, page_of(address))
        yield Store(cell, p.make_pte(folio.pfn, writable=True, dirty=write))
        if write:
            yield FetchOr(folio.flags, PG_DIRTY)  # fault_dirty_shared_page()
    yield Release(table.ptl)


def do_swap_page(
    memory: Memory,
    mm: Mm,
    vma: Vma,
    address: Hva,
    table: PteTable,
    cell: Cell,
    entry: int,
    *,
    write: bool,
    in_fault: bool,
) -> Step[None]:
    """do_swap_page(): back from swap, or from the swap cache if reclaim was stopped half way. No read-ahead: the device is
    synchronous (SWP_SYNCHRONOUS_IO)."""
    yield Count("do_swap_page")
    slot = memory.slot(p.pte_pfn(entry))
    cached: Folio | None = yield Load(slot.folio)
    if cached is None:
        orders = yield from thp_swapin_suitable_orders(memory, vma, table, address, slot)
        folio, slots = yield from swapin(memory, orders, slot, in_fault=in_fault)
    else:
        folio = cached
        slots = yield Load(folio.backing)
        yield FetchAdd(folio.refcount, 1)
        if (yield FetchOr(folio.flags, PG_LOCKED)) & PG_LOCKED:  # folio_lock_or_retry()
            yield from folio_put(memory, folio)
            return
        if write and not (yield Load(folio.flags)) & (PG_UNEVICTABLE | PG_MLOCKED):
            yield from lru_add_drain(memory)  # only its own references may count below
    yield Acquire(table.ptl)
    if (yield Load(cell)) != entry:  # another thread was first
        yield Release(table.ptl)
        yield from _drop_swapin(memory, folio)
        return
    page = slots.index(slot)
    first = pte_index(address) - page
    start = Hva(page_of(address) - page * PAGE_SIZE)
    whole = folio.order and start >= vma.start and 0 <= first <= PTRS_PER_PTE - folio.pages
    if not (whole and (yield from names_slots(table, first, slots))):
        first, slots = first + page, (slot,)
    else:
        page = 0
    writable = write or memory.features.swapin_maps_writable
    if not folio.order or (mm, start) not in (yield Load(folio.mappings)):
        yield from folio_add_file_rmap(folio, mm, start)
    for i, named in enumerate(slots):
        frame = Pfn(folio.pfn + page + i)
        yield Store(table.ptes[first + i], p.make_pte(frame, writable=writable, dirty=write))
        yield from swap_free(memory, named)
    if (yield Load(folio.flags)) & PG_SWAPCACHE and (memory.features.swapin_through_cache or write):
        yield from folio_free_swap(memory, folio)
    yield FetchAnd(folio.flags, ~PG_LOCKED)
    yield Release(table.ptl)
    yield from folio_put(memory, folio)


def swapin(
    memory: Memory, orders: list[int], slot: SwapSlot, *, in_fault: bool
) -> Step[tuple[Folio, tuple[SwapSlot, ...]]]:
    """The part of do_swap_page() that reads the page, or a folio of one of `orders` around it: charged, told to the LRU as a
    refault, added to it, then read. In 7.3 it is in the swap cache meanwhile (__swap_cache_alloc()). Comes back locked, with a
    reference for the caller, and its slots."""
    folio, slots = yield from alloc_swapin_folio(memory, orders, slot)
    yield FetchOr(folio.flags, PG_LOCKED)
    if memory.features.swapin_through_cache:
        for each in slots:
            yield Store(each.folio, folio)
        yield Store(folio.backing, slots)
        yield FetchAdd(folio.refcount, 1)
        yield FetchOr(folio.flags, PG_SWAPCACHE)
    shadow: int | None = yield Load(slot.shadow)
    if shadow is not None:
        yield from folio.lruvec.refault(folio, shadow, in_fault=in_fault)
    yield from folio_add_lru(memory, folio, in_fault=in_fault)
    yield Work("swap_read", folio.pages)
    return folio, slots


def _drop_swapin(memory: Memory, folio: Folio) -> Step[None]:
    """out_nomap: the folio is not needed."""
    if (yield Load(folio.flags)) & PG_SWAPCACHE and memory.features.swapin_through_cache:
        yield from delete_from_swap_cache(memory, folio)
        yield FetchAdd(folio.refcount, -1)
    yield FetchAnd(folio.flags, ~PG_LOCKED)
    yield from folio_put(memory, folio)


def do_wp_page(
    memory: Memory, mm: Mm, vma: Vma, address: Hva, table: PteTable, cell: Cell, entry: int, *, in_fault: bool
) -> Step[None]:
    """do_wp_page(): the zero page is copied (wp_page_copy()), a page of one's own is written in place (wp_page_reuse())."""
    if not entry & p.SPECIAL:
        yield Acquire(table.ptl)
        if (yield Load(cell)) & ~(p.ACCESSED | p.DIRTY) == entry & ~(p.ACCESSED | p.DIRTY):
            yield FetchOr(cell, p.RW | p.ACCESSED | p.DIRTY)
        yield Release(table.ptl)
        return
    folio = yield from alloc_folio(memory, ANON)
    yield Work("zero_page")
    page = page_of(address)
    rng = NotifierRange(mm, page, Hva(page + PAGE_SIZE))
    yield from mmu_notifier.invalidate_range_start(rng)
    yield Acquire(table.ptl)
    if (yield Load(cell)) & ~p.ACCESSED == entry & ~p.ACCESSED:
        yield Store(cell, p.NONE)  # ptep_clear_flush(): no CPU uses the old page when the new one appears
        yield from flush_tlb(mm)
        yield from folio_add_new_anon_rmap(folio, mm, page)
        yield from folio_add_lru_vma(memory, folio, vma, in_fault=in_fault)
        yield Store(cell, p.make_pte(folio.pfn, writable=True, dirty=True))
    yield Release(table.ptl)
    yield from mmu_notifier.invalidate_range_end(rng)
    yield from folio_put(memory, folio)
