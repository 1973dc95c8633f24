"""Dirty logging's part in the races: write protection, cleared D bits, and huge pages that come back afterwards.

arch/x86/kvm/mmu/mmu.c and tdp_mmu.c. The bitmap itself is not modelled; what is found dirty is returned.
"""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.core.effects import READ as SHARED
from agewalk.core.effects import (
    Acquire,
    Again,
    CompareExchange,
    Load,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    Step,
    Store,
)
from agewalk.model.kvm.kvm_host import Kvm, MmuPage
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu.rmap import kvm_rmap_lock, kvm_rmap_unlock, rmap_sptes
from agewalk.model.kvm.mmu.shadow_mmu import kvm_memslots_have_rmaps, mmu_spte_update
from agewalk.model.kvm.mmu.spte import (
    WRITABLE,
    SpteFormat,
    is_last_spte,
    is_shadow_present_pte,
    make_huge_spte,
    spte_ad_enabled,
    spte_to_pfn,
)
from agewalk.model.kvm.mmu.tdp_map import handle_changed_spte, tdp_mmu_next_root
from agewalk.model.kvm.mmu.tdp_mmu import tdp_mmu_set_spte_atomic
from agewalk.model.kvm.tlb import forget_paging_structures, kvm_flush_remote_tlbs_range


def kvm_mmu_slot_remove_write_access(kvm: Kvm, rng: GfnRange) -> Step[bool]:
    """kvm_mmu_slot_remove_write_access(): take W from every SPTE of the range, so that the next write is seen.

    MMU_WRITABLE stays, so the fast page fault may give W back. Rmaps under mmu_lock for write, the TDP MMU under mmu_lock
    for read. Was any SPTE writable? The caller flushes.
    """
    protected = False
    if (yield from kvm_memslots_have_rmaps(kvm)):
        yield Acquire(kvm.mmu_lock)
        protected = yield from _rmap_write_protect(kvm, rng)
        yield Release(kvm.mmu_lock)
    if kvm.tdp_mmu_enabled:
        protected |= yield from _tdp_change_leafs(kvm, rng, clear_dirty=False)
    return protected


def kvm_mmu_slot_leaf_clear_dirty(kvm: Kvm, rng: GfnRange) -> Step[bool]:
    """kvm_tdp_mmu_clear_dirty_slot(), mmu_lock for read: take D from every SPTE, W where D cannot be trusted. Any dirty?"""
    return _tdp_change_leafs(kvm, rng, clear_dirty=True)


def _rmap_write_protect(kvm: Kvm, rng: GfnRange) -> Step[bool]:
    """rmap_write_protect() of all levels, mmu_lock held for write."""
    protected = False
    for level in range(1, kvm.config.max_level + 1):
        size = kvm.pages_per_level(level)
        for gfn in range(rng.start - rng.start % size, rng.end, size):
            head = rng.slot.rmap(level, gfn)
            value = yield from kvm_rmap_lock(kvm, head)
            if not value:
                continue
            for address in (yield from rmap_sptes(kvm, value)):
                sptep = kvm.sptep(address)
                old: int = yield Load(sptep)
                if old & WRITABLE:
                    yield from mmu_spte_update(kvm, sptep, old & ~WRITABLE)
                    protected = True
            yield from kvm_rmap_unlock(head, value)
    return protected


def _tdp_change_leafs(kvm: Kvm, rng: GfnRange, *, clear_dirty: bool) -> Step[bool]:
    """wrprot_gfn_range(), clear_dirty_gfn_range() in all valid roots."""
    changed = False
    yield Acquire(kvm.mmu_lock, SHARED)
    root = yield from tdp_mmu_next_root(kvm, None)
    while root is not None:
        if root.as_id == rng.slot.as_id and not (yield Load(root.invalid)):
            yield RcuReadLock()
            changed |= yield from _change_table(kvm, root, 0, rng, clear_dirty)
            yield RcuReadUnlock()
        root = yield from tdp_mmu_next_root(kvm, root)
    yield Release(kvm.mmu_lock, SHARED)
    return changed


