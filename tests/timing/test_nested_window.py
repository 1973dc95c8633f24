"""How long a question may overlook a nested guest that has just begun, and how long that guest's first access takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agewalk.core.cells import Cell, Object
from agewalk.core.direct import Direct
from agewalk.core.effects import Effect, Load, Step, Store
from agewalk.core.units import Pfn
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import GuestTables
from agewalk.model.mm import pte as p
from agewalk.model.protocols.registry import protocol_of
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.machine import Machine
from agewalk.timing.timing_effects import Begin, End
from agewalk.timing.workloads.host import boot, build
from agewalk.timing.workloads.programs import populate

PAGES = 64


def from_there(inner: Step[Any], there: Callable[[Effect], bool]) -> Step[None]:
    """Run `inner`; what follows the first effect that is `there` is a measured span."""
    begun = False
    answer: Any = None
    while True:
        try:
            effect = inner.send(answer)
        except StopIteration:
            break
        answer = yield effect
        if not begun and there(effect):
            begun = True
            yield Begin("window")
    assert begun
    yield End()


def test_a_nested_access_takes_longer_than_the_window_in_which_it_can_be_missed() -> None:
    """docs/findings.md, 15. In ns: from the load of indirect_shadow_pages to the answer; from the store of it to the access."""
    host = build(kernel="6.15", protocol=protocol_of("linux-6.15"), vcpus=1, pages_per_vcpu=1024)
    Direct().run(boot(host))
    machine = Machine(2, costs=load_costs().with_values({"noise.work": 0, "work.rest_of_fault": 0}))
    vcpu, count = host.kvm.vcpus[0], host.kvm.indirect_shadow_pages
    machine.spawn("vcpu", populate(host, vcpu), cpu=0)
    machine.run()
    entries = [Cell(Object(f"pt{i}"), i, p.make_pte(Pfn(1), writable=True, young=False)) for i in range(PAGES)]
    protocol: Any = host.kvm.protocol

    def asking() -> Step[None]:
        for i in (*range(PAGES), *range(PAGES)):
            question = protocol.target(host.mm, entries[i], host.hva(0, i))
            yield from from_there(question, lambda e: isinstance(e, Load) and e.cell is count)

    ager = machine.spawn("ager", asking(), cpu=1, start=machine.now)
    machine.run()
    access = guest_access(vcpu, host.gfn(0, 3), write=True, nested=GuestTables("l2", 1, guest_mode=True))
    nested = machine.spawn(
        "l2", from_there(access, lambda e: isinstance(e, Store) and e.cell is count), cpu=0, start=machine.now
    )
    machine.run()
    window = ager.durations["window"]
    warm, worst, first_access = sum(window[PAGES:]) / PAGES, max(window), nested.durations["window"][0]
    assert len(window) == 2 * PAGES
    assert warm * 20 < first_access
    assert worst * 5 < first_access
    assert [round(ps / 1000) for ps in (warm, worst, first_access)] == [15, 110, 1506]
