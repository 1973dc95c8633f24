"""Which kind of lock a lock of the model is."""

from __future__ import annotations

from typing import Final

from agewalk.core.cells import Lock
from agewalk.timing.locks.qrwlock import QueuedRwLock
from agewalk.timing.locks.qspinlock import QueuedSpinLock
from agewalk.timing.locks.rwsem import SleepingLock
from agewalk.timing.locks.uncontended import TimedLock

# Non-sleeping locks that have readers, by field: KVM's mmu_lock on x86 and arm64.
RW_FIELDS: Final = frozenset({"mmu_lock"})


def make_lock(lock: Lock) -> TimedLock:
    """A lock that sleeps is an rwsem (a mutex is only written), a field of `RW_FIELDS` an rwlock, others are spinlocks."""
    if lock.sleeps:
        return SleepingLock(lock)
    return QueuedRwLock(lock) if lock.field in RW_FIELDS else QueuedSpinLock(lock)
