"""Page faults of a guest: from the exit to the SPTE (arch/x86/kvm/mmu/mmu.c, paging_tmpl.h; virt/kvm/kvm_main.c)."""

from __future__ import annotations

from agewalk.core.effects import (
    ACQUIRE,
    WRITE,
    Acquire,
    Again,
    CompareExchange,
    Count,
    Load,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    Step,
    Store,
    Warn,
    Work,
)
from agewalk.core.effects import READ as SHARED
from agewalk.core.units import Gfn
from agewalk.model.kvm.host_memory import Gup
from agewalk.model.kvm.kvm_host import GuestTables, Kvm, MmuPage, Vcpu
from agewalk.model.kvm.memslots import Memslot, SlotSet, slot_of_gfn
from agewalk.model.kvm.mmu.fault import (
    RET_PF_EMULATE,
    RET_PF_FIXED,
    RET_PF_INVALID,
    RET_PF_RETRY,
    RET_PF_SPURIOUS,
    Fault,
)
from agewalk.model.kvm.mmu.prefetch import direct_pte_prefetch, pte_prefetch
from agewalk.model.kvm.mmu.shadow_mmu import kvm_mmu_alloc_shadow_root, mmu_set_spte, walk_to_level
from agewalk.model.kvm.mmu.spte import (
    PG_LEVEL_4K,
    WRITABLE,
    hardware_allows,
    is_access_track_spte,
    is_last_spte,
    is_mmu_writable_spte,
    is_shadow_present_pte,
    restore_acc_track_spte,
    spte_to_pfn,
)
from agewalk.model.kvm.mmu.tdp_map import kvm_tdp_mmu_alloc_root, kvm_tdp_mmu_map, kvm_tdp_mmu_put_root


def kvm_mmu_reload(vcpu: Vcpu, tables: GuestTables | None, as_id: int) -> Step[None]:
    """kvm_mmu_reload(), before each guest entry: a root, if the vCPU has none or an obsolete one."""
    kvm = vcpu.kvm
    if tables is not None or not kvm.tdp_mmu_enabled:
        yield from kvm_mmu_alloc_shadow_root(kvm, tables, as_id)
        return
    root: MmuPage | None = yield Load(vcpu.roots[as_id])
    if root is not None and (yield Load(root.invalid)):
        yield from kvm_mmu_free_root(vcpu, as_id)
        root = None
    if root is None:
        yield from kvm_tdp_mmu_alloc_root(vcpu, as_id)


def kvm_mmu_free_root(vcpu: Vcpu, as_id: int) -> Step[None]:
    """mmu_free_root_page() for a TDP MMU root: the vCPU drops its reference, mmu_lock held for read."""
    kvm = vcpu.kvm
    root: MmuPage | None = yield Load(vcpu.roots[as_id])
    if root is None:
        return
    yield Store(vcpu.roots[as_id], None)
    yield Acquire(kvm.mmu_lock, SHARED)
    yield from kvm_tdp_mmu_put_root(kvm, root)
    yield Release(kvm.mmu_lock, SHARED)


def root_of(vcpu: Vcpu, tables: GuestTables | None, as_id: int) -> Step[MmuPage | None]:
    """What the CPU's root register points to in this mode."""
    kvm = vcpu.kvm
    if tables is not None:
        root: MmuPage | None = yield Load(tables.root)
    elif kvm.tdp_mmu_enabled:
        root = yield Load(vcpu.roots[as_id])
    else:
        root = yield Load(kvm.direct_roots[as_id])
    return root


