"""The TDP MMU: roots come and go, faults map, invalidations zap (arch/x86/kvm/mmu/tdp_mmu.c)."""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.core.effects import (
    ACQUIRE,
    RELEASE,
    Acquire,
    Again,
    Alloc,
    CallRcu,
    CompareExchange,
    Count,
    Exchange,
    FetchAdd,
    Free,
    Load,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    Step,
    Store,
    Warn,
)
from agewalk.core.effects import READ as SHARED
from agewalk.core.units import Pfn
from agewalk.model.kvm.kvm_host import Kvm, MmuPage, Vcpu
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu.fault import RET_PF_FIXED, RET_PF_RETRY, RET_PF_SPURIOUS, Fault
from agewalk.model.kvm.mmu.spte import (
    hardware_allows,
    is_accessed_spte,
    is_dirty_spte,
    is_large_pte,
    is_last_spte,
    is_shadow_present_pte,
    leaf_spte_change_needs_tlb_flush,
    make_nonleaf_spte,
    make_small_spte,
    make_spte,
    spte_to_pfn,
)
from agewalk.model.kvm.mmu.tdp_mmu import (
    kvm_set_pfn_accessed,
    kvm_set_pfn_dirty,
    kvm_tdp_mmu_write_spte,
    tdp_mmu_set_spte_atomic,
)
from agewalk.model.kvm.tlb import forget_paging_structures, kvm_flush_remote_tlbs_range

# --- roots ----------------------------------------------------------------------------------------------------------------


def kvm_tdp_mmu_alloc_root(vcpu: Vcpu, as_id: int) -> Step[None]:
    """kvm_tdp_mmu_alloc_root(): the valid root of an address space, or a new one, becomes the vCPU's."""
    kvm = vcpu.kvm
    yield Acquire(kvm.mmu_lock, SHARED)
    yield Acquire(kvm.tdp_mmu_pages_lock)
    root: MmuPage | None = yield Load(kvm.tdp_roots)
    while root is not None and (root.as_id != as_id or (yield Load(root.invalid))):
        root = yield Load(root.next)
    if root is None:
        root = yield Alloc(kvm.tdp_slab(as_id, kvm.config.levels))
        yield Store(root.refcount, 2)  # one for the vCPU, one that the TDP MMU keeps until the root is invalidated
        first: MmuPage | None = yield Load(kvm.tdp_roots)
        yield Store(root.next, first)
        yield Store(root.pprev, kvm.tdp_roots)
        yield Store(kvm.tdp_roots, root, RELEASE)  # list_add_rcu()
        if first is not None:
            yield Store(first.pprev, root.next)
    else:
        yield FetchAdd(root.refcount, 1)
    yield Release(kvm.tdp_mmu_pages_lock)
    yield Release(kvm.mmu_lock, SHARED)
    yield Store(vcpu.roots[as_id], root)


def kvm_tdp_mmu_put_root(kvm: Kvm, root: MmuPage) -> Step[None]:
    """kvm_tdp_mmu_put_root(): the last user takes it off the list; its memory waits for the RCU readers."""
    if (yield FetchAdd(root.refcount, -1)) != 1:
        return
    yield Acquire(kvm.tdp_mmu_pages_lock)
    after: MmuPage | None = yield Load(root.next)
    pprev: Cell = yield Load(root.pprev)
    yield Store(pprev, after)  # list_del_rcu(): root.next stays, for readers that stand on it
    if after is not None:
        yield Store(after.pprev, pprev)
    yield Release(kvm.tdp_mmu_pages_lock)
    yield CallRcu(root)


def kvm_tdp_mmu_invalidate_roots(kvm: Kvm) -> Step[None]:
    """kvm_tdp_mmu_invalidate_roots(), mmu_lock held for write (or no user left): no vCPU may load these roots again."""
    root: MmuPage | None = yield Load(kvm.tdp_roots)
    while root is not None:
        if not (yield Load(root.invalid)):
            yield Store(root.scheduled, value=True)
            yield Store(root.invalid, value=True)
        root = yield Load(root.next)


def kvm_tdp_mmu_get_root(root: MmuPage) -> Step[bool]:
    """kvm_tdp_mmu_get_root(): refcount_inc_not_zero()."""
    count: int = yield Load(root.refcount)
    while count:
        found: int = yield CompareExchange(root.refcount, count, count + 1)
        if found == count:
            return True
        count = found
        yield Again(root, count)
    return False


