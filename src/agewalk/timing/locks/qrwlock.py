"""queued_{read,write}_lock_slowpath(), kernel/locking/qrwlock.c, 6.12: threads that must wait queue on a spinlock."""

from __future__ import annotations

from typing import Final

from agewalk.core.cells import Lock
from agewalk.core.effects import WRITE, CompareExchange, Effect, FetchAdd, FetchOr, Load, Step, WaitFor
from agewalk.timing.locks.qspinlock import QueuedSpinLock
from agewalk.timing.locks.uncontended import Granted, TimedLock
from agewalk.timing.threads import Thread
from agewalk.timing.timing_effects import ClearBits, LockWord

_QW_LOCKED: Final = 0xFF
_QW_WAITING: Final = 0x100
_QW_MASK: Final = 0x1FF
_QR_BIAS: Final = 1 << 9


class QueuedRwLock(TimedLock):
    """rwlock_t. Readers that come while a writer holds the lock or waits join the writers' queue; no thread overtakes it."""

    __slots__ = ("_cnts", "queue")

    def __init__(self, lock: Lock) -> None:
        super().__init__(lock)
        self._cnts = LockWord(lock.owner, lock.field, 0)
        self.queue = QueuedSpinLock(lock)  # wait_lock is on the word's line

    def word(self) -> LockWord:
        return self._cnts

    def queue_word(self) -> LockWord:
        return self.queue.word()

    def fast(self, mode: str) -> Effect:
        return CompareExchange(self._cnts, 0, _QW_LOCKED) if mode == WRITE else FetchAdd(self._cnts, _QR_BIAS)

    def got(self, found: int, mode: str) -> bool:
        return found == 0 if mode == WRITE else not found & _QW_MASK

    def slow(self, thread: Thread, found: int, mode: str) -> Step[None]:
        yield from self._slow_write(thread) if mode == WRITE else self._slow_read(thread)
        yield Granted(self, mode)

    def _slow_read(self, thread: Thread) -> Step[None]:
        yield FetchAdd(self._cnts, -_QR_BIAS)
        yield from self._lock_queue(thread)
        yield FetchAdd(self._cnts, _QR_BIAS)
        yield WaitFor(self._cnts, _QW_LOCKED, 0)
        yield self.queue.release(WRITE)

    def _slow_write(self, thread: Thread) -> Step[None]:
        yield from self._lock_queue(thread)
        if (yield Load(self._cnts)) or (yield CompareExchange(self._cnts, 0, _QW_LOCKED)):
            yield FetchOr(self._cnts, _QW_WAITING)
            while True:
                yield WaitFor(self._cnts, -1, _QW_WAITING)
                if (yield CompareExchange(self._cnts, _QW_WAITING, _QW_LOCKED)) == _QW_WAITING:
                    break
        yield self.queue.release(WRITE)

    def _lock_queue(self, thread: Thread) -> Step[None]:
        found = yield self.queue.fast(WRITE)
        if found:
            yield from self.queue.wait_in_line(thread, found)

    def attempt(self, mode: str) -> Step[bool]:
        value = yield Load(self._cnts)
        if mode == WRITE:
            if value or (yield CompareExchange(self._cnts, 0, _QW_LOCKED)):
                return False
        elif value & _QW_MASK or (yield FetchAdd(self._cnts, _QR_BIAS)) & _QW_MASK:
            if not value & _QW_MASK:
                yield FetchAdd(self._cnts, -_QR_BIAS)
            return False
        yield Granted(self, mode)
        return True

    def release(self, mode: str) -> Effect:
        return ClearBits(self._cnts, ~_QW_LOCKED) if mode == WRITE else FetchAdd(self._cnts, -_QR_BIAS)

    def contended_value(self, value: int) -> bool:
        return bool(value)
