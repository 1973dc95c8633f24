"""What aging costs for each page on an idle host: one CPU, no contention, passes over mapped memory.

With `other`, the process's notifier list has a second subscriber. Its clear_young() finds no young page, and it does not opt in
to fast aging: `has_fast_aging` saves the call to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agewalk.core.direct import Direct
from agewalk.timing.experiment import MMUS
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.machine import Machine
from agewalk.timing.run import protocol_in_use
from agewalk.timing.workloads.host import boot, build, guest_tables
from agewalk.timing.workloads.programs import age_again, populate, register_another

PAGES: Final = 1024
KERNEL: Final = "6.13"


@dataclass(frozen=True)
class OnePage:
    """ns a page of a whole aging pass. first: all pages are young, and their lines are in the cache of the CPU that faulted them
    in. again: no page was used since. calls: indirect calls; calls_saved: those that `has_fast_aging` saved."""

    protocol: str
    mmu: str
    other: bool
    retpoline: bool
    first_ns: float
    again_ns: float
    calls: int
    calls_saved: int


def one_page(
    costs: CostTable, protocol: str, *, mmu: str = "tdp", other: bool = False, retpoline: bool = True
) -> OnePage:
    """Populate on one CPU, then age twice on another."""
    host = build(kernel=KERNEL, protocol=protocol_in_use(protocol), vcpus=1, pages_per_vcpu=PAGES, config=MMUS[mmu])
    Direct().run(boot(host))
    if other:
        Direct().run(register_another(host))
    table = costs.with_values(
        {"call.mitigated": float(retpoline), "work.pass_overhead": 0, "noise.work": 0, "work.rest_of_fault": 0}
    )
    machine = Machine(2, costs=table)
    machine.spawn("vcpu", populate(host, host.kvm.vcpus[0]), cpu=0)
    machine.run()
    before = machine.counters.snapshot()
    ager = machine.spawn("ager", age_again(host, 2), cpu=1, start=machine.now)
    machine.run()
    counted = machine.counters.since(before)
    pages = PAGES + guest_tables(PAGES)
    first, again = (d / 1000 / pages for d in ager.durations["aging pass"])
    return OnePage(
        protocol, mmu, other, retpoline, first, again, counted["indirect_calls"], counted["indirect_calls_saved"]
    )