def tdp_mmu_next_root(kvm: Kvm, prev: MmuPage | None) -> Step[MmuPage | None]:
    """tdp_mmu_next_root(): the root after `prev` (the first one after None) with a reference taken; drops that of `prev`."""
    yield RcuReadLock()
    root: MmuPage | None = yield Load(kvm.tdp_roots if prev is None else prev.next, ACQUIRE)
    while root is not None and not (yield from kvm_tdp_mmu_get_root(root)):
        root = yield Load(root.next, ACQUIRE)
    yield RcuReadUnlock()
    if prev is not None:
        yield from kvm_tdp_mmu_put_root(kvm, prev)
    return root


def kvm_tdp_mmu_zap_invalidated_roots(kvm: Kvm) -> Step[None]:
    """kvm_tdp_mmu_zap_invalidated_roots(), slots_lock held: zap what was invalidated, drop the TDP MMU's reference."""
    yield Acquire(kvm.mmu_lock, SHARED)
    root = yield from tdp_mmu_next_root(kvm, None)
    while root is not None:
        if (yield Load(root.scheduled)):
            yield Store(root.scheduled, value=False)
            yield from tdp_mmu_zap_root(kvm, root, shared=True)
            yield from kvm_tdp_mmu_put_root(kvm, root)
        root = yield from tdp_mmu_next_root(kvm, root)
    yield Release(kvm.mmu_lock, SHARED)


# --- zapping --------------------------------------------------------------------------------------------------------------


def handle_changed_spte(kvm: Kvm, old: int, new: int, level: int, *, shared: bool) -> Step[None]:
    """handle_changed_spte(): what an entry that was replaced still owes: accessed and dirty news, a table to take down."""
    if not is_shadow_present_pte(old):
        return
    gone = not is_shadow_present_pte(new) or spte_to_pfn(old) != spte_to_pfn(new)
    if not is_last_spte(old, level):
        if gone or is_last_spte(new, level):
            yield from handle_removed_pt(kvm, kvm.page_at(spte_to_pfn(old)), shared=shared)
        return
    if is_shadow_present_pte(new) and is_last_spte(new, level) and gone:
        yield Warn("a present leaf was replaced by one with another pfn")
    if kvm.features.zap_propagates_dirty and is_dirty_spte(kvm.format, old) and gone:
        yield from kvm_set_pfn_dirty(kvm, old)
    if kvm.features.zap_propagates_accessed and is_accessed_spte(kvm.format, old) and gone:
        yield from kvm_set_pfn_accessed(kvm, old)


def handle_removed_pt(kvm: Kvm, table: MmuPage, *, shared: bool) -> Step[None]:
    """handle_removed_pt(): freeze every entry of an unlinked table, so that no fault fills it again, then free it by RCU."""
    yield from forget_paging_structures(kvm)
    for index in range(kvm.entries):
        sptep = table.entry(index)
        if shared:
            old: int = yield Exchange(sptep, kvm.format.frozen)
            while old == kvm.format.frozen:  # the thread that froze it writes it again soon
                yield Again(table, index)
                old = yield Exchange(sptep, kvm.format.frozen)
        else:
            old = yield Load(sptep)
            if not is_shadow_present_pte(old):
                continue
            old = yield from kvm_tdp_mmu_write_spte(kvm, sptep, old, kvm.format.frozen, table.level)
        yield from handle_changed_spte(kvm, old, kvm.format.frozen, table.level, shared=shared)
    yield CallRcu(table)


def tdp_mmu_zap_root(kvm: Kvm, root: MmuPage, *, shared: bool) -> Step[None]:
    """tdp_mmu_zap_root(): zap at the top level; handle_removed_pt() takes down what hangs below (the kernel zaps at 1G
    first, for the sake of yielding)."""
    yield RcuReadLock()
    for index in range(kvm.entries):
        sptep = root.entry(index)
        old: int = yield Load(sptep)
        while is_shadow_present_pte(old):
            if not shared:
                old = yield from kvm_tdp_mmu_write_spte(kvm, sptep, old, kvm.format.nonpresent, root.level)
            else:
                found: int = yield CompareExchange(sptep, old, kvm.format.nonpresent)
                if found != old:
                    old = found
                    yield Again(root, index, old)
                    continue
            yield from handle_changed_spte(kvm, old, kvm.format.nonpresent, root.level, shared=shared)
            break
    yield RcuReadUnlock()


def kvm_tdp_mmu_zap_all(kvm: Kvm) -> Step[None]:
    """kvm_tdp_mmu_zap_all(), mmu_lock held for write: all roots, invalid ones too. No flush: no vCPU will run again."""
    root: MmuPage | None = yield Load(kvm.tdp_roots)
    while root is not None:
        yield from tdp_mmu_zap_root(kvm, root, shared=False)
        root = yield Load(root.next)


