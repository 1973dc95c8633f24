"""The clock, the CPUs, RCU and flushes; and that the timed executor does what the direct one does."""

from __future__ import annotations

import random
from typing import Any

import pytest

from agewalk.core import effects
from agewalk.core.cells import Cell, ListHead, Lock, Object, Srcu
from agewalk.core.direct import Direct
from agewalk.core.effects import (
    Acquire,
    Again,
    CallRcu,
    CompareExchange,
    Count,
    Effect,
    FetchAdd,
    FlushTlb,
    IndirectCall,
    ListAdd,
    ListDel,
    ListEnd,
    Load,
    PreemptDisable,
    PreemptEnable,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    SrcuReadLock,
    SrcuReadUnlock,
    Step,
    Store,
    SynchronizeRcu,
    SynchronizeSrcu,
    WaitFor,
    Warn,
    Work,
)
from agewalk.core.errors import ModelError
from agewalk.timing import operations
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.machine import Machine
from agewalk.timing.timing_effects import Begin, End

NS = 1000


def run(costs: CostTable, *bodies: Step[Any], cpus: int = 8, seed: int = 0) -> Machine:
    machine = Machine(cpus, costs=costs, seed=seed)
    for n, body in enumerate(bodies):
        machine.spawn(f"t{n}", body, cpu=n)
    machine.run()
    return machine


def one(*parts: Effect) -> Step[None]:
    for effect in parts:  # noqa: UP028 (a tuple cannot be sent to)
        yield effect


def test_every_effect_of_the_vocabulary_has_a_price(costs: CostTable) -> None:
    known = Machine(1, costs=costs).operations.known()
    vocabulary = {
        c
        for c in vars(effects).values()
        if isinstance(c, type) and issubclass(c, Effect) and not c.__name__.startswith("_")
    }
    assert vocabulary - {Effect} <= known


def test_work_needs_a_cost(costs: CostTable) -> None:
    with pytest.raises(ModelError, match=r"Work\('knitting'\) has no cost"):
        run(costs, one(Work("knitting")))


def test_private_costs(costs: CostTable) -> None:
    assert run(costs, one(Work("vm_exit", 2))).now == 800 * NS
    assert run(costs, one(Count("f", 3), Again(1))).now == 3 * NS
    assert run(costs, one(IndirectCall("f"))).now == 10 * NS
    assert run(costs.with_values({"call.mitigated": 0}), one(IndirectCall("f"))).now == 1 * NS


def test_marks_measure(costs: CostTable) -> None:
    machine = run(costs, one(Begin("outer"), Work("vm_exit"), Begin("inner"), Work("vm_exit"), End(), End()))
    assert machine.threads[0].durations == {"outer": [800 * NS], "inner": [400 * NS]}


# --- CPUs -------------------------------------------------------------------------------------------------------------


def test_threads_share_a_cpu_slice_by_slice(costs: CostTable) -> None:
    """Two threads of 4999 work items of 400 ns on one CPU: 4 ms of work, slices of 1 ms, a switch between any two."""
    machine = Machine(1, costs=costs)
    for n in range(2):
        machine.spawn(f"t{n}", one(*(Work("vm_exit") for _ in range(4999))), cpu=0)
    assert machine.run() == (2 * 4999 * 400 + 3 * 1000) * NS
    assert [th.preemptions for th in machine.threads] == [1, 1]


def test_nobody_is_preempted_inside_a_lock_or_rcu_section(costs: CostTable) -> None:
    lock = Lock(Object("o"), "lock")
    cell = Cell(Object("c"), "x", 0)
    log: list[int] = []

    def critical(n: int, enter: Effect, leave: Effect) -> Step[None]:
        yield enter
        log.append(n)
        for _ in range(6000):
            yield Work("vm_exit")
        log.append(n)
        yield leave
        yield FetchAdd(cell, 1)

    for pair in ((Acquire(lock), Release(lock)), (RcuReadLock(), RcuReadUnlock()), (PreemptDisable(), PreemptEnable())):
        log.clear()
        machine = Machine(1, costs=costs)
        for n in range(2):
            machine.spawn(f"t{n}", critical(n, *pair), cpu=0)
        machine.run()
        assert log == [0, 0, 1, 1]


