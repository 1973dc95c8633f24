"""The direct executor: one generator after the other, each to its end. What the system does; the reference for all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from agewalk.core import effects as e
from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.counters import Counters
from agewalk.core.effects import WRITE, Effect, Step
from agewalk.core.effects.memory import ReadModifyWrite, used_after_free
from agewalk.core.errors import ModelError

T = TypeVar("T")


class Direct:
    """The one CPU of the direct executor, and what it counts.

    counters: what `Count`, `Work`, `IndirectCall`, `FlushTlb` and `Acquire` met, by name (`lock:mmu_lock:write`).
    """

    def __init__(self) -> None:
        self.counters = Counters()
        self.held: list[tuple[Lock, str]] = []
        self.rcu = 0
        self.atomic = 0  # depth of spinlocks and preempt_disable()
        self._after_rcu: list[Object] = []

    def run(self, thread: Step[T]) -> T:
        """Run a generator to its end; its return value. Raises ModelError if it breaks a rule, or leaves a lock held."""
        send = thread.send
        outer = len(self.held), self.rcu, self.atomic
        try:
            effect = send(None)
            while True:
                effect = send(MEANINGS[effect.__class__](self, effect))
        except StopIteration as stop:
            if (len(self.held), self.rcu, self.atomic) != outer:
                raise ModelError(
                    f"{getattr(thread, '__qualname__', thread)} ended inside a critical section",
                    hint=f"held: {self.held}, RCU depth {self.rcu}, preemption depth {self.atomic}",
                ) from None
            result: T = stop.value
            return result

    def hold(self, lock: Lock, mode: str) -> None:
        """Book a lock as taken."""
        if lock.sleeps and (self.atomic or self.rcu):
            raise ModelError(
                f"sleeps on {lock.name} in atomic context", hint="a mutex or rwsem inside a spinlock or RCU section"
            )
        if mode == WRITE:
            lock.writer = True
        else:
            lock.readers += 1
        self.atomic += not lock.sleeps
        self.held.append((lock, mode))
        self.counters[f"lock:{lock.field}:{mode}"] += 1

    def drop(self, lock: Lock, mode: str) -> None:
        """Book a lock as given back."""
        try:
            self.held.remove((lock, mode))
        except ValueError:
            raise ModelError(
                f"{lock.name} is unlocked but not held for {mode}", hint="unbalanced lock and unlock"
            ) from None
        if mode == WRITE:
            lock.writer = False
        else:
            lock.readers -= 1
        self.atomic -= not lock.sleeps

    def leave_rcu(self) -> None:
        """rcu_read_unlock(); the outermost one ends the grace period of what was deferred."""
        self.rcu -= 1
        if not self.rcu and self._after_rcu:
            for memory in self._after_rcu:
                self.free(memory)
            self._after_rcu.clear()

    def free_after_rcu(self, memory: Object) -> None:
        """Free now if no reader is left, else when the last one leaves."""
        if self.rcu:
            self._after_rcu.append(memory)
        else:
            self.free(memory)

    def free(self, memory: Object) -> None:
        """kfree()."""
        if memory.freed:
            raise ModelError(f"{memory!r} freed twice", hint="two paths each believed to be the last user")
        memory.freed = True
        if memory.slab is not None and memory.slab.reuse:
            memory.slab.free.append(memory)


class _Meanings(dict[type[Effect], Callable[[Direct, Any], Any]]):
    """The function that performs each class of effect; a class without an entry uses that of its nearest base."""

    def __missing__(self, cls: type[Effect]) -> Callable[[Direct, Any], Any]:
        for base in cls.__mro__[1:]:
            if base in self:
                self[cls] = self[base]
                return self[cls]
        raise ModelError(f"the direct executor does not know {cls.__name__}", hint="it belongs to another executor")


MEANINGS: Final = _Meanings()
Meaning = TypeVar("Meaning", bound=Callable[..., Any])


def means(*classes: type[Effect]) -> Callable[[Meaning], Meaning]:
    """The decorated function is what the direct executor does for these effects: (cpu, effect) -> answer."""

    def entered(meaning: Meaning) -> Meaning:
        MEANINGS.update(dict.fromkeys(classes, meaning))
        return meaning

    return entered


def perform(cpu: Direct, effect: Effect) -> Any:
    """Do one effect now, alone; what the generator that yielded it is sent."""
    return MEANINGS[effect.__class__](cpu, effect)


# --- memory -------------------------------------------------------------------------------------------------------------


def _alive(cell: Cell) -> Cell:
    if cell.owner.freed:
        raise used_after_free(cell)
    return cell


@means(e.Load)
def _load(_: Direct, effect: e.Load) -> Any:
    cell = effect.cell
    if cell.owner.freed:  # written out: most effects are loads
        raise used_after_free(cell)
    return cell.value


@means(e.Store)
def _store(_: Direct, effect: e.Store) -> None:
    _alive(effect.cell).value = effect.value


@means(ReadModifyWrite)
def _read_modify_write(_: Direct, effect: ReadModifyWrite) -> Any:
    cell = _alive(effect.cell)
    found = cell.value
    cell.value = effect.apply(found)
    return found


@means(e.CompareExchange)
def _compare_exchange(_: Direct, effect: e.CompareExchange) -> Any:
    cell = _alive(effect.cell)
    found = cell.value
    if found == effect.expected:
        cell.value = effect.new
    return found


@means(e.WaitFor)
def _wait_for(_: Direct, effect: e.WaitFor) -> Any:
    cell = _alive(effect.cell)
    if cell.value & effect.mask != effect.want:
        raise ModelError(f"waits for ever on {cell.name}", hint="no other thread runs that could change it")
    return cell.value


@means(e.Free)
def _free(cpu: Direct, effect: e.Free) -> None:
    cpu.free(effect.memory)


@means(e.Reuse)
def _reuse(_: Direct, effect: e.Reuse) -> Object:
    effect.memory.freed = False
    return effect.memory


@means(e.Alloc)
def _alloc(_: Direct, effect: e.Alloc) -> Object:
    return effect.slab.take()


# --- locks, preemption, RCU, SRCU ---------------------------------------------------------------------------------------


def _is_free(lock: Lock, mode: str) -> bool:
    return not lock.writer and (not lock.readers or mode != WRITE)


@means(e.Acquire)
def _acquire(cpu: Direct, effect: e.Acquire) -> None:
    if not _is_free(effect.lock, effect.mode):
        raise ModelError(f"waits for ever for {effect.lock.name}", hint="it is held already, by this very path")
    cpu.hold(effect.lock, effect.mode)


@means(e.TryAcquire)
def _try_acquire(cpu: Direct, effect: e.TryAcquire) -> bool:
    if not _is_free(effect.lock, effect.mode):
        return False
    cpu.hold(effect.lock, effect.mode)
    return True


@means(e.Release)
def _release(cpu: Direct, effect: e.Release) -> None:
    cpu.drop(effect.lock, effect.mode)


@means(e.IsContended)
def _is_contended(_cpu: Direct, _: e.IsContended) -> bool:
    return False  # there is one CPU


@means(e.PreemptDisable)
def _preempt_disable(cpu: Direct, _: e.PreemptDisable) -> None:
    cpu.atomic += 1


@means(e.PreemptEnable)
def _preempt_enable(cpu: Direct, _: e.PreemptEnable) -> None:
    cpu.atomic -= 1


@means(e.RcuReadLock)
def _rcu_read_lock(cpu: Direct, _: e.RcuReadLock) -> None:
    cpu.rcu += 1


@means(e.RcuReadUnlock)
def _rcu_read_unlock(cpu: Direct, _: e.RcuReadUnlock) -> None:
    cpu.leave_rcu()


@means(e.CallRcu)
def _call_rcu(cpu: Direct, effect: e.CallRcu) -> None:
    cpu.free_after_rcu(effect.memory)


@means(e.SynchronizeRcu)
def _synchronize_rcu(cpu: Direct, _: e.SynchronizeRcu) -> None:
    if cpu.rcu:
        raise ModelError("synchronize_rcu() inside an RCU read section", hint="it would wait for itself")


@means(e.SrcuReadLock)
def _srcu_read_lock(_: Direct, effect: e.SrcuReadLock) -> None:
    effect.domain.readers += 1


@means(e.SrcuReadUnlock)
def _srcu_read_unlock(cpu: Direct, effect: e.SrcuReadUnlock) -> None:
    domain = effect.domain
    domain.readers -= 1
    if not domain.readers and domain.deferred:
        for memory in domain.deferred:
            cpu.free(memory)
        domain.deferred.clear()


@means(e.CallSrcu)
def _call_srcu(cpu: Direct, effect: e.CallSrcu) -> None:
    if effect.domain.readers:
        effect.domain.deferred.append(effect.memory)
    else:
        cpu.free(effect.memory)


@means(e.SynchronizeSrcu)
def _synchronize_srcu(_: Direct, effect: e.SynchronizeSrcu) -> None:
    if effect.domain.readers:
        hint = "it would wait for itself"
        raise ModelError(f"synchronize_srcu({effect.domain}) inside its own read section", hint=hint)


# --- lists, and what a thread says of itself ----------------------------------------------------------------------------


@means(e.ListAdd)
def _list_add(_: Direct, effect: e.ListAdd) -> None:
    effect.head.add(effect.member, tail=effect.tail)


@means(e.ListDel)
def _list_del(_: Direct, effect: e.ListDel) -> None:
    effect.head.remove(effect.member)


@means(e.ListEnd)
def _list_end(_: Direct, effect: e.ListEnd) -> Object | None:
    return effect.head.end(head_side=effect.head_side)


@means(e.IndirectCall)
def _indirect_call(cpu: Direct, _: e.IndirectCall) -> None:
    cpu.counters["indirect_calls"] += 1


@means(e.Count)
def _count(cpu: Direct, effect: e.Count) -> None:
    cpu.counters[effect.what] += effect.n


@means(e.Work)
def _work(cpu: Direct, effect: e.Work) -> None:
    cpu.counters["work:" + effect.what] += effect.n


@means(e.FlushTlb)
def _flush_tlb(cpu: Direct, _: e.FlushTlb) -> None:
    cpu.counters["tlb_flushes"] += 1


@means(e.Choose)
def _choose(_cpu: Direct, _: e.Choose) -> int:
    return 0


@means(e.Again)
def _again(_cpu: Direct, _: e.Again) -> None:
    """Another round of a loop: of use to the exhaustive executor alone."""


@means(e.Warn)
def _warn(_: Direct, effect: e.Warn) -> None:
    raise ModelError(f"WARN: {effect.what}", hint="the kernel would print a splat here")
