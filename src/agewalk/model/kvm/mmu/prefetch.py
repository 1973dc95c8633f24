"""Prefetch: a fault of the shadow MMU also maps its neighbours, and maps them old (arch/x86/kvm/mmu/mmu.c, paging_tmpl.h)."""

from __future__ import annotations

from typing import Final

from agewalk.core.effects import Count, Load, Step
from agewalk.core.units import Gfn
from agewalk.model.kvm.host_memory import Gup
from agewalk.model.kvm.kvm_host import Kvm, MmuPage
from agewalk.model.kvm.memslots import Memslot, SlotSet, slot_of_gfn
from agewalk.model.kvm.mmu.shadow_mmu import mmu_set_spte
from agewalk.model.kvm.mmu.spte import PG_LEVEL_4K, is_shadow_present_pte

PTE_PREFETCH_NUM: Final = 8  # mmu.c


def direct_pte_prefetch(kvm: Kvm, slot: Memslot, page: MmuPage, index: int) -> Step[None]:
    """direct_pte_prefetch(): runs of entries that are not present, among the eight around `index`.

    None without A/D bits (a prefetched SPTE could not be told from a used one), above 4K, or during an invalidation.
    """
    if page.ad_disabled or page.level > PG_LEVEL_4K:
        return
    if kvm.features.prefetch_needs_no_invalidation and (yield Load(kvm.mmu_invalidate_in_progress)):
        return
    first = index - index % PTE_PREFETCH_NUM
    last = min(first + PTE_PREFETCH_NUM, kvm.entries)
    start = -1
    for i in range(first, last):
        if i == index or is_shadow_present_pte((yield Load(page.entry(i)))):
            if start >= 0 and not (yield from _prefetch_many(kvm, slot, page, start, i)):
                return
            start = -1
        elif start < 0:
            start = i
    if start >= 0:
        yield from _prefetch_many(kvm, slot, page, start, last)


def _prefetch_many(kvm: Kvm, slot: Memslot, page: MmuPage, start: int, end: int) -> Step[bool]:
    """direct_pte_prefetch_many(), kvm_mmu_prefetch_sptes(): pages that the primary MMU maps writable, up to the first that
    it does not. False if there was none: the caller gives up."""
    gfn = page.base + start
    if not slot.base_gfn <= gfn or gfn + (end - start) > slot.end_gfn:
        return False
    found: tuple[Gup, ...] = ()
    for i in range(start, end):
        got: Gup | None = yield from kvm.host.get_user_page_fast_only(kvm.mm, slot.hva_of(page.base + i))
        if got is None:
            break
        found = (*found, got)
    for i, got in enumerate(found):
        yield from mmu_set_spte(kvm, slot, page, start + i, gfn + i, got.pfn, None, writable=True)
        if kvm.features.direct_prefetch_marks:
            yield from kvm.host.mark_page_dirty(got.pfn)
            yield from kvm.host.mark_page_accessed(got.pfn)
    return bool(found)


def pte_prefetch(kvm: Kvm, page: MmuPage, index: int, address: int) -> Step[None]:
    """FNAME(pte_prefetch): the neighbours in guest tables, as far as the guest itself has used them."""
    tables = page.tables
    if tables is None or page.level > PG_LEVEL_4K:
        return
    if kvm.features.prefetch_needs_no_invalidation and (yield Load(kvm.mmu_invalidate_in_progress)):
        return
    first = index - index % PTE_PREFETCH_NUM
    for i in range(first, min(first + PTE_PREFETCH_NUM, kvm.entries)):
        if i == index or is_shadow_present_pte((yield Load(page.entry(i)))):
            continue
        near = address - index + i
        gpte: int = yield Load(tables.gpte(near))
        if not gpte & tables.PRESENT or (tables.ad and not gpte & tables.ACCESSED):
            return  # FNAME(prefetch_invalid_gpte)
        gfn = tables.gfn_of(near)
        slots: SlotSet = yield Load(kvm.slots(page.as_id))
        entry = slot_of_gfn(slots, gfn)
        if entry is None or entry[1]:
            return
        if not kvm.features.indirect_prefetch_marks_dirty:
            yield Count("hva_to_pfn")  # up to 6.12: kvm_vcpu_gfn_to_pfn_atomic()
        got: Gup | None = yield from kvm.host.get_user_page_fast_only(kvm.mm, entry[0].hva_of(gfn))
        if got is None:
            return
        writable = bool(gpte & tables.WRITABLE) and (not tables.ad or bool(gpte & tables.DIRTY))
        yield from mmu_set_spte(kvm, entry[0], page, i, Gfn(gfn), got.pfn, None, writable=writable)
        if kvm.features.indirect_prefetch_marks_dirty:
            yield from kvm.host.mark_page_dirty(got.pfn)
        yield from kvm.host.mark_page_accessed(got.pfn)
