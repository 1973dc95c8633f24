"""v4 of the series: MGLRU asks with the operations that there are; KVM's TDP MMU answers without mmu_lock."""

from __future__ import annotations

from typing import ClassVar

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young
from agewalk.model.protocols.base import AgingProtocol, Verdict


class V4(AgingProtocol):
    """As posted on 2024-05-29, with CONFIG_LRU_GEN_WALKS_SECONDARY_MMU. A process that has notifiers gets no look-around."""

    name = "v4"
    summary = "Walks ask every MMU, test first, then clear; no look-around at all where a secondary MMU is subscribed."
    cite = "20240529180510.2295118-1-jthoughton@google.com"
    features: ClassVar[dict[str, object]] = {
        "walk_notifies": True,
        "nonleaf_shortcut_ends": "with_secondary_walk",
        "look_around_tests_target": True,
    }
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False, "tdp_age_retries": True}

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """Rmaps under mmu_lock if there are any, then the TDP MMU; a test asks both as well."""
        young = False
        if (yield from self.has_rmaps(kvm)):
            young = yield from self.age_shadow_mmu(kvm, rng, clear=clear, locked=True)
        if kvm.tdp_mmu_enabled:
            young |= yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        return int(young)

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """walk_pte_range(): an old entry is tested first, then all that was young is cleared. A huge one is cleared at once."""
        primary = yield from p.entry_young(entry)
        if size == PAGE_SIZE and not primary and not (yield from mmu_notifier.test_young(mm, hva)):
            return False
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        if primary:
            yield from ptep_test_and_clear_young(entry)
        return size == PAGE_SIZE or primary or bool(secondary)

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """should_look_around(): the full answer first; neighbours only where no secondary MMU has to be asked."""
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        if (yield from ptep_test_and_clear_young(entry)):
            return Verdict(referenced=True, look_around=not (yield from mmu_notifier.mm_has_notifiers(mm)))
        return Verdict(referenced=bool(secondary), look_around=False)