def changed_spte(f: SpteFormat, spte: int, *, clear_dirty: bool) -> int:
    """What dirty logging makes of a present leaf."""
    return spte & ~(f.dirty if clear_dirty and spte_ad_enabled(f, spte) else WRITABLE)


def _change_table(kvm: Kvm, table: MmuPage, base: int, rng: GfnRange, clear_dirty: bool) -> Step[bool]:
    size = kvm.pages_per_level(table.level)
    changed = False
    for gfn in range(max(base, rng.start - rng.start % size), min(base + size * kvm.entries, rng.end), size):
        sptep = table.entry_of(gfn)
        old: int = yield Load(sptep)
        while is_shadow_present_pte(old):
            if not is_last_spte(old, table.level):
                changed |= yield from _change_table(kvm, kvm.page_at(spte_to_pfn(old)), gfn, rng, clear_dirty)
                break
            new = changed_spte(kvm.format, old, clear_dirty=clear_dirty)
            if new == old:
                break
            found: int = yield CompareExchange(sptep, old, new)
            if found == old:
                changed = True
                break
            old = found
            yield Again(table, gfn, old, changed)
    return changed


def kvm_tdp_mmu_recover_huge_page(kvm: Kvm, rng: GfnRange) -> Step[bool]:
    """recover_huge_pages_range() (6.13): one huge leaf in place of a table, with the bits of a present child.

    Up to 6.12 zap_collapsible_spte_range() only zaps the table: freeze the entry, flush, then let faults in again
    (tdp_mmu_zap_spte_atomic). rng: the frames of one 2 MiB mapping, which the primary MMU maps huge. Did it happen?
    """
    yield Acquire(kvm.mmu_lock, SHARED)
    done = False
    root = yield from tdp_mmu_next_root(kvm, None)
    while root is not None:
        if root.as_id == rng.slot.as_id and not (yield Load(root.invalid)):
            yield RcuReadLock()
            done |= yield from _recover(kvm, root, rng)
            yield RcuReadUnlock()
        root = yield from tdp_mmu_next_root(kvm, root)
    yield Release(kvm.mmu_lock, SHARED)
    return done


def _recover(kvm: Kvm, root: MmuPage, rng: GfnRange) -> Step[bool]:
    table = root
    while True:
        sptep = table.entry_of(rng.start)
        old: int = yield Load(sptep)
        if not is_shadow_present_pte(old) or is_last_spte(old, table.level):
            return False
        child = kvm.page_at(spte_to_pfn(old))
        if table.level == 2:  # PG_LEVEL_2M
            break
        table = child
    small: int = kvm.format.nonpresent
    for index in range(kvm.entries):
        small = yield Load(child.entry(index))
        if is_shadow_present_pte(small):
            break
    if not is_shadow_present_pte(small):
        return False
    if not kvm.features.recovers_huge_in_place:
        return (yield from _zap_spte_atomic(kvm, sptep, old))
    huge = make_huge_spte(small, kvm.pages_per_level(2))
    if not (yield from tdp_mmu_set_spte_atomic(kvm, sptep, old, huge)):
        return False
    yield from forget_paging_structures(kvm)
    yield from handle_changed_spte(kvm, old, huge, 2, shared=True)
    yield from kvm_flush_remote_tlbs_range(kvm)
    return True


def _zap_spte_atomic(kvm: Kvm, sptep: Cell, old: int) -> Step[bool]:
    """tdp_mmu_zap_spte_atomic(): FROZEN keeps faults away until the TLBs are flushed."""
    if not (yield from tdp_mmu_set_spte_atomic(kvm, sptep, old, kvm.format.frozen)):
        return False
    yield from forget_paging_structures(kvm)
    yield from kvm_flush_remote_tlbs_range(kvm)
    yield Store(sptep, kvm.format.nonpresent)
    yield from handle_changed_spte(kvm, old, kvm.format.nonpresent, 2, shared=True)
    return True
