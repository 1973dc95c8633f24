"""Kernels 6.15 to 6.17's KVM: the same questions, answered without mmu_lock. Also 6.18 and 7.3, with their MGLRU."""

from __future__ import annotations

from typing import ClassVar

from agewalk.model.protocols.base import AgingProtocol


class Linux615(AgingProtocol):
    """The base class as it is: kvm_age_gfn() of 6.15 (v9, 20250204004038.1680123-1-jthoughton@google.com)."""

    name = "linux-6.15"
    summary = "As 6.13, but KVM ages its SPTEs without mmu_lock: TDP MMU under RCU, rmaps under a bit lock each."
    cite = "20250204004038.1680123-1-jthoughton@google.com, merged with kvm-x86-mmu-6.15"
    profile = "6.15"
    features: ClassVar[dict[str, object]] = {"walk_notifies": True, "look_around_tests_target": True}