def kvm_mmu_page_fault(
    vcpu: Vcpu, address: int, *, write: bool, present: bool, tables: GuestTables | None = None, as_id: int = 0
) -> Step[int]:
    """kvm_mmu_page_fault(): make the access possible, or find that it must be tried again. RET_PF_*.

    address: in frames; a gfn for direct MMUs. present: the CPU found a present entry (PFERR_PRESENT_MASK).
    """
    yield Count("kvm_mmu_page_fault")
    kvm = vcpu.kvm
    if tables is not None:
        yield Count("paging64_page_fault")
        return (yield from _shadow_page_fault(vcpu, address, write=write, tables=tables, as_id=as_id))
    yield Count("kvm_tdp_page_fault")
    if not kvm.tdp_mmu_enabled or kvm.features.one_direct_fault_function:
        yield Count("direct_page_fault")
    result = yield from fast_page_fault(vcpu, Gfn(address), write=write, present=present, as_id=as_id)
    if result != RET_PF_INVALID:
        return result
    return (yield from _direct_page_fault(vcpu, Gfn(address), write=write, as_id=as_id))


# --- without mmu_lock -----------------------------------------------------------------------------------------------------


def page_fault_can_be_fast(kvm: Kvm, *, write: bool, present: bool) -> bool:
    """page_fault_can_be_fast(): a write to a present SPTE, or any access where A bits are emulated by faults."""
    return write if present else not kvm.config.ad_bits


def fast_page_fault(vcpu: Vcpu, gfn: Gfn, *, write: bool, present: bool, as_id: int) -> Step[int]:
    """fast_page_fault(): give W back, or R and X of an access-tracked SPTE, by one cmpxchg; at most five attempts.

    Walks under RCU; for shadow pages that stands for walk_shadow_page_lockless_begin(), which the freeing side waits for.
    """
    yield Count("fast_page_fault")
    kvm = vcpu.kvm
    if not page_fault_can_be_fast(kvm, write=write, present=present):
        return RET_PF_INVALID
    result = RET_PF_INVALID
    yield RcuReadLock()
    for _ in range(5):
        root = yield from root_of(vcpu, None, as_id)
        if root is None:
            break
        table = root
        spte: int = yield Load(table.entry_of(gfn))
        while is_shadow_present_pte(spte) and not is_last_spte(spte, table.level):
            table = kvm.page_at(spte_to_pfn(spte))
            spte = yield Load(table.entry_of(gfn))
        if not is_shadow_present_pte(spte):
            break
        if hardware_allows(spte, write=write):
            result = RET_PF_SPURIOUS
            break
        new = _fast_pf_spte(kvm, spte, write=write)
        if new == spte or not hardware_allows(new, write=write):
            break
        if (yield CompareExchange(table.entry_of(gfn), spte, new)) == spte:
            result = RET_PF_FIXED
            break
    yield RcuReadUnlock()
    return result


def _fast_pf_spte(kvm: Kvm, spte: int, *, write: bool) -> int:
    """What fast_page_fault() would make of a present leaf."""
    f = kvm.format
    new = spte
    if not kvm.config.ad_bits and is_access_track_spte(f, spte):
        new = restore_acc_track_spte(f, new) | (f.accessed if kvm.features.fast_pf_sets_accessed else 0)
    if write and is_mmu_writable_spte(f, spte):
        new |= WRITABLE
    return new


# --- the page -------------------------------------------------------------------------------------------------------------


def mmu_invalidate_retry_gfn(kvm: Kvm, seq: int, gfn: int) -> Step[bool]:
    """mmu_invalidate_retry_gfn(): is an invalidation of the gfn under way, or was there any since `seq`?"""
    if (yield Load(kvm.mmu_invalidate_in_progress, ACQUIRE)):
        start: int = yield Load(kvm.mmu_invalidate_range_start)
        end: int = yield Load(kvm.mmu_invalidate_range_end)
        if start <= gfn < end:
            return True
    return bool((yield Load(kvm.mmu_invalidate_seq)) != seq)


