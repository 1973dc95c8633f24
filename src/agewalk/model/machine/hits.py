"""Accesses that change nothing: the page is mapped and its bits are set. Nearly all accesses of a trace are of this kind, and
the direct executor skips them. A test compares the states with and without this short cut."""

from __future__ import annotations

from agewalk.model.kvm.kvm_host import GuestTables, MmuPage, Vcpu
from agewalk.model.kvm.mmu.spte import hardware_allows, hardware_bits, is_last_spte
from agewalk.model.mm.faults.access import changes_nothing

__all__ = ["changes_nothing", "guest_hit"]


def guest_hit(vcpu: Vcpu, gfn: int, tables: GuestTables | None, *, write: bool) -> bool:
    """Would `guest_access()` only read? Needs KvmConfig.paging_structure_cache."""
    kvm = vcpu.kvm
    if tables is None:
        address, space = gfn, 0
    else:
        address, space = tables.address(gfn), -1 - tables.serial
    table: MmuPage | None = vcpu.paging_structure(space, address >> kvm.config.level_bits).value
    if table is None or table.freed:
        return False
    spte: int = table.entry_of(address).value
    return (
        hardware_allows(spte, write=write)
        and is_last_spte(spte, table.level)
        and not hardware_bits(kvm.format, spte, write=write)
    )
