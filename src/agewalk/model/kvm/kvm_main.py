"""VMs, nested guests and memory slots come and go (virt/kvm/kvm_main.c, arch/x86/kvm/mmu/mmu.c)."""

from __future__ import annotations

from agewalk.core.effects import (
    Acquire,
    Again,
    Free,
    Load,
    Release,
    Step,
    Store,
    SynchronizeSrcu,
    WaitFor,
    Warn,
)
from agewalk.model.kvm.config import TDP, KvmConfig
from agewalk.model.kvm.features import KvmFeatures
from agewalk.model.kvm.host_memory import HostMemory
from agewalk.model.kvm.kvm_host import GuestTables, Kvm, SecondaryMmuAging, Vcpu
from agewalk.model.kvm.memslots import Memslot, SlotSet
from agewalk.model.kvm.mmu.page_fault import kvm_mmu_free_root, kvm_mmu_reload
from agewalk.model.kvm.mmu.shadow_mmu import forget_guest_tables, kvm_mmu_zap_all_shadow_pages
from agewalk.model.kvm.mmu.tdp_map import (
    kvm_tdp_mmu_invalidate_roots,
    kvm_tdp_mmu_zap_invalidated_roots,
)
from agewalk.model.kvm.notifier import kvm_mmu_notifier_ops
from agewalk.model.kvm.tlb import forget_paging_structures, kvm_flush_remote_tlbs
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm


def new_kvm(
    label: str,
    mm: Mm,
    host: HostMemory,
    protocol: SecondaryMmuAging,
    features: KvmFeatures,
    *,
    config: KvmConfig = TDP,
    slots: tuple[Memslot, ...] = (),
    vcpus: int = 1,
) -> Kvm:
    """Allocate a VM; `kvm_create_vm()` makes it known to its process."""
    ops = kvm_mmu_notifier_ops(fast_op=protocol.fast_op, bitmap=protocol.lockless_first)
    mm.kvm_likely_fast = config.likely_fast
    return Kvm(label, mm, host, protocol, features, ops, config=config, slots=slots, vcpus=vcpus)


def kvm_create_vm(kvm: Kvm) -> Step[None]:
    """kvm_create_vm(), the part that matters here: subscribe to the process's mmu notifiers."""
    yield from mmu_notifier.register(kvm.mm, kvm.notifier)


def kvm_destroy_vm(kvm: Kvm) -> Step[None]:
    """kvm_destroy_vm(): unsubscribe (which zaps everything), drop roots and slots. The mm keeps its (empty) list."""
    yield from mmu_notifier.unregister(kvm.mm, kvm.notifier)
    running: int = yield Load(kvm.mn_active_invalidate_count)
    if running:
        yield Store(kvm.mn_active_invalidate_count, 0)  # its range_end will never come
    elif (yield Load(kvm.mmu_invalidate_in_progress)):
        yield Warn("a VM is destroyed while an invalidation is in progress")
    for vcpu in kvm.vcpus:
        for as_id in range(kvm.config.address_spaces):
            yield from kvm_mmu_free_root(vcpu, as_id)
    if kvm.tdp_mmu_enabled:
        yield from kvm_tdp_mmu_invalidate_roots(kvm)  # kvm_mmu_uninit_tdp_mmu()
        yield from kvm_tdp_mmu_zap_invalidated_roots(kvm)
        if (yield Load(kvm.tdp_roots)) is not None:
            yield Warn("TDP MMU roots are left at the end of a VM")
    for cell in kvm.memslots:
        slots: SlotSet = yield Load(cell)
        yield Store(cell, ())
        for slot, _ in slots:
            yield Free(slot)


def nested_guest_start(vcpu: Vcpu, tables: GuestTables) -> Step[None]:
    """A nested guest is entered for the first time: KVM makes a shadow root for its hypervisor's tables."""
    yield from kvm_mmu_reload(vcpu, tables, 0)


def nested_guest_stop(kvm: Kvm, tables: GuestTables) -> Step[None]:
    """A nested guest is gone for good; indirect_shadow_pages falls, shadow_root_allocated stays."""
    yield from forget_guest_tables(kvm, tables)


def kvm_mmu_zap_all_fast(kvm: Kvm) -> Step[None]:
    """kvm_mmu_zap_all_fast(), slots_lock held: every vCPU gets a new root, the old roots become invalid and are then zapped."""
    yield Acquire(kvm.mmu_lock)
    yield from kvm_mmu_zap_all_shadow_pages(kvm)
    if kvm.tdp_mmu_enabled:
        yield from kvm_tdp_mmu_invalidate_roots(kvm)
    yield from forget_paging_structures(kvm)
    yield from kvm_flush_remote_tlbs(kvm)  # KVM_REQ_MMU_FREE_OBSOLETE_ROOTS kicks vCPUs out of the guest
    yield Release(kvm.mmu_lock)
    if kvm.tdp_mmu_enabled:
        yield from kvm_tdp_mmu_zap_invalidated_roots(kvm)


def kvm_delete_memslot(kvm: Kvm, slot: Memslot) -> Step[None]:
    """kvm_set_memslot(KVM_MR_DELETE): mark invalid, wait for readers, zap, remove, wait again, free."""
    yield Acquire(kvm.slots_lock)
    yield from _swap_memslots(kvm, slot, keep=True)
    yield from kvm_mmu_zap_all_fast(kvm)
    yield from _swap_memslots(kvm, slot, keep=False)
    yield Release(kvm.slots_lock)
    yield Free(slot)


def _swap_memslots(kvm: Kvm, slot: Memslot, *, keep: bool) -> Step[None]:
    """kvm_swap_active_memslots(): not between an invalidate_range_start() and its end; then wait for SRCU readers."""
    yield Acquire(kvm.mn_invalidate_lock)
    while (yield Load(kvm.mn_active_invalidate_count)):
        yield Release(kvm.mn_invalidate_lock)
        yield WaitFor(kvm.mn_active_invalidate_count, -1, 0)
        yield Again(slot, keep)
        yield Acquire(kvm.mn_invalidate_lock)
    cell = kvm.slots(slot.as_id)
    old: SlotSet = yield Load(cell)
    kept = tuple((s, deleted or s is slot) for s, deleted in old if keep or s is not slot)
    yield Store(cell, kept)
    yield Release(kvm.mn_invalidate_lock)
    yield SynchronizeSrcu(kvm.srcu)


__all__ = [
    "kvm_create_vm",
    "kvm_delete_memslot",
    "kvm_destroy_vm",
    "kvm_mmu_zap_all_fast",
    "nested_guest_start",
    "nested_guest_stop",
    "new_kvm",
]