def kvm_mmu_faultin_pfn(kvm: Kvm, slot: Memslot, gfn: Gfn, *, write: bool) -> Step[tuple[int, Gup | None]]:
    """kvm_mmu_faultin_pfn(): the snapshot of mmu_invalidate_seq, and the page; None = retry, or no memory there."""
    yield Count("kvm_mmu_faultin_pfn")
    seq: int = yield Load(kvm.mmu_invalidate_seq, ACQUIRE)
    early = kvm.features.early_invalidate_check
    if early and (yield from mmu_invalidate_retry_gfn(kvm, seq, gfn)):
        return seq, None
    yield Count("hva_to_pfn")
    page: Gup | None = yield from kvm.host.get_user_page(kvm.mm, slot.hva_of(gfn), write)
    if page is None:
        yield Warn(f"gfn {gfn:#x} lies in a memslot, but its process has no memory at {slot.hva_of(gfn):#x}")
    elif early and (yield from mmu_invalidate_retry_gfn(kvm, seq, gfn)):
        yield from kvm_mmu_finish_page_fault(kvm, page, RET_PF_RETRY)
        return seq, None
    return seq, page


def kvm_mmu_finish_page_fault(kvm: Kvm, page: Gup, result: int) -> Step[None]:
    """kvm_mmu_finish_page_fault() (6.13), kvm_release_pfn_clean() (before): what the fault says about the page."""
    if result == RET_PF_RETRY and not kvm.features.retry_marks_accessed:
        return
    if kvm.features.fault_marks_dirty and page.writable:
        yield from kvm.host.mark_page_dirty(page.pfn)
    yield from kvm.host.mark_page_accessed(page.pfn)


def goal_level(kvm: Kvm, slot: Memslot, gfn: int, page: Gup) -> int:
    """kvm_mmu_hugepage_adjust(): the largest mapping that the primary MMU, the slot's alignment and its bounds allow."""
    level = min(page.level, kvm.config.max_level)
    while level > PG_LEVEL_4K:
        size = kvm.pages_per_level(level)
        base = gfn - gfn % size
        aligned = ((slot.userspace_addr >> 12) - slot.base_gfn) % size == 0
        if aligned and slot.base_gfn <= base and base + size <= slot.end_gfn:
            break
        level -= 1
    return level


def _memslot_of(kvm: Kvm, gfn: Gfn, as_id: int) -> Step[tuple[Memslot | None, int]]:
    """The slot that holds `gfn`, or None and what the fault ends in: emulation of a device, or a retry until the slot is gone."""
    slots: SlotSet = yield Load(kvm.slots(as_id))
    found = slot_of_gfn(slots, gfn)
    if found is None:
        yield Work("mmio_exit")
        return None, RET_PF_EMULATE
    slot, deleted = found
    return (None, RET_PF_RETRY) if deleted else (slot, 0)


def _unlock_and_release(kvm: Kvm, page: Gup, result: int, mode: str) -> Step[None]:
    """The end of a fault: give mmu_lock and the page back. Up to 6.12 the page is released after the lock."""
    if kvm.features.retry_marks_accessed:
        yield Release(kvm.mmu_lock, mode)
        yield from kvm_mmu_finish_page_fault(kvm, page, result)
    else:
        yield from kvm_mmu_finish_page_fault(kvm, page, result)
        yield Release(kvm.mmu_lock, mode)


def _direct_page_fault(vcpu: Vcpu, gfn: Gfn, *, write: bool, as_id: int) -> Step[int]:
    """kvm_tdp_mmu_page_fault() under mmu_lock for read, direct_page_fault() under mmu_lock for write."""
    kvm = vcpu.kvm
    slot, without_page = yield from _memslot_of(kvm, gfn, as_id)
    if slot is None:
        return without_page
    seq, page = yield from kvm_mmu_faultin_pfn(kvm, slot, gfn, write=write)
    if page is None:
        return RET_PF_RETRY
    mode = SHARED if kvm.tdp_mmu_enabled else WRITE
    yield Acquire(kvm.mmu_lock, mode)
    result = RET_PF_RETRY
    root = yield from root_of(vcpu, None, as_id)
    if root is not None and not (yield from _is_page_fault_stale(kvm, root, seq, gfn)):
        level = goal_level(kvm, slot, gfn, page)
        fault = Fault(gfn, gfn, slot, write, page.pfn, page.writable, level)
        if kvm.tdp_mmu_enabled:
            result = yield from kvm_tdp_mmu_map(vcpu, root, fault)
        else:
            result = yield from _direct_map(kvm, root, fault)
    yield from _unlock_and_release(kvm, page, result, mode)
    return result