def test_waiting_for_what_nobody_writes_is_a_dead_lock(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x", 0)
    with pytest.raises(ModelError, match="dead-lock or lost wake-up"):
        run(costs, one(WaitFor(cell, 1, 1)))


def test_a_spinner_goes_on_when_the_word_changes(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x", 0)
    machine = run(
        costs, one(WaitFor(cell, 1, 1)), one(Work("vm_exit"), Store(cell, 2), Work("vm_exit"), Store(cell, 3))
    )
    assert machine.threads[0].ended > 800 * NS


# --- memory -----------------------------------------------------------------------------------------------------------


def test_use_after_free_is_found(costs: CostTable) -> None:
    memory = Object("o")
    cell = Cell(memory, "x")
    with pytest.raises(ModelError, match="used after it was freed"):
        run(costs, one(effects.Free(memory), Load(cell)))


def reader(cell: Cell, n: int) -> Step[None]:
    yield RcuReadLock()
    yield Work("vm_exit", n)
    yield Load(cell)
    yield RcuReadUnlock()


def test_rcu_keeps_memory_until_the_last_reader_left(costs: CostTable) -> None:
    memory = Object("o")
    cell = Cell(memory, "x")
    machine = run(costs, reader(cell, 5), reader(cell, 10), one(Work("vm_exit"), CallRcu(memory)))
    assert memory.freed
    assert machine.threads[2].ended < 1000 * NS


def test_without_rcu_it_is_gone_too_early(costs: CostTable) -> None:
    memory = Object("o")
    with pytest.raises(ModelError, match="used after it was freed"):
        run(costs, reader(Cell(memory, "x"), 5), one(Work("vm_exit"), effects.Free(memory)))


def test_synchronize_waits_for_readers_and_a_grace_period(costs: CostTable) -> None:
    domain = Srcu("srcu")
    for enter, leave, wait in (
        (RcuReadLock(), RcuReadUnlock(), SynchronizeRcu()),
        (SrcuReadLock(domain), SrcuReadUnlock(domain), SynchronizeSrcu(domain)),
    ):
        machine = run(costs, one(enter, Work("vm_exit", 10), leave), one(Work("vm_exit"), wait))
        assert machine.threads[1].ended >= (4000 + 10**6) * NS


def test_flush_interrupts_those_who_run_the_vm_and_waits_for_them(costs: CostTable) -> None:
    vm, other = Object("vm"), Object("other")
    machine = Machine(4, costs=costs)
    busy = [Work("vm_exit")] * 10
    machine.spawn("vcpu", one(Work("vm_entry"), *[Work("vm_entry")] * 9), cpu=0, runs=(vm,))
    machine.spawn("host", one(*busy), cpu=1, runs=(vm,))
    machine.spawn("stranger", one(*busy), cpu=2, runs=(other,))
    flusher = machine.spawn("flusher", one(FlushTlb(vm)), cpu=3, start=1000 * NS)
    machine.run()
    assert machine.threads[0].ended == (4000 + 300 + 700) * NS
    assert machine.threads[1].ended == (4000 + 300) * NS
    assert machine.threads[2].ended == 4000 * NS
    assert flusher.ended == (1000 + 50 + max(100 + 500 + 1000, 200 + 500 + 300)) * NS
    assert machine.counters["tlb_ipis"] == 2


def test_a_warning_stops_the_run(costs: CostTable) -> None:
    with pytest.raises(ModelError, match=r"WARN at .* in t0: odd"):
        run(costs, one(Warn("odd")))


# --- against the direct executor ---------------------------------------------------------------------------------------


class World:
    def __init__(self) -> None:
        self.cells = [Cell(Object(f"o{n}"), "x", 0) for n in range(4)]
        self.locks = [Lock(Object("a"), "lock"), Lock(Object("b"), "mmu_lock"), Lock(Object("c"), "sem", sleeps=True)]
        self.list = ListHead("lru")
        self.members = [Object(f"m{n}") for n in range(3)]
        self.srcu = Srcu("srcu")

    def view(self) -> object:
        return (
            [c.value for c in self.cells],
            [m.label for m in self.list.items],
            [(k.writer, k.readers) for k in self.locks],
        )

    def program(self, seed: int) -> Step[int]:
        """A random program: what it does depends on what it is sent."""
        draw = random.Random(seed)
        total = 0
        for _ in range(60):
            lock = draw.choice(self.locks)
            cell = draw.choice(self.cells)
            match draw.randrange(7):
                case 0:
                    yield Acquire(lock)
                    found = yield Load(cell)
                    yield Store(cell, found * 3 + 1 & 0xFFFF)
                    yield Release(lock)
                case 1:
                    total += yield FetchAdd(cell, total & 7)
                case 2:
                    total += (yield CompareExchange(cell, draw.randrange(4), total & 15)) & 3
                case 3:
                    yield RcuReadLock()
                    total ^= yield Load(cell)
                    yield RcuReadUnlock()
                case 4:
                    yield SrcuReadLock(self.srcu)
                    yield Count("seen", total & 3)
                    yield SrcuReadUnlock(self.srcu)
                case 5:
                    yield Acquire(self.locks[0])
                    last = yield ListEnd(self.list)
                    if last is not None:
                        yield ListDel(self.list, last)
                    yield ListAdd(
                        self.list, draw.choice([m for m in self.members if m is not last and m not in self.list.items])
                    )
                    yield Release(self.locks[0])
                case _:
                    yield Work("vm_exit")
        return total


@pytest.mark.parametrize("seed", range(12))
def test_one_cpu_ends_where_the_direct_executor_ends(seed: int, costs: CostTable) -> None:
    plain, timed = World(), World()
    direct = Direct()
    expected = [direct.run(plain.program(seed * 10 + n)) for n in range(3)]
    machine = Machine(1, costs=costs.with_values({"sched.slice": 10**6}))
    for n in range(3):
        machine.spawn(f"t{n}", timed.program(seed * 10 + n), cpu=0)
    machine.run()
    assert [th.result for th in machine.threads] == expected
    assert timed.view() == plain.view()
    assert machine.counters == direct.counters


def test_an_executor_that_drops_a_store_is_found(costs: CostTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "add", lambda found, _: found)
    with pytest.raises((AssertionError, TypeError)):
        test_one_cpu_ends_where_the_direct_executor_ends(3, costs)


def test_equal_seeds_give_equal_runs(costs: CostTable) -> None:
    noisy = costs.with_values({"noise.work": 0.3})

    def result(seed: int) -> tuple[int, int, object]:
        world = World()
        machine = run(noisy, *(world.program(n) for n in range(6)), seed=seed)
        return machine.now, machine.effects, world.view()

    assert result(1) == result(1)
    assert result(1) != result(2)
