"""down_read(), down_write(), kernel/locking/rwsem.c, 6.12: a FIFO of sleepers, direct hand-off; no optimistic spinning."""

from __future__ import annotations

from collections import deque
from typing import Final

from agewalk.core.cells import Lock
from agewalk.core.effects import READ, WRITE, CompareExchange, Effect, FetchAdd, FetchOr, Load, Step
from agewalk.timing.locks.qspinlock import QueuedSpinLock
from agewalk.timing.locks.uncontended import Granted, TimedLock
from agewalk.timing.threads import Thread
from agewalk.timing.timing_effects import ClearBits, LockWord, Park, Unpark

_RWSEM_WRITER: Final = 1
_RWSEM_WAITERS: Final = 2
_RWSEM_READER: Final = 1 << 8


class SleepingLock(TimedLock):
    """rw_semaphore; a mutex is one that is only written."""

    __slots__ = ("_count", "_queue", "_sleepers", "owner")

    def __init__(self, lock: Lock) -> None:
        super().__init__(lock)
        self._count = LockWord(lock.owner, lock.field, 0)
        self.owner = LockWord(lock.owner, lock.field, 0)  # readers write it, too: rwsem_set_reader_owned()
        self._queue = QueuedSpinLock(lock)
        self._sleepers: deque[tuple[Thread, str]] = deque()  # under _queue

    def word(self) -> LockWord:
        return self._count

    def fast(self, mode: str) -> Effect:
        return CompareExchange(self._count, 0, _RWSEM_WRITER) if mode == WRITE else FetchAdd(self._count, _RWSEM_READER)

    def got(self, found: int, mode: str) -> bool:
        return found == 0 if mode == WRITE else not found & (_RWSEM_WRITER | _RWSEM_WAITERS)

    def slow(self, thread: Thread, found: int, mode: str) -> Step[None]:
        if mode == READ:
            yield FetchAdd(self._count, -_RWSEM_READER)
        yield from self._lock_queue(thread)
        value = yield FetchOr(self._count, _RWSEM_WAITERS)
        self._sleepers.append((thread, mode))
        if not value & ~_RWSEM_WAITERS:  # released meanwhile, when there was no sleeper to wake
            yield from self._hand_off()
        yield self._queue.release(WRITE)
        yield Park()
        yield Granted(self, mode)

    def _hand_off(self) -> Step[None]:
        """rwsem_mark_wake(): give the free lock to the first sleeper, or to all readers at the front."""
        woken: list[Thread] = []
        while self._sleepers:
            thread, mode = self._sleepers[0]
            if mode == WRITE and woken:
                break
            self._sleepers.popleft()
            woken.append(thread)
            yield FetchAdd(self._count, _RWSEM_WRITER if mode == WRITE else _RWSEM_READER)
            if mode == WRITE:
                break
        if not self._sleepers:
            yield ClearBits(self._count, ~_RWSEM_WAITERS)
        for thread in woken:
            yield Unpark(thread)

    def _lock_queue(self, thread: Thread) -> Step[None]:
        found = yield self._queue.fast(WRITE)
        if found:
            yield from self._queue.wait_in_line(thread, found)

    def attempt(self, mode: str) -> Step[bool]:
        value = yield Load(self._count)
        while self.got(value, mode):
            new = _RWSEM_WRITER if mode == WRITE else value + _RWSEM_READER
            found = yield CompareExchange(self._count, value, new)
            if found == value:
                yield Granted(self, mode)
                return True
            value = found
        return False

    def release(self, mode: str) -> Effect:
        return FetchAdd(self._count, -(_RWSEM_WRITER if mode == WRITE else _RWSEM_READER))

    def must_wake(self, found: int, mode: str) -> bool:
        return bool(found & _RWSEM_WAITERS) and not (mode == READ and found >= 2 * _RWSEM_READER)

    def wake(self, thread: Thread) -> Step[None]:
        yield from self._lock_queue(thread)
        value = yield Load(self._count)
        if self._sleepers and not value & ~_RWSEM_WAITERS:
            yield from self._hand_off()
        yield self._queue.release(WRITE)

    def contended_value(self, value: int) -> bool:
        return bool(value & _RWSEM_WAITERS)