def kvm_tdp_mmu_unmap_gfn_range(kvm: Kvm, rng: GfnRange, flush: bool) -> Step[bool]:
    """kvm_tdp_mmu_unmap_gfn_range(), mmu_lock held for write: zap leaves of all roots, also of invalid ones.

    Answers whether a TLB flush is due. The walk does not give mmu_lock up half-way, so it needs no reference to a root.
    """
    root: MmuPage | None = yield Load(kvm.tdp_roots)
    while root is not None:
        if root.as_id == rng.slot.as_id:
            yield RcuReadLock()
            zapped = yield from _zap_leafs(kvm, root, 0, rng)
            yield RcuReadUnlock()
            if zapped and not (yield Load(root.invalid)):
                flush = True
        root = yield Load(root.next)
    return flush


def _zap_leafs(kvm: Kvm, table: MmuPage, base: int, rng: GfnRange) -> Step[bool]:
    size = kvm.pages_per_level(table.level)
    zapped = False
    for gfn in range(max(base, rng.start - rng.start % size), min(base + size * kvm.entries, rng.end), size):
        sptep = table.entry_of(gfn)
        old: int = yield Load(sptep)
        if not is_shadow_present_pte(old):
            continue
        if not is_last_spte(old, table.level):
            zapped |= yield from _zap_leafs(kvm, kvm.page_at(spte_to_pfn(old)), gfn, rng)
            continue
        old = yield from kvm_tdp_mmu_write_spte(kvm, sptep, old, kvm.format.nonpresent, table.level)
        yield from handle_changed_spte(kvm, old, kvm.format.nonpresent, table.level, shared=False)
        zapped = True
    return zapped


# --- mapping --------------------------------------------------------------------------------------------------------------


def kvm_tdp_mmu_map(vcpu: Vcpu, root: MmuPage, fault: Fault) -> Step[int]:
    """kvm_tdp_mmu_map(), mmu_lock held for read: build the tables that are missing and install the leaf. RET_PF_*."""
    yield Count("kvm_tdp_mmu_map")
    yield RcuReadLock()
    result = yield from _map(vcpu.kvm, root, fault)
    yield RcuReadUnlock()
    return result


def _map(kvm: Kvm, root: MmuPage, fault: Fault) -> Step[int]:
    table = root
    while True:
        sptep = table.entry_of(fault.gfn)
        old: int = yield Load(sptep)
        if old == kvm.format.frozen:
            return RET_PF_RETRY
        if table.level == fault.goal_level:
            return (yield from _map_target_level(kvm, sptep, old, table, fault))
        if is_shadow_present_pte(old) and not is_large_pte(old):
            table = kvm.page_at(spte_to_pfn(old))
            continue
        child: MmuPage = yield Alloc(kvm.tdp_slab(root.as_id, table.level - 1))
        if is_shadow_present_pte(old):
            yield from _split_huge_page(kvm, old, child)
        new = make_nonleaf_spte(kvm.format, child.pfn, ad_disabled=not kvm.config.ad_bits)
        if not (yield from tdp_mmu_set_spte_atomic(kvm, sptep, old, new)):
            yield Free(child)  # tdp_mmu_free_unused_sp(): no other thread has seen it
            return RET_PF_RETRY
        table = child


def _split_huge_page(kvm: Kvm, huge: int, child: MmuPage) -> Step[None]:
    """tdp_mmu_split_huge_page(): the new table maps what the huge leaf mapped; every child inherits its A bit."""
    pages = kvm.pages_per_level(child.level)
    for index in range(kvm.entries):
        yield Store(child.entry(index), make_small_spte(huge, child.level, index, pages))


def _map_target_level(kvm: Kvm, sptep: Cell, old: int, table: MmuPage, fault: Fault) -> Step[int]:
    """tdp_mmu_map_handle_target_level()."""
    leaf = is_shadow_present_pte(old) and is_last_spte(old, table.level)
    if leaf and (fault.prefetch or hardware_allows(old, write=fault.write)):
        return RET_PF_SPURIOUS
    new = make_spte(
        kvm.format,
        Pfn(fault.pfn - fault.pfn % kvm.pages_per_level(table.level)),
        table.level,
        host_writable=fault.map_writable,
        ad_disabled=not kvm.config.ad_bits,
        prefetch=fault.prefetch,
    )
    if new == old:
        return RET_PF_SPURIOUS
    if not (yield from tdp_mmu_set_spte_atomic(kvm, sptep, old, new)):
        return RET_PF_RETRY
    yield from handle_changed_spte(kvm, old, new, table.level, shared=True)
    if is_shadow_present_pte(old) and (not leaf or leaf_spte_change_needs_tlb_flush(kvm.format, old, new)):
        yield from kvm_flush_remote_tlbs_range(kvm)
    return RET_PF_FIXED
