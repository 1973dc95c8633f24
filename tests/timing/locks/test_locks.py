"""The locks: exclusion, order, hand-over, no lost wake-up. The second half breaks each on purpose and sees it found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.effects import (
    READ,
    WRITE,
    Acquire,
    Again,
    Effect,
    FetchAdd,
    FetchOr,
    Load,
    Release,
    Step,
    Store,
    TryAcquire,
    WaitFor,
    Work,
)
from agewalk.core.errors import ModelError
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.locks.kinds import make_lock
from agewalk.timing.locks.qrwlock import QueuedRwLock
from agewalk.timing.locks.qspinlock import QueuedSpinLock
from agewalk.timing.locks.rwsem import SleepingLock
from agewalk.timing.locks.uncontended import Granted, TimedLock
from agewalk.timing.machine import Machine
from agewalk.timing.threads import McsNode, Thread
from agewalk.timing.timing_effects import Park

NS = 1000
MakeLock = Callable[[Lock], TimedLock]


class Box(Object):
    """A lock of any kind beside a counter that it protects, on lines of their own."""

    def __init__(self, field: str = "lock") -> None:
        super().__init__("box")
        self.lock = Lock(self, field, sleeps=field == "sem")
        self.inside = Cell(Object("inside"), "count", 0)


@pytest.fixture(params=["lock", "mmu_lock", "sem"])
def box(request: pytest.FixtureRequest) -> Box:
    return Box(request.param)


def increments(box: Box, n: int) -> Step[None]:
    for _ in range(n):
        yield Work("vm_exit")
        yield Acquire(box.lock)
        found = yield Load(box.inside)
        yield Store(box.inside, found + 1)
        yield Release(box.lock)


def note(log: list[str], name: str, box: Box, mode: str = WRITE, hold: int = 1) -> Step[None]:
    yield Acquire(box.lock, mode)
    log.append(name)
    yield Work("vm_exit", hold)
    yield Release(box.lock, mode)


def crowd(
    box: Box,
    costs: CostTable,
    *,
    threads: int = 6,
    n: int = 40,
    seed: int = 0,
    make: MakeLock = make_lock,
) -> Machine:
    machine = Machine(threads, costs=costs.with_values({"noise.work": 0.5}), seed=seed)
    machine.locks.make = make
    for cpu in range(threads):
        machine.spawn(f"t{cpu}", increments(box, n), cpu=cpu, start=cpu * 100)
    machine.run()
    return machine


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_inside_a_lock(box: Box, costs: CostTable, seed: int) -> None:
    machine = crowd(box, costs, seed=seed)
    assert box.inside.value == 6 * 40
    lock = machine.locks.of(box.lock)
    assert lock.contended > 50
    assert sum(th.lock_wait for th in machine.threads) == lock.wait > 0
    assert lock.acquired[WRITE] == 240
    assert not box.lock.writer
    assert lock.word().value == 0
    assert all(len(th.mcs) == 4 for th in machine.threads)


def queue_up(box: Box, costs: CostTable, modes: str, make: MakeLock = make_lock, hold: int = 20) -> list[str]:
    """t0 holds the lock; the others come one after the other while it does. Who gets it when?"""
    log: list[str] = []
    machine = Machine(len(modes), costs=costs)
    machine.locks.make = make
    for cpu, mode in enumerate(modes):
        body = note(log, f"{cpu}{mode}", box, WRITE if mode == "w" else READ, hold if cpu == 0 else 2)
        machine.spawn(f"t{cpu}", body, cpu=cpu, start=cpu * 900 * NS)
    machine.run()
    return log


def test_first_come_first_served(box: Box, costs: CostTable) -> None:
    assert queue_up(box, costs, "wwwwwwww") == [f"{n}w" for n in range(8)]


@pytest.mark.parametrize("field", ["mmu_lock", "sem"])
def test_readers_do_not_overtake_a_waiting_writer(field: str, costs: CostTable) -> None:
    assert queue_up(Box(field), costs, "rrwrr") == ["0r", "1r", "2w", "3r", "4r"]


@pytest.mark.parametrize("field", ["mmu_lock", "sem"])
def test_readers_share(field: str, costs: CostTable) -> None:
    box = Box(field)
    machine = Machine(4, costs=costs)
    for cpu in range(4):
        machine.spawn(f"t{cpu}", note([], "", box, READ, hold=100), cpu=cpu)
    assert machine.run() < 2 * 40_000 * NS
    assert machine.locks.of(box.lock).contended == 0


def test_each_waiter_spins_on_its_own_line_and_is_handed_the_lock(costs: CostTable) -> None:
    box = Box()
    queue_up(box, costs, "w")
    machine = Machine(6, costs=costs)
    for cpu in range(6):
        machine.spawn(f"t{cpu}", note([], "", box, hold=20), cpu=cpu, start=cpu * NS)
    machine.run()
    lock = machine.locks.of(box.lock)
    assert isinstance(lock, QueuedSpinLock)
    assert lock.handed_over == 3  # t1 is pending, t2 to t5 queue: each but the last wakes the next


def test_a_writer_waits_for_the_readers_of_then_only(costs: CostTable) -> None:
    """Many readers come and go all the time: the writer gets in after those that it met, not when all are tired."""
    box = Box("mmu_lock")

    def reads() -> Step[None]:
        for _ in range(200):
            yield Acquire(box.lock, READ)
            yield Work("vm_exit")
            yield Release(box.lock, READ)

    machine = Machine(9, costs=costs)
    for cpu in range(8):
        machine.spawn(f"reader{cpu}", reads(), cpu=cpu, start=cpu * 50 * NS)
    writer = machine.spawn("writer", note([], "", box), cpu=8, start=10_000 * NS)
    end = machine.run()
    assert writer.ended - writer.started < 20_000 * NS  # eight readers that hold it 400 ns, and their transfers
    assert end > 100_000 * NS


def test_trylock(box: Box, costs: CostTable) -> None:
    answers: list[bool] = []

    def tries() -> Step[None]:
        for _ in range(2):
            answers.append((yield TryAcquire(box.lock)))
            if answers[-1]:
                yield Release(box.lock)
            yield Work("vm_exit", 30)

    machine = Machine(2, costs=costs)
    machine.spawn("holder", note([], "", box, hold=20), cpu=0)
    machine.spawn("tries", tries(), cpu=1, start=1000 * NS)
    machine.run()
    assert answers == [False, True]


def each_hand_over(costs: CostTable, threads: int, make: MakeLock = make_lock) -> float:
    """ns from one owner to the next when all want the lock and nobody does anything with it."""
    box = Box()

    def loop() -> Step[None]:
        for _ in range(200):
            yield Acquire(box.lock)
            yield Release(box.lock)

    machine = Machine(threads, costs=costs.with_values({"topology.numa_imbalance": 8}))
    machine.locks.make = make
    for cpu in range(threads):
        machine.spawn(f"t{cpu}", loop(), cpu=cpu, start=cpu * NS)
    return machine.run() / (threads * 200 * NS)


@pytest.mark.parametrize("threads", [4, 8])
def test_a_contended_spinlock_is_handed_over_in_three_transfers(costs: CostTable, threads: int) -> None:
    """50 ns each: the head of the queue reads the word that the holder cleared; sets its bit, while the successor's node is
    sent for; the successor reads its node."""
    assert 150 < each_hand_over(costs, threads) < 165


def test_who_meets_a_hand_over_to_the_pending_one_waits_for_its_end(costs: CostTable) -> None:
    """Pending but not locked: it does not queue (queued_spin_lock_slowpath(), _Q_PENDING_VAL)."""
    box = Box()
    machine = Machine(3, costs=costs)
    lock = machine.locks.of(box.lock)
    lock.word().value = 1 << 8

    def completes() -> Step[None]:
        yield Work("vm_exit")
        yield Store(lock.word(), 0)

    machine.spawn("taker", note([], "", box), cpu=0)
    machine.spawn("pending", completes(), cpu=1)
    machine.run()
    assert isinstance(lock, QueuedSpinLock)
    assert lock.contended == 1
    assert lock.handed_over == 0
    assert lock.word().value == 0


# --- seeded faults --------------------------------------------------------------------------------------------------


class ForgetsSuccessor(QueuedSpinLock):
    """The MCS hand-over is left out."""

    def hand_over(self, successor: McsNode) -> Step[None]:
        self.handed_over += 1
        yield Again()


class WaitsForItsBit(QueuedSpinLock):
    """set_locked() as an atomic: the successor's node is sent for only when the word has come."""

    def hand_over(self, successor: McsNode) -> Step[None]:
        yield FetchOr(self._word, 1)
        yield from QueuedSpinLock.hand_over(self, successor)


