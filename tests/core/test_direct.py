"""The direct reading: what it answers, what it counts, and that each rule it enforces can be broken."""

from collections.abc import Callable

import pytest

from agewalk.core import effects as e
from agewalk.core.cells import Cell, ListHead, Lock, Object, Slab, Srcu
from agewalk.core.direct import Direct
from agewalk.core.errors import ModelError


class World:
    def __init__(self) -> None:
        self.memory = Object("page")
        self.cell = Cell(self.memory, "flags", 0b1010)
        self.slot = Cell(self.memory, 3, 7)
        self.spin = Lock(self.memory, "lock")
        self.sem = Lock(self.memory, "mmap_lock", sleeps=True)
        self.srcu = Srcu("srcu")
        self.lru = ListHead("lru")


def run(effect: e.Effect) -> object:
    def thread() -> e.Step[object]:
        return (yield effect)

    return Direct().run(thread())


@pytest.mark.parametrize(
    ("make", "answer", "left"),
    [
        (e.Load, 0b1010, 0b1010),
        (lambda c: e.Store(c, 1), None, 1),
        (lambda c: e.FetchAnd(c, ~0b10), 0b1010, 0b1000),
        (lambda c: e.FetchOr(c, 0b1), 0b1010, 0b1011),
        (lambda c: e.FetchAdd(c, -1), 0b1010, 0b1001),
        (lambda c: e.Exchange(c, 0), 0b1010, 0),
        (lambda c: e.CompareExchange(c, 0b1010, 5), 0b1010, 5),
        (lambda c: e.CompareExchange(c, 0, 5), 0b1010, 0b1010),
        (lambda c: e.WaitFor(c, 0b10, 0b10), 0b1010, 0b1010),
    ],
)
def test_memory(make: Callable[[Cell], e.Effect], answer: object, left: int) -> None:
    world = World()
    assert run(make(world.cell)) == answer
    assert world.cell.value == left


@pytest.mark.parametrize(
    "make",
    [
        e.Load,
        lambda c: e.Store(c, 1),
        lambda c: e.FetchAnd(c, 1),
        lambda c: e.CompareExchange(c, 0, 1),
        lambda c: e.WaitFor(c, 1, 0),
    ],
)
def test_use_after_free_is_seen(make: Callable[[Cell], e.Effect]) -> None:
    world = World()
    run(e.Free(world.memory))
    with pytest.raises(ModelError, match=r"page\.flags used after it was freed"):
        run(make(world.cell))


def test_double_free_is_seen_and_reuse_revives() -> None:
    world = World()
    run(e.Free(world.memory))
    with pytest.raises(ModelError, match="freed twice"):
        run(e.Free(world.memory))
    run(e.Reuse(world.memory))
    assert run(e.Load(world.cell)) == 0b1010


def test_lists_keep_order() -> None:
    head = ListHead("lru")
    a, b, c = (Object(x) for x in "abc")
    run(e.ListAdd(head, a))
    run(e.ListAdd(head, b))
    run(e.ListAdd(head, c, tail=True))
    assert [repr(x) for x in head.items] == ["b", "a", "c"]
    assert run(e.ListEnd(head)) is c
    assert run(e.ListEnd(head, head_side=True)) is b
    run(e.ListDel(head, c))
    assert run(e.ListEnd(head)) is a
    with pytest.raises(ModelError, match="not on"):
        run(e.ListDel(head, c))
    with pytest.raises(ModelError, match="already"):
        run(e.ListAdd(head, a))


def test_names() -> None:
    world = World()
    assert (world.cell.name, world.slot.name, world.spin.name) == ("page.flags", "page[3]", "page.lock")
    assert repr(e.FetchAnd(world.cell, 5)) == "FetchAnd(page.flags, 5, full)"


