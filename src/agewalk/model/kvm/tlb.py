"""TLB flushes of a VM (virt/kvm/kvm_main.c)."""

from __future__ import annotations

from agewalk.core.effects import Count, FlushTlb, Step, Store
from agewalk.model.kvm.kvm_host import Kvm


def kvm_flush_remote_tlbs(kvm: Kvm) -> Step[None]:
    """kvm_flush_remote_tlbs(): every vCPU forgets its translations; waits for those that run the guest."""
    yield Count("kvm_flush_remote_tlbs")
    yield FlushTlb(kvm)


def kvm_flush_remote_tlbs_range(kvm: Kvm) -> Step[None]:
    """kvm_flush_remote_tlbs_range(), or a full flush where the kernel has none by range."""
    yield Count("kvm_flush_remote_tlbs_range" if kvm.features.flush_range_by_gfn else "kvm_flush_remote_tlbs")
    yield FlushTlb(kvm)


def forget_paging_structures(kvm: Kvm) -> Step[None]:
    """Tables are about to be unlinked: no CPU may go on reading their leaves. Part of the flush or of the new root."""
    if kvm.config.paging_structure_cache:
        for vcpu in kvm.vcpus:
            for cell in vcpu.remembered():
                yield Store(cell, None)
