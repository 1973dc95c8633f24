"""Effects on locks, preemption and the read sections of RCU and SRCU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agewalk.core.cells import Lock, Object, Srcu
from agewalk.core.effects.base import WRITE, Effect
from agewalk.core.errors import ModelError

if TYPE_CHECKING:
    from agewalk.core.direct import Direct


class Acquire(Effect):
    """Take a lock, waiting as long as it takes."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode

    def perform(self, cpu: Direct) -> None:
        lock = self.lock
        if lock.writer or (lock.readers and self.mode == WRITE):
            raise ModelError(f"waits for ever for {lock.name}", hint="it is held already, by this very path")
        cpu.hold(lock, self.mode)


class TryAcquire(Effect):
    """Take a lock if nobody has to be waited for; answers whether it is held now."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode

    def perform(self, cpu: Direct) -> bool:
        lock = self.lock
        if lock.writer or (lock.readers and self.mode == WRITE):
            return False
        cpu.hold(lock, self.mode)
        return True


class Release(Effect):
    """Give a lock back."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode

    def perform(self, cpu: Direct) -> None:
        cpu.drop(self.lock, self.mode)


class IsContended(Effect):
    """Does somebody wait for this lock (spin_is_contended)? Alone: no."""

    __slots__ = ("lock",)

    def __init__(self, lock: Lock) -> None:
        self.lock = lock

    def perform(self, cpu: Direct) -> bool:
        return False


class PreemptDisable(Effect):
    """preempt_disable()."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        cpu.atomic += 1


class PreemptEnable(Effect):
    """preempt_enable()."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        cpu.atomic -= 1


class RcuReadLock(Effect):
    """rcu_read_lock(): nothing deferred from now on is freed before the matching unlock."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        cpu.rcu += 1


class RcuReadUnlock(Effect):
    """rcu_read_unlock()."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        cpu.leave_rcu()


class CallRcu(Effect):
    """call_rcu(): free `memory` once every RCU reader of now has left."""

    __slots__ = ("memory",)

    def __init__(self, memory: Object) -> None:
        self.memory = memory

    def perform(self, cpu: Direct) -> None:
        cpu.free_after_rcu(self.memory)


class SynchronizeRcu(Effect):
    """synchronize_rcu(): wait until every RCU reader of now has left."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        if cpu.rcu:
            raise ModelError("synchronize_rcu() inside an RCU read section", hint="it would wait for itself")


class SrcuReadLock(Effect):
    """srcu_read_lock(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain

    def perform(self, cpu: Direct) -> None:
        self.domain.readers += 1


class SrcuReadUnlock(Effect):
    """srcu_read_unlock(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain

    def perform(self, cpu: Direct) -> None:
        domain = self.domain
        domain.readers -= 1
        if not domain.readers and domain.deferred:
            for memory in domain.deferred:
                cpu.free(memory)
            domain.deferred.clear()


class CallSrcu(Effect):
    """call_srcu(): free `memory` once every reader of the domain of now has left."""

    __slots__ = ("domain", "memory")

    def __init__(self, domain: Srcu, memory: Object) -> None:
        self.domain = domain
        self.memory = memory

    def perform(self, cpu: Direct) -> None:
        if self.domain.readers:
            self.domain.deferred.append(self.memory)
        else:
            cpu.free(self.memory)


class SynchronizeSrcu(Effect):
    """synchronize_srcu(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain

    def perform(self, cpu: Direct) -> None:
        if self.domain.readers:
            raise ModelError(
                f"synchronize_srcu({self.domain}) inside its own read section", hint="it would wait for itself"
            )
