"""The direct reading: one generator after the other, each to its end. What the system does; the reference for all else."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from agewalk.core.cells import Lock, Object
from agewalk.core.counters import Counters
from agewalk.core.effects import WRITE, Effect, Step
from agewalk.core.errors import ModelError

T = TypeVar("T")


class Direct:
    """The one CPU of the direct reading, and what it counts.

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
                effect = send(effect.perform(self))
        except StopIteration as stop:
            if (len(self.held), self.rcu, self.atomic) != outer:
                raise ModelError(
                    f"{getattr(thread, '__qualname__', thread)} ended inside a critical section",
                    hint=f"held: {self.held}, RCU depth {self.rcu}, preemption depth {self.atomic}",
                ) from None
            result: T = stop.value
            return result

    def operations(self) -> ModuleType:
        """What a plain copy of the model (`core/plain`) calls for each effect, so that this CPU performs it."""
        do = ModuleType("do")
        vars(do)["perform"] = lambda effect: effect.perform(self)
        todo = Effect.__subclasses__()
        while todo:
            cls = todo.pop()
            todo += cls.__subclasses__()
            setattr(do, cls.__name__, partial(_perform, self, cls))
        return do

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


def _perform(cpu: Direct, cls: type[Effect], *args: Any, **options: Any) -> Any:
    return cls(*args, **options).perform(cpu)
