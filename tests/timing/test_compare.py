"""`agewalk compare` charges prices from the table, `agewalk timing` runs the steps: alone, they must say the same."""

from __future__ import annotations

import pytest

from agewalk.core.direct import Direct
from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.faults.access import access
from agewalk.model.protocols.registry import get_protocol
from agewalk.study.costs import prices
from agewalk.study.scenarios.sections import Swap
from agewalk.timing.hardware.costs import CostTable, load_costs
from agewalk.timing.machine import Machine
from agewalk.timing.timing_effects import Begin, End
from agewalk.timing.workloads import programs
from agewalk.timing.workloads.host import PER_TABLE, Host, boot, build

PAGES = 512
WARM = 4  # first questions also fetch what all of them share
SWAP = Swap(read="1 ms", write="1 ms")  # type: ignore[arg-type]  # read from text


def host() -> Host:
    w = build(kernel="6.13", protocol=get_protocol("linux-6.13"), vcpus=1, pages_per_vcpu=PAGES)
    Direct().run(boot(w))
    return w


def ask(w: Host, first: int, last: int) -> Step[None]:
    """About one page of each page table: its SPTE is on a line that nobody has touched."""
    for page in range(first * PER_TABLE, last * PER_TABLE, PER_TABLE):
        hva = w.hva(0, page)
        yield from mmu_notifier.clear_young(w.mm, hva, Hva(hva + PAGE_SIZE))


def fault(w: Host) -> Step[None]:
    """Each page is in the host already; only KVM does not map it."""
    for page in range(PAGES):
        yield Begin("fault")
        yield from guest_access(w.kvm.vcpus[0], w.gfn(0, page), write=True)
        yield End()


def held_ns(costs: CostTable) -> float:
    w = host()
    Direct().run(programs.populate(w, w.kvm.vcpus[0]))
    machine = Machine(1, costs=costs)
    machine.spawn("warm", ask(w, 0, WARM), cpu=0)
    machine.run()
    lock = machine.locks.of(w.kvm.mmu_lock)
    before, asked = lock.hold["write"], lock.acquired["write"]
    machine.spawn("ager", ask(w, WARM, PAGES // PER_TABLE), cpu=0, start=machine.now)
    machine.run()
    return (lock.hold["write"] - before) / 1000 / (lock.acquired["write"] - asked)


def fault_ns(costs: CostTable) -> float:
    w = host()
    direct = Direct()
    for page in range(PAGES):
        direct.run(access(w.memory, w.mm, w.hva(0, page), write=True))
    machine = Machine(1, costs=costs)
    thread = machine.spawn("vcpu", fault(w), cpu=0)
    machine.run()
    took = sorted(thread.durations["fault"])
    return took[len(took) // 2] / 1000  # the first fault of a table also makes the table


def test_a_lock_held_once_costs_what_it_takes() -> None:
    """The price also has the atomics of taking the lock and one on the SPTE, which a dirty SPTE does not need before 6.15."""
    costs = load_costs()
    assert prices(SWAP, costs).hold == pytest.approx(held_ns(costs), rel=0.1)


def test_a_fault_costs_what_it_takes() -> None:
    costs = load_costs()
    assert prices(SWAP, costs).fault == pytest.approx(fault_ns(costs), rel=0.1)


def test_both_follow_the_table() -> None:
    """Costs made several times as large move both alike: neither has a number of its own."""
    costs = load_costs()
    dear = costs.with_values({"line.memory": 400, "count.kvm_tdp_mmu_map": 5000})
    assert prices(SWAP, dear).hold == pytest.approx(held_ns(dear), rel=0.1)
    assert prices(SWAP, dear).fault == pytest.approx(fault_ns(dear), rel=0.1)
    assert prices(SWAP, dear).hold > 3 * prices(SWAP, costs).hold


def test_a_price_that_forgets_functions_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded fault: the functions of the fault are left out of the price."""
    monkeypatch.setattr("agewalk.study.costs.FAULT", ())
    costs = load_costs()
    assert prices(SWAP, costs).fault != pytest.approx(fault_ns(costs), rel=0.1)
