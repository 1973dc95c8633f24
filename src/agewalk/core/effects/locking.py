"""Effects on locks, preemption and the read sections of RCU and SRCU."""

from __future__ import annotations

from agewalk.core.cells import Lock, Object, Srcu
from agewalk.core.effects.memory import WRITE, Effect


class Acquire(Effect):
    """Take a lock, waiting as long as it takes."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode


class TryAcquire(Effect):
    """Take a lock if that needs no waiting; answers whether it is held now."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode


class Release(Effect):
    """Give a lock back."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode


class IsContended(Effect):
    """Does another CPU wait for this lock (spin_is_contended)?"""

    __slots__ = ("lock",)

    def __init__(self, lock: Lock) -> None:
        self.lock = lock


class PreemptDisable(Effect):
    """preempt_disable()."""

    __slots__ = ()


class PreemptEnable(Effect):
    """preempt_enable()."""

    __slots__ = ()


class RcuReadLock(Effect):
    """rcu_read_lock(): nothing deferred from now on is freed before the matching unlock."""

    __slots__ = ()


class RcuReadUnlock(Effect):
    """rcu_read_unlock()."""

    __slots__ = ()


class CallRcu(Effect):
    """call_rcu(): free `memory` once every RCU reader of now has left."""

    __slots__ = ("memory",)

    def __init__(self, memory: Object) -> None:
        self.memory = memory


class SynchronizeRcu(Effect):
    """synchronize_rcu(): wait until every RCU reader of now has left."""

    __slots__ = ()


class SrcuReadLock(Effect):
    """srcu_read_lock(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain


class SrcuReadUnlock(Effect):
    """srcu_read_unlock(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain


class CallSrcu(Effect):
    """call_srcu(): free `memory` once every reader of the domain of now has left."""

    __slots__ = ("domain", "memory")

    def __init__(self, domain: Srcu, memory: Object) -> None:
        self.domain = domain
        self.memory = memory


class SynchronizeSrcu(Effect):
    """synchronize_srcu(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain
