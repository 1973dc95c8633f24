"""v7 of the series: one argument `fast_only`, opt-in by `has_fast_aging`, a shadow MMU that answers fast as well."""

from __future__ import annotations

from typing import ClassVar

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young
from agewalk.model.protocols.base import YOUNG, AgingProtocol, Verdict


class V7(AgingProtocol):
    """As posted on 2024-09-26. The comment over should_look_around() speaks of a fast MMU that reported young; the code
    asks only whether a fast one exists. KVM opts in for every VM (kvm_mmu_post_init_vm()), even without a TDP MMU."""

    name = "v7"
    summary = (
        "fast_only reads every MMU without mmu_lock; any young answer leads to a look-around if a fast MMU exists."
    )
    cite = "20240926013506.860253-1-jthoughton@google.com"
    fast_only = True
    has_fast_aging = True
    features: ClassVar[dict[str, object]] = {
        "walk_notifies": True,
        "nonleaf_shortcut_ends": "with_secondary_walk",
        "look_around_tests_target": True,
    }

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """TDP MMU; then rmaps, without mmu_lock for a test or fast_only (which leaves A/D-disabled SPTEs young)."""
        young = False
        if kvm.tdp_mmu_enabled:
            young = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
            if young and not clear:
                return YOUNG
        if (yield from self.may_have_shadow_sptes(kvm)):
            locked = clear and not fast_only
            young |= yield from self.age_shadow_mmu(kvm, rng, clear=clear, locked=locked, ad_only=fast_only)
        return int(young)

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """walk_pte_range(): the fast answer, and the primary entry."""
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size), fast_only=True)
        primary = yield from ptep_test_and_clear_young(entry)
        return primary or bool(secondary)

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """should_look_around(): the full answer first."""
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        if (yield from ptep_test_and_clear_young(entry)):
            return Verdict(referenced=True, look_around=True)
        if not secondary:
            return Verdict(referenced=False, look_around=False)
        fast = yield from mmu_notifier.mm_has_fast_young_notifiers(mm)
        return Verdict(referenced=True, look_around=fast)
