"""Kernel 7.3: 6.15's protocol; SPTEs are aged by cmpxchg, faults mark anonymous pages referenced."""

from __future__ import annotations

from agewalk.model.protocols.linux_6_15 import Linux615


class Linux73(Linux615):
    """Differs from 6.18 only in the kernel around it; young operations return bool since 7.1."""

    name = "linux-7.3"
    summary = "6.15's protocol in the newest kernel read: SPTEs aged by cmpxchg, answers are bool."
    cite = "Linux 7.3: arch/x86/kvm/mmu/mmu.c kvm_age_gfn(), kvm_rmap_age_gfn_range(); mm/vmscan.c"
    profile = "7.3"
