"""Kernels up to 6.12.0: page-table walks and look-around read the primary MMU alone; KVM is asked at eviction."""

from __future__ import annotations

from typing import ClassVar

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young
from agewalk.model.protocols.base import AgingProtocol, Verdict


class Linux69(AgingProtocol):
    """6.9's kvm_age_gfn() (arch/x86/kvm/mmu/mmu.c) under mmu_lock, lru_gen_look_around() (mm/vmscan.c) on primary bits."""

    name = "linux-6.9"
    summary = (
        "Secondary MMUs are consulted at eviction only; a guest's accesses are invisible to aging and look-around."
    )
    cite = "Linux 6.9: mm/rmap.c folio_referenced_one(), mm/vmscan.c lru_gen_look_around(), virt/kvm/kvm_main.c"
    profile = "6.9"
    lockless = False
    features: ClassVar[dict[str, object]] = {"walk_notifies": False, "look_around_tests_target": False}
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False}

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """Rmaps first, then the TDP MMU; a test asks both as well."""
        young = False
        if (yield from self.has_rmaps(kvm)):
            young = yield from self.age_shadow_mmu(kvm, rng, clear=clear)
        if kvm.tdp_mmu_enabled:
            young |= yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        return int(young)

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """The primary MMU alone."""
        return (yield from ptep_test_and_clear_young(entry))

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """ptep_clear_flush_young_notify(): every MMU is asked, but only a young primary entry leads to a look-around."""
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_flush_young(mm, hva, Hva(hva + size))
        return Verdict(referenced=primary or bool(secondary), look_around=primary)
