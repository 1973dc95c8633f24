"""Two threads of one core: each is slower, and what one has fetched the other has."""

from __future__ import annotations

import pytest

from agewalk.core.cells import Cell, Object
from agewalk.core.effects import FetchAdd, Load, Step, Store, Work
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.machine import Machine

NS = 1000
WINDOW_NS = 500


def table(costs: CostTable, cores: int) -> CostTable:
    return costs.with_values({"topology.cores": cores, "topology.sockets": 1, "topology.smt_slower": 1.5})


def busy(times: int) -> Step[None]:
    for _ in range(times):
        yield Work("vm_exit")  # 400 ns


def one(*effects: Load | Store | FetchAdd) -> Step[None]:
    for effect in effects:  # noqa: UP028 (a tuple cannot be sent to)
        yield effect


@pytest.mark.parametrize(("cores", "slower"), [(2, 1.0), (1, 1.5)])
def test_both_threads_of_a_core_are_slower(costs: CostTable, cores: int, slower: float) -> None:
    machine = Machine(2, costs=table(costs, cores))
    for n in range(2):
        machine.spawn(f"t{n}", busy(100), cpu=n)
    assert machine.run() == pytest.approx(slower * 100 * 400 * NS, abs=WINDOW_NS * NS)


def test_the_one_left_over_is_fast_again(costs: CostTable) -> None:
    """The short one needs 10 * 400 * 1.5 ns; the long one has done two thirds as much by then, and the rest alone."""
    machine = Machine(2, costs=table(costs, 1))
    machine.spawn("long", busy(100), cpu=0)
    machine.spawn("short", busy(10), cpu=1)
    assert machine.run() == pytest.approx((100 * 400 + 10 * 400 * 0.5) * NS, abs=2 * WINDOW_NS * NS)


def test_cores_are_filled_before_their_second_threads(costs: CostTable) -> None:
    machine = Machine(
        5, costs=costs.with_values({"topology.cores": 2, "topology.sockets": 2, "topology.numa_imbalance": 1})
    )
    assert [c.socket for c in machine.cpus] == [0, 0, 0, 1, 1]
    assert [[m.index for m in c.mates] for c in machine.cpus] == [[2], [], [0], [], []]


@pytest.mark.parametrize(("cores", "took"), [(2, 50 + 1), (1, 1)])
def test_a_line_is_the_cores(costs: CostTable, cores: int, took: int) -> None:
    cell = Cell(Object("o"), "x")
    machine = Machine(2, costs=table(costs, cores))
    machine.spawn("writer", one(Store(cell, 1)), cpu=0)
    reader = machine.spawn("reader", one(Load(cell)), cpu=1, start=1000 * NS)
    machine.run()
    assert reader.ended == (1000 + took) * NS


def test_one_transfer_does_for_both(costs: CostTable) -> None:
    """The third CPU has the line; both threads of the other core want it, 10 ns apart: it comes once, at 1050."""
    cell = Cell(Object("o"), "x", 0)
    even = table(costs, 2).with_values({"topology.smt_slower": 1})
    machine = Machine(3, costs=even, window=0)
    machine.spawn("owner", one(Store(cell, 0)), cpu=1)
    wants = [machine.spawn(f"w{n}", one(FetchAdd(cell, 1)), cpu=2 * n, start=(1000 + 10 * n) * NS) for n in range(2)]
    machine.run()
    assert cell.value == 2
    assert [w.ended // NS for w in wants] == [1050 + 1 + 5, 1050 + 1 + 5]
    assert machine.transfers["core"] == 1


def test_a_line_takes_as_long_to_come(costs: CostTable) -> None:
    """400 lines that another core has modified: what the other thread of the core does slows the work, not the transfers."""
    cells = [Cell(Object(f"o{n}"), "x", 0) for n in range(400)]
    machine = Machine(3, costs=table(costs, 2), window=0)
    machine.spawn("owner", one(*(Store(cell, 0) for cell in cells)), cpu=1)
    machine.spawn("mate", busy(200), cpu=2)
    thread = machine.spawn("t", one(*(FetchAdd(cell, 1) for cell in cells)), cpu=0, start=1000 * NS)
    machine.run()
    assert machine.transfers["core"] == 400
    assert (1000 + 400 * (50 + 6)) * NS < thread.ended < (1000 + 400 * (50 + 1.5 * 6)) * NS