class SleeperForgotten(SleepingLock):
    """up_write() does not wake."""

    def must_wake(self, found: int, mode: str) -> bool:
        return False


class WaitersBitTooLate(SleepingLock):
    """Goes to sleep without telling the holder: the wake-up is lost."""

    def slow(self, thread: Thread, found: int, mode: str) -> Step[None]:
        yield Park()
        yield Granted(self, mode)


class WriterForgotten(QueuedRwLock):
    """A writer that waits is not announced (no _QW_WAITING): readers pass it by for ever."""

    def _slow_write(self, thread: Thread) -> Step[None]:
        while (yield Load(self._cnts)) or (yield FetchOr(self._cnts, 0)):
            yield Work("vm_exit", 5)
        yield FetchAdd(self._cnts, 0xFF)


class Leaky(QueuedSpinLock):
    """The compare-exchange is read the wrong way round once the word is taken."""

    def got(self, found: int, mode: str) -> bool:
        return True


class Stack(QueuedSpinLock):
    """Waiters are served last come first: everybody spins on the word, nobody queues."""

    def wait_in_line(self, thread: Thread, found: int) -> Step[None]:
        yield Work("vm_exit", 60 - 8 * thread.index)
        while (yield FetchOr(self._word, 1)) & 1:
            yield WaitFor(self._word, 1, 0)


