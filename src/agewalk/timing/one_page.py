"""What one question about one page costs on an idle host: no other CPU, no contention, aging passes over mapped memory.

With `other`, a second subscriber sits on the process's notifier list; it has clear_young(), finds nothing, and does not opt
in to fast aging. That is the subscriber whose call `has_fast_aging` saves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agewalk.core.cells import Object
from agewalk.core.direct import Direct
from agewalk.core.effects import Count, Step
from agewalk.core.units import Hva
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm import Mm
from agewalk.timing import bodies
from agewalk.timing.costs import CostTable
from agewalk.timing.experiment import MMUS
from agewalk.timing.machine import Machine
from agewalk.timing.run import protocol_of
from agewalk.timing.world import World, build, guest_tables

PAGES: Final = 1024
KERNEL: Final = "6.13"


@dataclass(frozen=True)
class OnePage:
    """ns a page of a whole aging pass. first: all pages young, their lines still with the CPU that faulted them in.
    again: nobody touched them since."""

    protocol: str
    mmu: str
    other: bool
    retpoline: bool
    first_ns: float
    again_ns: float
    calls: int
    calls_saved: int


def _nothing(_sub: mmu_notifier.MmuNotifier, _mm: Mm, _start: Hva, _end: Hva, _fast_only: bool) -> Step[int]:
    yield Count("other_clear_young")
    return 0


def one_page(
    costs: CostTable, protocol: str, *, mmu: str = "tdp", other: bool = False, retpoline: bool = True
) -> OnePage:
    """Populate by one CPU, then age twice on another; the second pass is `again`."""
    world = build(kernel=KERNEL, protocol=protocol_of(protocol), vcpus=1, pages_per_vcpu=PAGES, config=MMUS[mmu])
    if other:
        ops = mmu_notifier.MmuNotifierOps("other", clear_young=_nothing)
        subscription = mmu_notifier.MmuNotifier("other", ops, Object("driver"))
        Direct().run(mmu_notifier.register(world.mm, subscription))
    table = costs.with_values(
        {"call.mitigated": float(retpoline), "work.pass_overhead": 0, "noise.work": 0, "work.rest_of_fault": 0}
    )
    machine = Machine(2, costs=table)
    machine.spawn("vcpu", bodies.populate(world, world.kvm.vcpus[0]), cpu=0)
    machine.run()
    before = machine.counters.snapshot()
    ager = machine.spawn("ager", _twice(world), cpu=1, start=machine.now)
    machine.run()
    counted = machine.counters.since(before)
    pages = PAGES + guest_tables(PAGES)
    first, again = (d / 1000 / pages for d in ager.durations["aging pass"])
    return OnePage(
        protocol, mmu, other, retpoline, first, again, counted["indirect_calls"], counted["indirect_calls_saved"]
    )


def _twice(world: World) -> Step[None]:
    for _ in range(2):
        yield from bodies.age_once(world)
