"""Reverse maps of the shadow MMU: from a gfn to all SPTEs that map it (arch/x86/kvm/mmu/mmu.c).

A head is one word: 0, the address of one SPTE, or the address of a pte_list_desc with KVM_RMAP_MANY. Since 6.15 the
word also holds a lock of its own, KVM_RMAP_LOCKED. Chains change under mmu_lock held for write, and (6.15) that bit;
a reader needs the bit alone.
"""

from __future__ import annotations

from typing import Final

from agewalk.core.cells import Cell
from agewalk.core.effects import (
    ACQUIRE,
    RELEASE,
    Again,
    Alloc,
    CompareExchange,
    Count,
    Exchange,
    FetchAnd,
    Free,
    Load,
    PreemptDisable,
    PreemptEnable,
    Step,
    Store,
    WaitFor,
    Warn,
)
from agewalk.model.kvm.kvm_host import PTE_LIST_EXT, Kvm, PteListDesc
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu.spte import (
    PG_LEVEL_4K,
    is_accessed_spte,
    is_shadow_present_pte,
    is_writable_pte,
    mark_spte_for_access_track,
    saved_bits_clash,
    spte_ad_enabled,
    spte_needs_atomic_update,
)
from agewalk.model.kvm.mmu.tdp_mmu import kvm_set_pfn_dirty

KVM_RMAP_MANY: Final = 1 << 0
KVM_RMAP_LOCKED: Final = 1 << 1

# --- the lock -------------------------------------------------------------------------------------------------------------


def __kvm_rmap_lock(head: Cell) -> Step[int]:
    """The head's value without KVM_RMAP_LOCKED, now locked; 0 if it is empty: then nothing is locked."""
    old: int = yield Load(head)
    while True:
        if old & KVM_RMAP_LOCKED:
            old = yield WaitFor(head, KVM_RMAP_LOCKED, 0)
        if not old:
            return 0
        found: int = yield CompareExchange(head, old, old | KVM_RMAP_LOCKED, ACQUIRE)
        if found == old:
            return old
        old = found
        yield Again(head, old)


def kvm_rmap_lock(kvm: Kvm, head: Cell) -> Step[int]:
    """kvm_rmap_lock(), mmu_lock held for write: the chain may be changed until kvm_rmap_unlock()."""
    if kvm.features.rmap_bit_lock:
        return (yield from __kvm_rmap_lock(head))
    value: int = yield Load(head)
    return value


def kvm_rmap_unlock(head: Cell, value: int) -> Step[None]:
    """kvm_rmap_unlock(): publishes the chain's new head."""
    yield Store(head, value, RELEASE)


def kvm_rmap_lock_readonly(head: Cell) -> Step[int]:
    """kvm_rmap_lock_readonly(): mmu_lock is not held. The holder of the bit must not be preempted."""
    yield PreemptDisable()
    value = yield from __kvm_rmap_lock(head)
    if not value:
        yield PreemptEnable()
        return 0
    yield Count("rmap_locks")
    return value


def kvm_rmap_unlock_readonly(head: Cell, value: int) -> Step[None]:
    """kvm_rmap_unlock_readonly()."""
    if not value:
        return
    if (yield Load(head)) & ~KVM_RMAP_LOCKED != value:
        yield Warn("an rmap chain changed while a reader held it locked")
    yield Store(head, value, RELEASE)
    yield PreemptEnable()


# --- the chain ------------------------------------------------------------------------------------------------------------


def pte_list_add(kvm: Kvm, head: Cell, sptep: int) -> Step[int]:
    """pte_list_add(): how many SPTEs the chain held before (the kernel's count)."""
    old = yield from kvm_rmap_lock(kvm, head)
    count = 0
    if not old:
        new = sptep
    elif not old & KVM_RMAP_MANY:
        desc: PteListDesc = yield Alloc(kvm.desc_slab)
        yield Store(desc.more, 0)
        yield Store(desc.sptes[0], old)
        yield Store(desc.sptes[1], sptep)
        yield Store(desc.spte_count, 2)
        yield Store(desc.tail_count, 0)
        new = desc.address | KVM_RMAP_MANY
        count = 1
    else:
        desc = kvm.desc_at(old & ~KVM_RMAP_MANY)
        used: int = yield Load(desc.spte_count)
        count = (yield Load(desc.tail_count)) + used
        new = old
        if used == PTE_LIST_EXT:  # tail descriptors are kept full: a new head takes the entry
            desc = yield Alloc(kvm.desc_slab)
            yield Store(desc.more, old & ~KVM_RMAP_MANY)
            yield Store(desc.tail_count, count)
            new = desc.address | KVM_RMAP_MANY
            used = 0
        yield Store(desc.sptes[used], sptep)
        yield Store(desc.spte_count, used + 1)
    yield from kvm_rmap_unlock(head, new)
    return count


def pte_list_remove(kvm: Kvm, head: Cell, sptep: int) -> Step[None]:
    """pte_list_remove(): the chain's last entry moves into the hole."""
    value = yield from kvm_rmap_lock(kvm, head)
    if not value:
        yield Warn("pte_list_remove() from an empty chain")
        return
    if not value & KVM_RMAP_MANY:
        if value != sptep:
            yield Warn("pte_list_remove(): another SPTE is there")
        yield from kvm_rmap_unlock(head, 0)
        return
    first = at = value & ~KVM_RMAP_MANY
    while at:
        desc = kvm.desc_at(at)
        for i in range((yield Load(desc.spte_count))):
            if (yield Load(desc.sptes[i])) == sptep:
                value = yield from _pte_list_desc_remove_entry(kvm, first, desc, i)
                yield from kvm_rmap_unlock(head, value)
                return
        at = yield Load(desc.more)
    yield Warn("pte_list_remove(): the SPTE is not in the chain")