def _is_page_fault_stale(kvm: Kvm, root: MmuPage, seq: int, gfn: int) -> Step[bool]:
    """is_page_fault_stale(), mmu_lock held: an obsolete root, or an invalidation since the page was looked up."""
    if (yield Load(root.invalid)):
        return True
    return (yield from mmu_invalidate_retry_gfn(kvm, seq, gfn))


def _direct_map(kvm: Kvm, root: MmuPage, fault: Fault) -> Step[int]:
    """direct_map(): the legacy MMU of a guest without TDP MMU."""
    page = yield from walk_to_level(kvm, root, fault.address, fault.goal_level)
    index = kvm.index(fault.address, page.level)
    size = kvm.pages_per_level(page.level)
    base, pfn = Gfn(fault.gfn - fault.gfn % size), type(fault.pfn)(fault.pfn - fault.pfn % size)
    result = yield from mmu_set_spte(kvm, fault.slot, page, index, base, pfn, fault, writable=True)
    if result != RET_PF_SPURIOUS:
        yield from direct_pte_prefetch(kvm, fault.slot, page, index)
    return result


def _shadow_page_fault(vcpu: Vcpu, address: int, *, write: bool, tables: GuestTables, as_id: int) -> Step[int]:
    """FNAME(page_fault): walk the guest's tables (which sets A and D there), then map under mmu_lock for write."""
    kvm = vcpu.kvm
    gpte: int = yield Load(tables.gpte(address))
    wanted = gpte | (tables.ACCESSED | (tables.DIRTY if write else 0) if tables.ad else 0)
    while gpte != wanted:  # FNAME(update_accessed_dirty_bits)
        found: int = yield CompareExchange(tables.gpte(address), gpte, wanted)
        if found == gpte:
            break
        gpte, wanted = found, found | (wanted & (tables.ACCESSED | tables.DIRTY))
        yield Again(address, gpte, wanted)
    gfn = tables.gfn_of(address)
    slot, without_page = yield from _memslot_of(kvm, gfn, as_id)
    if slot is None:
        return without_page
    seq, page = yield from kvm_mmu_faultin_pfn(kvm, slot, gfn, write=write)
    if page is None:
        return RET_PF_RETRY
    yield Acquire(kvm.mmu_lock)
    result = RET_PF_RETRY
    root: MmuPage | None = yield Load(tables.root)
    if root is not None and not (yield from mmu_invalidate_retry_gfn(kvm, seq, gfn)):
        table = yield from walk_to_level(kvm, root, address, PG_LEVEL_4K)
        index = kvm.index(address, PG_LEVEL_4K)
        fault = Fault(address, gfn, slot, write, page.pfn, page.writable, PG_LEVEL_4K)
        writable = gpte_writable(tables, wanted)
        result = yield from mmu_set_spte(kvm, slot, table, index, gfn, page.pfn, fault, writable=writable)
        if result != RET_PF_SPURIOUS:
            yield from pte_prefetch(kvm, table, index, address)
    yield from _unlock_and_release(kvm, page, result, WRITE)
    return result


def gpte_writable(tables: GuestTables, gpte: int) -> bool:
    """FNAME(protect_clean_gpte): a clean guest entry is mapped read-only, so that its first write is seen."""
    return bool(gpte & tables.WRITABLE) and (not tables.ad or bool(gpte & tables.DIRTY))