@pytest.mark.parametrize("fault", [ForgetsSuccessor, SleeperForgotten, WaitersBitTooLate])
def test_a_lost_wake_up_is_found(fault: type[TimedLock], costs: CostTable) -> None:
    with pytest.raises(ModelError, match="lost wake-up"):
        crowd(Box("sem" if issubclass(fault, SleepingLock) else "lock"), costs, make=fault)


def test_a_slow_hand_over_is_found(costs: CostTable) -> None:
    assert each_hand_over(costs, 8, make=WaitsForItsBit) > 190


def test_broken_exclusion_is_found(costs: CostTable) -> None:
    with pytest.raises(ModelError, match=r"while .* holds it"):
        crowd(Box(), costs, make=Leaky)


def test_unfair_order_is_found(costs: CostTable) -> None:
    assert queue_up(Box(), costs, "wwwwwww", make=Stack) != [f"{n}w" for n in range(7)]


def test_a_starved_writer_is_found(costs: CostTable) -> None:
    assert queue_up(Box("mmu_lock"), costs, "rrwrr", make=WriterForgotten) != ["0r", "1r", "2w", "3r", "4r"]


def test_unbalanced_unlock_is_found(box: Box, costs: CostTable) -> None:
    def body() -> Step[None]:
        yield Release(box.lock)

    machine = Machine(1, costs=costs)
    machine.spawn("t", body(), cpu=0)
    with pytest.raises(ModelError, match="not held"):
        machine.run()


def test_ending_with_a_lock_held_is_found(box: Box, costs: CostTable) -> None:
    def body() -> Step[None]:
        yield Acquire(box.lock)

    machine = Machine(1, costs=costs)
    machine.spawn("t", body(), cpu=0)
    with pytest.raises(ModelError, match="ended inside a critical section"):
        machine.run()


def test_spinlocks_have_no_readers(costs: CostTable) -> None:
    def body() -> Step[Effect | None]:
        yield Acquire(Box().lock, READ)
        return None

    machine = Machine(1, costs=costs)
    machine.spawn("t", body(), cpu=0)
    with pytest.raises(ModelError, match="taken for read"):
        machine.run()
