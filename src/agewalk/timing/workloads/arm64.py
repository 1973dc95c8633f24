"""arm64's answer to aging: stage-2 tables walked under mmu_lock, for write as merged, for read as posted (v4 and v5, 3/9).

20240611002145.2078921-4-jthoughton@google.com and Oliver Upton's reply: the walk is KVM_PGTABLE_WALK_SHARED, a failed
compare-exchange is ignored. Stage-2 tables are modelled by the TDP MMU's, which fault under mmu_lock for read as well.
"""

from __future__ import annotations

from typing import ClassVar

from agewalk.core.effects import READ, Acquire, Release, Step
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.protocols.base import AgingProtocol


class Arm64ReadLock(AgingProtocol):
    """mmu_lock for read around each walk."""

    name = "arm64-read-lock"
    summary = "As 6.13, but mmu_lock is taken for read: agers and faulting vCPUs share it."
    cite = (
        "20240611002145.2078921-1-jthoughton@google.com, 3/9; numbers in 20240724011037.3671523-1-jthoughton@google.com"
    )
    profile = "6.13"
    features: ClassVar[dict[str, object]] = {"walk_notifies": True, "look_around_tests_target": True}
    kvm: ClassVar[dict[str, object]] = {"rmap_bit_lock": False}

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """kvm_age_gfn() of the posted patch."""
        yield Acquire(kvm.mmu_lock, READ)
        young = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        yield Release(kvm.mmu_lock, READ)
        return int(young)
