"""What the CPU does when a guest touches memory: walk KVM's tables, set accessed and dirty bits, or exit to KVM.

The walk is inside an RCU section here. A CPU takes no such lock; it is kept from reading freed tables by the IPI that a
TLB flush or kvm_make_all_cpus_request() sends, which waits until it has left the guest. With
`KvmConfig.paging_structure_cache` the CPU reads only the leaf, as real ones do while their paging-structure caches hit.
"""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.core.effects import (
    Again,
    CompareExchange,
    Load,
    RcuReadLock,
    RcuReadUnlock,
    SrcuReadLock,
    SrcuReadUnlock,
    Step,
    Store,
    Work,
)
from agewalk.model.kvm.kvm_host import GuestTables, MmuPage, Vcpu
from agewalk.model.kvm.mmu.fault import RET_PF_EMULATE
from agewalk.model.kvm.mmu.page_fault import kvm_mmu_page_fault, kvm_mmu_reload, root_of
from agewalk.model.kvm.mmu.spte import hardware_allows, hardware_bits, is_last_spte, is_shadow_present_pte, spte_to_pfn


def guest_access(
    vcpu: Vcpu, gfn: int, *, write: bool, nested: GuestTables | None = None, alias: int = 0, as_id: int = 0
) -> Step[None]:
    """A guest loads from or stores to a page.

    gfn: frame of the VM (L1). nested: the nested guest's tables if it is that guest that touches the page, through its
    mapping number `alias`. as_id: 1 in system management mode.
    """
    kvm = vcpu.kvm
    tables = nested if nested is not None else kvm.guest_tables
    address = gfn if tables is None else tables.address(gfn, alias)
    space = as_id if tables is None else -1 - tables.serial
    while True:
        if kvm.config.paging_structure_cache:
            done, present = yield from _cached_walk(vcpu, address, write, tables, as_id, space)
        else:
            yield RcuReadLock()
            done, present = yield from _walk(vcpu, address, write, tables, as_id, None)
            yield RcuReadUnlock()
        if done or (yield from vm_exit(vcpu, address, write=write, present=present, tables=tables, as_id=as_id)):
            return
        yield Again(address)


def vm_exit(
    vcpu: Vcpu, address: int, *, write: bool, present: bool, tables: GuestTables | None, as_id: int
) -> Step[bool]:
    """From the exit to the next entry (vcpu_enter_guest). True if KVM did the access itself."""
    kvm = vcpu.kvm
    yield Work("vm_exit")
    yield SrcuReadLock(kvm.srcu)
    yield from kvm_mmu_reload(vcpu, tables, as_id)
    result = yield from kvm_mmu_page_fault(vcpu, address, write=write, present=present, tables=tables, as_id=as_id)
    yield SrcuReadUnlock(kvm.srcu)
    yield Work("vm_entry")
    return result == RET_PF_EMULATE


def _cached_walk(
    vcpu: Vcpu, address: int, write: bool, tables: GuestTables | None, as_id: int, space: int
) -> Step[tuple[bool, bool]]:
    kvm = vcpu.kvm
    remembered = vcpu.paging_structure(space, address >> kvm.config.level_bits)
    table: MmuPage | None = yield Load(remembered)
    if table is not None:
        f = kvm.format
        sptep = table.entry_of(address)
        spte: int = yield Load(sptep)
        if hardware_allows(spte, write=write) and is_last_spte(spte, table.level):
            bits = hardware_bits(f, spte, write=write)
            if not bits or (yield CompareExchange(sptep, spte, spte | bits)) == spte:
                return True, True
    return (yield from _walk(vcpu, address, write, tables, as_id, remembered))


def _walk(
    vcpu: Vcpu, address: int, write: bool, tables: GuestTables | None, as_id: int, remember: Cell | None
) -> Step[tuple[bool, bool]]:
    """Did the access go through, and was a present entry found? remember: where to note the table with the leaf."""
    kvm = vcpu.kvm
    root = yield from root_of(vcpu, tables, as_id)
    if root is None:
        return False, False
    table = root
    while True:
        sptep = table.entry_of(address)
        spte: int = yield Load(sptep)
        while is_shadow_present_pte(spte) and is_last_spte(spte, table.level) and hardware_allows(spte, write=write):
            bits = hardware_bits(kvm.format, spte, write=write)
            found: int = spte if not bits else (yield CompareExchange(sptep, spte, spte | bits))
            if found == spte:
                if remember is not None:
                    yield Store(remember, table)
                return True, True
            spte = found
            yield Again(address, table, spte)
        if not is_shadow_present_pte(spte) or is_last_spte(spte, table.level):
            return False, bool(spte & 1)
        table = kvm.page_at(spte_to_pfn(spte))
