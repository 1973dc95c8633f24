"""How the MMUs of a virtual machine are set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class KvmConfig:
    """How a VM's MMUs are set up. The three backings of the witnesses: tdp (the default), legacy (tdp_mmu=False: rmaps,
    no TDP MMU), shadow (tdp and tdp_mmu False: KVM shadows the guest's own page tables).

    tdp: nested paging in hardware (ept=1, npt=1). tdp_mmu: the TDP MMU (module parameter tdp_mmu). ept: Intel's format.
    ad_bits: the hardware has A/D bits (kvm_ad_enabled; only EPT can lack them).
    levels: of the page tables (4). level_bits: log2 of a table's entries (9); `agewalk check` takes fewer of both.
    address_spaces: 1, or 2 with system management mode. max_level: largest mapping, PG_LEVEL_*.
    rmap_recycle_threshold: a chain of more SPTEs is zapped (RMAP_RECYCLE_THRESHOLD, mmu.c).
    paging_structure_cache: the CPU remembers which table translates a region and reads only the leaf (`hardware.py`).
        For the direct executor alone.
    """

    tdp: bool = True
    tdp_mmu: bool = True
    ept: bool = False
    ad_bits: bool = True
    levels: int = 4
    level_bits: int = 9
    address_spaces: int = 1
    max_level: int = 2
    rmap_recycle_threshold: int = 1000
    paging_structure_cache: bool = False

    @property
    def likely_fast(self) -> bool:
        """kvm_arch_young_notifier_likely_fast() on x86-64: tdp_mmu_enabled and shadow_accessed_mask, globals of KVM
        (20240611002145.2078921-1-jthoughton@google.com, and kvm_arch_has_test_clear_young() of v1 to v3)."""
        return self.tdp_mmu and self.ad_bits

    def __post_init__(self) -> None:
        if self.tdp_mmu and not self.tdp:
            raise ValueError("the TDP MMU needs nested paging: tdp_mmu=True goes with tdp=True")
        if not self.ad_bits and not self.ept:
            raise ValueError("only EPT can lack accessed and dirty bits: ad_bits=False goes with ept=True")


TDP: Final = KvmConfig()
LEGACY: Final = KvmConfig(tdp_mmu=False)
SHADOW: Final = KvmConfig(tdp=False, tdp_mmu=False)
