"""Kernels 6.13 and 6.14, and 6.12 stable: every question goes to every MMU, and KVM answers under mmu_lock."""

from __future__ import annotations

from typing import ClassVar

from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.linux_6_9 import Linux69


class Linux613(AgingProtocol):
    """6.13's MGLRU calls ptep_clear_young_notify() for every PTE (1d4832becdc2, ddd6d8e975b1); KVM is 6.9's."""

    name = "linux-6.13"
    summary = "Walks, look-around and eviction ask KVM about every page, each time under mmu_lock held for write."
    cite = "1d4832becdc2, ddd6d8e975b1 (6.13); 20241019012940.3656292-1-jthoughton@google.com"
    profile = "6.13"
    lockless = False
    features: ClassVar[dict[str, object]] = {"walk_notifies": True, "look_around_tests_target": True}
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False}

    age_gfn = Linux69.age_gfn