def _pte_list_desc_remove_entry(kvm: Kvm, first: int, desc: PteListDesc, i: int) -> Step[int]:
    """pte_list_desc_remove_entry(): the head's new value."""
    head_desc = kvm.desc_at(first)
    last: int = (yield Load(head_desc.spte_count)) - 1
    moved: int = yield Load(head_desc.sptes[last])
    yield Store(desc.sptes[i], moved)
    yield Store(head_desc.sptes[last], 0)
    yield Store(head_desc.spte_count, last)
    if last:
        return first | KVM_RMAP_MANY
    more: int = yield Load(head_desc.more)
    yield Free(head_desc)
    return more | KVM_RMAP_MANY if more else 0


def rmap_sptes(kvm: Kvm, value: int) -> Step[list[int]]:
    """Addresses of all SPTEs of a chain that the caller keeps from changing; the head's descriptor first."""
    if not value:
        return []
    if not value & KVM_RMAP_MANY:
        return [value]
    found = []
    at = value & ~(KVM_RMAP_MANY | KVM_RMAP_LOCKED)
    while at:
        desc = kvm.desc_at(at)
        for i in range((yield Load(desc.spte_count))):
            found.append((yield Load(desc.sptes[i])))
        at = yield Load(desc.more)
    return found


# --- aging ----------------------------------------------------------------------------------------------------------------


def kvm_rmap_age_gfn_range(
    kvm: Kvm, rng: GfnRange, *, test_only: bool, bit_lock: bool, ad_only: bool = False
) -> Step[bool]:
    """kvm_rmap_age_gfn_range(): test, or test and clear, all shadow SPTEs of [start, end), at every level.

    bit_lock: hold each chain by KVM_RMAP_LOCKED, without mmu_lock (6.15); else the caller holds mmu_lock for write.
    ad_only: leave A/D-disabled SPTEs young, they cannot be access-tracked without mmu_lock (v7's fast_only).
    """
    yield Count("kvm_rmap_age_gfn_range")
    young = False
    for level in range(PG_LEVEL_4K, max(kvm.config.max_level, 1) + 1):
        size = kvm.pages_per_level(level)
        first = rng.start if kvm.features.rmap_age_strides else rng.start - rng.start % size
        for gfn in range(first, rng.end, size):
            head = rng.slot.rmap(level, gfn)
            if bit_lock:
                value = yield from kvm_rmap_lock_readonly(head)
            else:
                value = (yield Load(head)) & ~KVM_RMAP_LOCKED
            young |= yield from _age_chain(kvm, value, test_only=test_only, bit_lock=bit_lock, ad_only=ad_only)
            if bit_lock:
                yield from kvm_rmap_unlock_readonly(head, value)
            if young and test_only:
                return True
    return young


def _age_chain(kvm: Kvm, value: int, *, test_only: bool, bit_lock: bool, ad_only: bool) -> Step[bool]:
    """All SPTEs of the chain whose head has `value`: was one of them young? A test stops at the first that is."""
    if not value & KVM_RMAP_MANY:
        if not value:
            return False
        return (yield from _age_one(kvm, value, test_only, bit_lock, ad_only))
    young = False
    at = value & ~KVM_RMAP_MANY
    while at:
        desc = kvm.desc_at(at)
        for i in range((yield Load(desc.spte_count))):
            young |= yield from _age_one(kvm, (yield Load(desc.sptes[i])), test_only, bit_lock, ad_only)
            if young and test_only:
                return True
        at = yield Load(desc.more)
    return young


def _age_one(kvm: Kvm, address: int, test_only: bool, bit_lock: bool, ad_only: bool) -> Step[bool]:
    """One SPTE of a chain. Without mmu_lock it may have been zapped and not yet unlinked: then it is not present."""
    f = kvm.format
    sptep = kvm.sptep(address)
    old: int = yield Load(sptep)
    if not is_shadow_present_pte(old):
        if not bit_lock:
            yield Warn("a non-present SPTE in an rmap chain under mmu_lock")
        return False
    if not is_accessed_spte(f, old):
        return False
    if test_only or (ad_only and not spte_ad_enabled(f, old)):
        return True
    if spte_ad_enabled(f, old):
        if kvm.features.rmap_age_by_cmpxchg:
            yield CompareExchange(sptep, old, old & ~f.accessed)
        else:
            yield FetchAnd(sptep, ~f.accessed)  # clear_bit(): LOCK BTR
        return True
    if kvm.features.age_tracking_marks_dirty and is_writable_pte(old):
        yield from kvm_set_pfn_dirty(kvm, old)
    if saved_bits_clash(f, old):
        yield Warn("Access Tracking saved bit locations are not zero")
    new = mark_spte_for_access_track(f, old)
    if bit_lock:
        yield CompareExchange(sptep, old, new)  # failed: zapped or in use, so young all the same
    elif spte_needs_atomic_update(f, old):
        yield Exchange(sptep, new)  # mmu_spte_update_no_track(), __update_clear_spte_slow()
    else:
        yield Store(sptep, new)  # __update_clear_spte_fast()
    return True
