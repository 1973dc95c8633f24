"""The model's own generators on modelled CPUs."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from tests.timing.processes import agers

from agewalk.core.cells import Cell
from agewalk.core.direct import Direct
from agewalk.core.errors import ModelError
from agewalk.model.protocols.registry import get_protocol
from agewalk.timing import operations
from agewalk.timing.experiment import load_experiment, shipped
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.machine import Machine
from agewalk.timing.run import run_row, start
from agewalk.timing.workloads import programs
from agewalk.timing.workloads.host import Host, boot, build

PAGES = 64


def host(protocol: str = "linux-6.15", vcpus: int = 2) -> Host:
    w = build(kernel="6.13", protocol=get_protocol(protocol), vcpus=vcpus, pages_per_vcpu=PAGES)
    Direct().run(boot(w))
    return w


def threads(w: Host) -> list[Any]:
    return [*(programs.populate(w, v) for v in w.kvm.vcpus), programs.age_once(w), programs.age_once(w)]


def view(w: Host) -> object:
    """All that a page has, everywhere, and the order of the lists."""
    ptes = [(i, c.field, c.value) for i, t in sorted(w.mm.tables.items()) for c in t.ptes.every()]
    folios = [(f.pfn, f.flags.value, f.refcount.value, len(f.mappings.value)) for f in w.memory.mem_map.values()]
    sptes = [(p.label, n, c.value) for p in w.kvm._pages.values() for n, c in sorted(p._entries.items())]
    lists = [[m.label for m in head.items] for gen in w.lruvec.folios for head in gen]
    sizes = [c.value for gen in w.lruvec.nr_pages for c in gen]
    return ptes, folios, sptes, lists, sizes, w.memory.free.value, w.memory.batches.lru_add.value


@pytest.mark.parametrize("protocol", ["linux-6.13", "linux-6.15", "v5", "v7", "houghton", "christopherson"])
def test_one_cpu_ends_where_the_direct_executor_ends(protocol: str) -> None:
    plain, timed = host(protocol), host(protocol)
    direct = Direct()
    for body in threads(plain):
        direct.run(body)
    machine = Machine(1, costs=load_costs().with_values({"sched.slice": 10**9}))
    for n, body in enumerate(threads(timed)):
        machine.spawn(f"t{n}", body, cpu=0)
    machine.run()
    assert repr(view(timed)) == repr(view(plain))
    assert machine.counters == direct.counters


def test_a_machine_that_forgets_a_bit_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded fault: an atomic AND whose result is dropped, now and then."""
    seen = iter(range(10**9))
    monkeypatch.setattr(operations, "and_", lambda found, bits: found if next(seen) % 50 == 49 else found & bits)
    with pytest.raises((AssertionError, ModelError)):
        test_one_cpu_ends_where_the_direct_executor_ends("linux-6.15")


def test_each_cpu_has_batches_of_its_own() -> None:
    w = host(vcpus=3)
    machine = Machine(3)
    for n, vcpu in enumerate(w.kvm.vcpus):
        machine.spawn(f"vcpu{n}", programs.populate(w, vcpu), cpu=n)
    machine.run()
    on_lists = sum(len(head.items) for gen in w.lruvec.folios for head in gen)
    waiting = [cell.value for cell in machine.lines.per_cpu[w.memory.batches.lru_add].cells if cell is not None]
    assert len(waiting) == 3
    assert all(0 < len(batch) < 31 for batch in waiting)
    assert on_lists + sum(map(len, waiting)) == 3 * PAGES + 1  # and the guest's page table


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_experiment_runs(name: str) -> None:
    experiment = load_experiment(name)
    factor = 8192 if experiment.body == "touch" else 4096
    for variant in experiment.variants:
        row = run_row(experiment, variant, 2, load_costs(), factor=factor)
        assert row.wall_s > 0
        assert (row.pass_s is not None) == bool({"age", "evict"} & set(variant.host))
        assert row.effects > 1000


def test_equal_seeds_equal_rows() -> None:
    experiment = load_experiment("access-tracking")
    variant = experiment.variants[1]
    rows = [run_row(experiment, variant, 3, load_costs(), factor=4096, seed=s) for s in (5, 5, 6)]
    assert rows[0] == rows[1]
    assert rows[0].wall_s != rows[2].wall_s


@cache
def ratios(vcpus: int, factor: int) -> tuple[float, float]:
    """Of passes and of wall times, with mmu_lock and without."""
    locked, lockless = agers("access-tracking", vcpus, factor)
    assert locked.pass_whole_s is not None
    assert lockless.pass_whole_s is not None
    return locked.pass_whole_s / lockless.pass_whole_s, locked.wall_s / lockless.wall_s


@pytest.mark.slow
@pytest.mark.parametrize("vcpus", [8, 32])
def test_the_scale_does_not_change_the_ratios(vcpus: int) -> None:
    """The shipped scale, and twice the memory. 8 vCPUs wait for mmu_lock now and then, 32 most of the time."""
    factor = load_experiment("access-tracking").factor
    large, small = ratios(vcpus, factor // 2), ratios(vcpus, factor)
    assert large[0] == pytest.approx(small[0], rel=0.15)
    assert large[1] == pytest.approx(small[1], rel=0.05)
    assert large[0] > 2  # and the lock is seen at all


@pytest.mark.slow
def test_a_scale_that_is_too_coarse_is_seen() -> None:
    """Seeded fault: a fourth of the shipped memory. With the lock, the ager then does a pass too many."""
    factor = load_experiment("access-tracking").factor
    assert ratios(32, 4 * factor)[0] != pytest.approx(ratios(32, factor)[0], rel=0.15)


def test_the_window_of_running_ahead_does_not_matter() -> None:
    experiment = load_experiment("access-tracking")

    def wall(window: int) -> int:
        machine, _ = start(experiment, experiment.variants[1], 4, load_costs(), factor=4096)
        machine.operations.window = window
        return machine.run()

    assert wall(0) == pytest.approx(wall(500_000), rel=0.1)  # as far as two seeds are apart


def test_freed_cells_are_seen_on_the_model_too() -> None:
    w = host(vcpus=1)
    w.mm.freed = True
    machine = Machine(1)
    machine.spawn("vcpu", programs.populate(w, w.kvm.vcpus[0]), cpu=0)
    with pytest.raises(ModelError, match="used after it was freed"):
        machine.run()
    assert isinstance(w.running, Cell)
