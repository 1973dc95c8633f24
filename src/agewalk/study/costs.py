"""What counted things cost in `agewalk compare`: from the one cost table of agewalk (timing/hardware/costs.toml). docs/metrics.md

Nothing here shifts the trace: costs are added up beside it.
"""

from dataclasses import dataclass

from agewalk.study.scenarios.sections import Swap
from agewalk.timing.hardware.costs import CostTable, load_costs

LEVELS = 4  # of a guest's page tables in KVM: EPT and NPT with 48 bits
FAULT = ("count.kvm_mmu_page_fault", "count.hva_to_pfn", "count.kvm_tdp_mmu_map")


@dataclass(frozen=True, slots=True)
class Prices:
    """Nanoseconds. hold: mmu_lock held for write once. fault: a vCPU leaves the guest for KVM and comes back."""

    hold: float
    fault: float
    swap: Swap

    def mmu_lock_write(self, acquisitions: int) -> int:
        """Time that mmu_lock is held for write, in ns."""
        return round(acquisitions * self.hold)

    def vcpu_stall(self, *, kvm_faults: int, refaults: int, swap_writes: int) -> int:
        """Time that vCPUs spend waiting for the host, in ns."""
        return round(kvm_faults * self.fault) + refaults * self.swap.read + swap_writes * self.swap.write


def prices(swap: Swap, table: CostTable | None = None) -> Prices:
    """Prices of a scenario's swap and the shipped cost table, or another.

    hold = lock and unlock (two atomics and the instructions around them), the walk down a cached table, one miss for the
    SPTE, one atomic on it. fault = one exit and one entry of the guest, the functions of KVM on the way, mmu_lock for read,
    and the same walk; what the host does to bring the page is not in it.
    """
    costs = load_costs() if table is None else table

    def ns(name: str) -> float:
        return costs.ps(name) / 1000

    walk = (LEVELS - 1) * ns("line.hit") + ns("line.memory") + ns("atomic.local")
    lock = 2 * ns("atomic.local") + ns("lock.uncontended")
    handled = sum(ns(name) for name in ("work.vm_exit", "work.vm_entry", *FAULT))
    return Prices(hold=lock + walk, fault=handled + lock + walk, swap=swap)
