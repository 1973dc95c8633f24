"""What a page fault carries from one function to the next (struct kvm_page_fault, arch/x86/kvm/mmu/mmu_internal.h)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agewalk.core.units import Gfn, Pfn
from agewalk.model.kvm.memslots import Memslot

RET_PF_CONTINUE: Final = 0
RET_PF_RETRY: Final = 1
RET_PF_EMULATE: Final = 2
RET_PF_INVALID: Final = 4  # not for the fast path
RET_PF_FIXED: Final = 5
RET_PF_SPURIOUS: Final = 6


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault whose page has been found. address: what the CPU could not translate; gfn: the same, or what the guest's
    own tables make of it. goal_level: PG_LEVEL_* to map at. map_writable: the primary MMU lets it be written.
    guest_writable: so do the guest's tables.
    """

    address: int
    gfn: Gfn
    slot: Memslot
    write: bool
    pfn: Pfn
    map_writable: bool
    goal_level: int
    guest_writable: bool = True
    prefetch: bool = False