def broken(world: World, kind: str) -> e.Step[None]:
    if kind == "left held":
        yield e.Acquire(world.spin)
    elif kind == "left in RCU":
        yield e.RcuReadLock()
    elif kind == "relock":
        yield e.Acquire(world.spin, e.READ)
        yield e.Acquire(world.spin, e.WRITE)
    elif kind == "unlock of another mode":
        yield e.Acquire(world.spin, e.READ)
        yield e.Release(world.spin, e.WRITE)
    elif kind == "sleep under a spinlock":
        yield e.Acquire(world.spin)
        yield e.Acquire(world.sem)
    elif kind == "sleep in RCU":
        yield e.RcuReadLock()
        yield e.Acquire(world.sem)
    elif kind == "wait for oneself":
        yield e.SrcuReadLock(world.srcu)
        yield e.SynchronizeSrcu(world.srcu)
    elif kind == "grace period inside":
        yield e.RcuReadLock()
        yield e.SynchronizeRcu()
    elif kind == "spin for ever":
        yield e.WaitFor(world.cell, 1, 1)
    elif kind == "warn":
        yield e.Warn("mapcount < 0")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("left held", "ended inside a critical section"),
        ("left in RCU", "ended inside a critical section"),
        ("relock", "waits for ever for page.lock"),
        ("unlock of another mode", "unlocked but not held"),
        ("sleep under a spinlock", "sleeps on page.mmap_lock"),
        ("sleep in RCU", "sleeps on page.mmap_lock"),
        ("wait for oneself", "inside its own read section"),
        ("grace period inside", "inside an RCU read section"),
        ("spin for ever", "waits for ever on page.flags"),
        ("warn", "mapcount < 0"),
    ],
)
def test_each_rule_can_be_broken(kind: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as error:
        Direct().run(broken(World(), kind))
    assert error.value.hint


def test_deferred_frees_wait_for_readers() -> None:
    world = World()
    seen: list[bool] = []

    def thread() -> e.Step[None]:
        yield e.RcuReadLock()
        yield e.RcuReadLock()
        yield e.CallRcu(world.memory)
        yield e.RcuReadUnlock()
        seen.append(world.memory.freed)
        yield e.RcuReadUnlock()
        seen.append(world.memory.freed)
        yield e.Reuse(world.memory)
        yield e.SrcuReadLock(world.srcu)
        yield e.CallSrcu(world.srcu, world.memory)
        seen.append(world.memory.freed)
        yield e.SrcuReadUnlock(world.srcu)
        seen.append(world.memory.freed)

    Direct().run(thread())
    assert seen == [False, True, False, True]


def test_counts_and_try_locks() -> None:
    world = World()
    cpu = Direct()

    def thread() -> e.Step[list[bool]]:
        taken = [(yield e.TryAcquire(world.spin, e.READ)), (yield e.TryAcquire(world.spin, e.WRITE))]
        taken.append((yield e.IsContended(world.spin)))
        yield e.Release(world.spin, e.READ)
        yield e.Count("kvm_age_gfn", 2)
        yield e.Work("vm_exit")
        yield e.IndirectCall("kvm.clear_young")
        yield e.FlushTlb(world.memory)
        yield e.Again(1, "x")
        assert (yield e.Choose(3, "which")) == 0
        yield e.PreemptDisable()
        yield e.PreemptEnable()
        return taken

    before = cpu.counters.snapshot()
    assert cpu.run(thread()) == [True, False, False]
    assert cpu.counters.since(before) == {
        "lock:lock:read": 1,
        "kvm_age_gfn": 2,
        "work:vm_exit": 1,
        "indirect_calls": 1,
        "tlb_flushes": 1,
    }


def test_a_slab_gives_freed_memory_back_only_if_it_reuses() -> None:
    for reuse in (True, False):
        slab = Slab("desc", lambda i: Object(f"desc{i}"), reuse=reuse)

        def thread(slab: Slab = slab) -> e.Step[tuple[Object, Object, Object]]:
            first: Object = yield e.Alloc(slab)
            second: Object = yield e.Alloc(slab)
            yield e.Free(first)
            third: Object = yield e.Alloc(slab)
            return first, second, third

        first, second, third = Direct().run(thread())
        assert first is not second
        assert (third is first) is reuse
        assert first.freed is not reuse


def test_every_effect_means_something() -> None:
    from agewalk.core import effects
    from agewalk.core.direct import MEANINGS
    from agewalk.core.effects import Effect

    for name in effects.__all__:
        cls = getattr(effects, name)
        if isinstance(cls, type) and issubclass(cls, Effect) and cls is not Effect:
            assert callable(MEANINGS[cls]), name

    class Unknown(Effect):
        __slots__ = ()

    with pytest.raises(ModelError, match="does not know Unknown"):
        MEANINGS[Unknown]
