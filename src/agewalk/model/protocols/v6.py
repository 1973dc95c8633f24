"""v6 of the series: the argument `fast_only` and the flag `has_fast_aging`; the shadow MMU has no part in a fast answer."""

from __future__ import annotations

from typing import ClassVar

from agewalk.core.effects import Step
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.protocols.v7 import V7


class V6(V7):
    """As posted on 2024-07-24. MGLRU's side is v7's. KVM opts in for every VM: "tdp_mmu_enabled can be changed at any time".

    variant: "literal" is kvm_age_gfn() as posted (8/11): the shadow MMU's answer is assigned, so that it replaces the TDP MMU's.
    "repaired" or-s them, as v7 does.
    """

    name = "v6"
    summary = "fast_only reads the TDP MMU alone; any young answer leads to a look-around if a fast MMU exists."
    cite = "20240724011037.3671523-1-jthoughton@google.com"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"variant": ("literal", "repaired")}
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False, "tdp_age_retries": True}

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """TDP MMU; then, unless fast_only or a test is answered, rmaps under mmu_lock."""
        young = False
        if kvm.tdp_mmu_enabled:
            young = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        if (young and not clear) or fast_only or not (yield from self.may_have_shadow_sptes(kvm)):
            return int(young)
        slow = yield from self.age_shadow_mmu(kvm, rng, clear=clear, locked=True)
        return int(slow or (young and self.chosen["variant"] == "repaired"))
