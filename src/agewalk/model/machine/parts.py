"""What runs on a host: processes, and virtual machines whose memory is that of a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agewalk.core.units import PAGE_SHIFT, Gfn, Hva, Pages
from agewalk.model.kvm.config import LEGACY, SHADOW, TDP, KvmConfig
from agewalk.model.kvm.kvm_host import GuestTables, Kvm, Vcpu
from agewalk.model.mm.mm_types import Mm

BACKINGS: Final = {"tdp": TDP, "legacy": LEGACY, "shadow": SHADOW}
NOTHING: Final = Pages(0)
PT64_ROOT_MAX_LEVEL: Final = 5
KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE: Final = 40  # arch/x86/include/asm/kvm_types.h
BASE: Final = Hva(1 << 30)  # where a process's memory starts: 1 GiB aligned, away from address 0
BASE_GFN: Final = Gfn(512)  # where a VM's memory starts, as in the recordings


@dataclass(eq=False)
class Process:
    """A process with one region of memory: `pages` of it from `start` on, page i at start + i * 4096."""

    name: str
    mm: Mm
    start: Hva
    pages: Pages
    vms: list[VirtualMachine] = field(default_factory=list)
    alive: bool = True

    def hva(self, page: int) -> Hva:
        """Address of page `page`."""
        return Hva(self.start + (page << PAGE_SHIFT))

    def page(self, hva: int) -> int:
        """The page at an address."""
        return (hva - self.start) >> PAGE_SHIFT


@dataclass(eq=False)
class VirtualMachine:
    """A VM: gfn `base_gfn` + i is page i of its process. nested: the nested guest's page tables while there is one."""

    name: str
    kvm: Kvm
    process: Process
    base_gfn: Gfn
    nested: GuestTables | None = None
    nested_serial: int = 0  # of the last nested guest
    running: bool = True
    mmu_pages_charged: Pages = NOTHING

    def topup(self) -> Pages:
        """mmu_topup_memory_caches(), at each fault of the guest: pages that the vCPU's cache of page tables takes. It is filled
        when fewer than the levels of a page table are left. The shadow MMU has a second cache (mmu_shadowed_info_cache)."""
        left = self.mmu_pages_charged - self.kvm.mmu_pages_made
        if left >= PT64_ROOT_MAX_LEVEL:
            return NOTHING
        more = Pages(KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE - left)
        self.mmu_pages_charged = Pages(self.mmu_pages_charged + more)
        return more if self.kvm.config.tdp else Pages(2 * more)

    @property
    def vcpu(self) -> Vcpu:
        """The first vCPU."""
        return self.kvm.vcpus[0]


def backing_config(mmu: str, *, ad_bits: bool) -> KvmConfig:
    """KvmConfig of a VM by the words of a scenario file: tdp, legacy or shadow; without A/D bits it is Intel's EPT."""
    from dataclasses import replace

    config = replace(BACKINGS[mmu], paging_structure_cache=True)
    return config if ad_bits else replace(config, ad_bits=False, ept=True)
