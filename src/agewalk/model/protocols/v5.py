"""v5 of the series: a fast-only operation beside the old ones, and look-around if that one succeeded."""

from __future__ import annotations

from typing import ClassVar

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.mmu_notifier import FAST_FAILED, FAST_YOUNG
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young
from agewalk.model.protocols.base import AgingProtocol, Verdict


class V5(AgingProtocol):
    """As posted on 2024-06-11: FAST_FAILED as soon as rmaps exist, which is for ever after the first nested guest.

    should_walk_secondary_mmu() asks kvm_arch_young_notifier_likely_fast(): core mm calls into KVM, which is what the reply
    objects to (NAK, 2024-06-11). On x86 that is an inline test of two globals, so it costs next to nothing. VMs of one scenario
    may differ in it, of one Linux they cannot.
    """

    name = "v5"
    summary = "A fast-only operation that fails once a nested guest has run; then the slow one is called as well."
    cite = "20240611002145.2078921-1-jthoughton@google.com"
    fast_only = True
    fast_op = True
    features: ClassVar[dict[str, object]] = {
        "walk_notifies": True,
        "walk_if_likely_fast": True,
        "nonleaf_shortcut_ends": "with_secondary_walk",
        "look_around_tests_target": True,
    }
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False, "tdp_age_retries": True}

    def flags(self, answer: int, *, fast_only: bool) -> tuple[str, ...]:
        """MMU_NOTIFIER_FAST_YOUNG, MMU_NOTIFIER_FAST_FAILED: words of the fast-only operation alone."""
        said = (("FAST_YOUNG", FAST_YOUNG), ("FAST_FAILED", FAST_FAILED))
        return tuple(word for word, bit in said if fast_only and answer & bit)

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """__kvm_age_gfn(): rmaps under mmu_lock, then the TDP MMU; with fast_only, nothing at all if there are rmaps."""
        young = False
        if (yield from self.has_rmaps(kvm)):
            if fast_only:
                return FAST_FAILED
            young = yield from self.age_shadow_mmu(kvm, rng, clear=clear, locked=True)
        if kvm.tdp_mmu_enabled:
            young |= yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        return int(young)

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """walk_pte_range(): an old entry is tested first, then whatever was young is cleared. A huge one is cleared at once."""
        primary = yield from p.entry_young(entry)
        fast = mm.kvm_likely_fast
        end = Hva(hva + size)
        if size == PAGE_SIZE and not primary:
            if not fast:
                return False
            tested = yield from mmu_notifier.test_clear_young_fast_only(mm, hva, end, clear=False)
            if not tested & FAST_YOUNG:
                return False
        secondary = 0
        if fast:
            secondary = yield from mmu_notifier.test_clear_young_fast_only(mm, hva, end, clear=True)
        if primary:
            yield from ptep_test_and_clear_young(entry)
        return size == PAGE_SIZE or primary or bool(secondary & FAST_YOUNG)

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """should_look_around(): KVM is asked first, fast and, if that failed, slowly; only then the primary entry."""
        end = Hva(hva + size)
        answer = FAST_FAILED
        if mm.kvm_likely_fast:
            answer = yield from mmu_notifier.test_clear_young_fast_only(mm, hva, end, clear=True)
        if answer & FAST_FAILED:
            secondary = bool((yield from mmu_notifier.clear_young(mm, hva, end)))
        else:
            secondary = bool(answer & FAST_YOUNG)
        primary = yield from ptep_test_and_clear_young(entry)
        was_fast = not answer & FAST_FAILED
        return Verdict(referenced=primary or secondary, look_around=primary or (secondary and was_fast))
