"""The hardware side of a host process: an access walks the page tables, sets accessed and dirty bits, or faults.

Translations are not cached: each access reads the entries. A CPU that still has one in its TLB does not set the accessed bit
again (reference 3.6); the recordings flush before they touch.
"""

from __future__ import annotations

from typing import Final

from agewalk.core.effects import READ, Acquire, Again, FetchOr, Load, Release, Step
from agewalk.core.errors import ModelError
from agewalk.core.units import PAGE_SHIFT, PMD_SHIFT, PTRS_PER_PTE, Hva
from agewalk.model.mm import pte as p
from agewalk.model.mm.faults.handle_mm_fault import handle_mm_fault
from agewalk.model.mm.mm import find_vma, pte_index
from agewalk.model.mm.mm_types import Memory, Mm

_READ: Final = p.PRESENT | p.ACCESSED
_WRITTEN: Final = p.PRESENT | p.ACCESSED | p.RW | p.DIRTY
_TABLE: Final = p.PRESENT | p.ACCESSED  # and no PSE: a page table that was walked since aging cleared the bit


def access(memory: Memory, mm: Mm, address: Hva, *, write: bool) -> Step[None]:
    """A load or store by a thread of `mm`, until it has succeeded. Raises ModelError where no VMA allows it (SIGSEGV)."""
    wanted = p.ACCESSED | p.DIRTY if write else p.ACCESSED
    while True:
        pmd_cell = mm.pmd_cell(address)
        pmd: int = yield Load(pmd_cell)
        if pmd & p.PRESENT:
            if not pmd & p.PSE:
                if not pmd & p.ACCESSED:  # the walk marks the tables that it passes through
                    yield FetchOr(pmd_cell, p.ACCESSED)
                cell = mm.tables[p.pte_pfn(pmd)].ptes[pte_index(address)]
                entry: int = yield Load(cell)
            else:
                cell, entry = pmd_cell, pmd
            if entry & p.PRESENT and (entry & p.RW or not write):
                if entry & wanted != wanted:
                    entry = yield FetchOr(cell, wanted)
                    if not entry & p.PRESENT:
                        raise ModelError(
                            f"{cell.name} vanished under a hardware walk", hint="the direct executor runs one CPU"
                        )
                return
        yield from do_user_addr_fault(memory, mm, address, write=write)
        yield Again("access", address, write)


def changes_nothing(mm: Mm, address: Hva, *, write: bool) -> bool:
    """Would `access()` only read? The direct executor, which counts no loads, skips such accesses. Reads values from outside."""
    pmd_cell = mm.pmds.get(address >> PMD_SHIFT)
    if pmd_cell is None:
        return False
    pmd: int = pmd_cell.value
    if pmd & (_TABLE | p.PSE) == _TABLE:
        entry: int = mm.tables[p.pte_pfn(pmd)].ptes[address >> PAGE_SHIFT & PTRS_PER_PTE - 1].value
    else:
        entry = pmd if pmd & p.PSE else 0
    wanted = _WRITTEN if write else _READ
    return entry & wanted == wanted


def do_user_addr_fault(memory: Memory, mm: Mm, address: Hva, *, write: bool) -> Step[None]:
    """do_user_addr_fault() (arch/x86/mm/fault.c): one page fault. From 6.4 on under the lock of the VMA, which no other thread
    wants here; before that under mmap_lock."""
    locked = not memory.features.fault_under_vma_lock
    if locked:
        yield Acquire(mm.mmap_lock, READ)
    vma = find_vma((yield Load(mm.vmas)), address)
    if vma is None or vma.inaccessible:
        raise ModelError(
            f"{mm.label}: no mapping at {address:#x}",
            hint="the process would get SIGSEGV; map memory before touching it",
        )
    yield from handle_mm_fault(memory, mm, vma, address, write=write)
    if locked:
        yield Release(mm.mmap_lock, READ)
