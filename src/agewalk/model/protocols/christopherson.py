"""Sean Christopherson's proposal: the answer says whether a fast MMU was young, and that decides on the look-around."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.config import KvmConfig
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young
from agewalk.model.protocols.base import YOUNG, AgingProtocol, Verdict

WAS_FAST: Final = 1 << 1  # MMU_NOTIFY_WAS_FAST; the mail gives it no value


class Christopherson(AgingProtocol):
    """The seed mail of 2024-06-11 and the sketch before it.

    variant: "literal" is the sketch as mailed. It forgets that an ordinary process has a primary bit and no WAS_FAST, and it
    answers "unused" without a look at the target if the page table's lock is contended or the VMA special. "repaired" looks
    around a young primary entry as well, and reads the target first, as v5 and 6.13 do.
    """

    name = "christopherson"
    summary = "The target always gets a full answer; neighbours are looked at if a fast MMU was what made it young."
    cite = "ZmjtEBH42u7NUWRc@google.com (the seed mail)"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"variant": ("literal", "repaired")}
    fast_only = True
    has_fast_aging = True
    features: ClassVar[dict[str, object]] = {"walk_notifies": True, "look_around_tests_target": True}
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False}

    def flags(self, answer: int, *, fast_only: bool) -> tuple[str, ...]:
        """MMU_NOTIFY_WAS_FAST."""
        return ("WAS_FAST",) if answer & WAS_FAST else ()

    def mglru_changes(self) -> dict[str, Any]:
        """The literal sketch gives up before it reads the target."""
        return {**self.features, "look_around_gives_up_first": self.chosen["variant"] == "literal"}

    def opts_in(self, config: KvmConfig) -> bool:
        """A setting of run time: a KVM without TDP MMU cannot age fast (ZmxsCwu4uP1lGsWz@google.com)."""
        return config.tdp_mmu

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """The shadow MMU under mmu_lock unless fast_only, then the TDP MMU, which alone says WAS_FAST."""
        young = 0
        if not fast_only and (yield from self.may_have_shadow_sptes(kvm)):
            young = int((yield from self.age_shadow_mmu(kvm, rng, clear=clear, locked=True)))
        if kvm.tdp_mmu_enabled and (yield from self.age_tdp_mmu(kvm, rng, clear=clear)):
            young = YOUNG | WAS_FAST
        return young

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """ptep_clear_young_notify_fast()."""
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size), fast_only=True)
        return primary or bool(secondary)

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """Young = ptep_clear_young_notify(), whose answer carries the notifier's bits: `young & WAS_FAST`."""
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        fast = bool(secondary & WAS_FAST)
        repaired = self.chosen["variant"] == "repaired"
        return Verdict(referenced=primary or bool(secondary), look_around=fast or (repaired and primary))
