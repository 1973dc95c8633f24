"""The kernel's locks as they work inside, on words that have lines: who waits, who is next, what the line does.

QueuedSpinLock  queued_spin_lock_slowpath(), kernel/locking/qspinlock.c, 6.12: pending bit, then an MCS queue
QueuedRwLock    queued_{read,write}_lock_slowpath(), kernel/locking/qrwlock.c, 6.12: who must wait queues on a spinlock
SleepingLock    down_read(), down_write(), kernel/locking/rwsem.c, 6.12: FIFO of sleepers, handed off directly; no
                optimistic spinning

Bit locks (rmap heads) are written out in the model and need nothing here. A fast path answers at once; a slow path performs the
same effects as the model (`do`), so that waiting, too, costs what its line transfers cost.
"""

from __future__ import annotations

from collections import deque
from types import ModuleType
from typing import Final, Literal

from agewalk.core.cells import Lock
from agewalk.core.effects import READ, WRITE, CompareExchange, Effect, FetchAdd
from agewalk.core.errors import ModelError
from agewalk.timing.holding import TimedLock
from agewalk.timing.steps import ClearBits, LockWord
from agewalk.timing.threads import McsNode, Thread

_LOCKED: Final = 1
_PENDING: Final = 1 << 8
_TAIL: Final = 1 << 16
_QW_LOCKED: Final = 0xFF
_QW_WAITING: Final = 0x100
_QW_MASK: Final = 0x1FF
_QR_BIAS: Final = 1 << 9
_RWSEM_WRITER: Final = 1
_RWSEM_WAITERS: Final = 2
_RWSEM_READER: Final = 1 << 8


class QueuedSpinLock(TimedLock):
    """spinlock_t. `value` bits: locked, pending, tail (an index of who is last, here 1 + thread index and nesting)."""

    __slots__ = ("_nodes", "_word", "handed_over")

    def __init__(self, lock: Lock, do: ModuleType) -> None:
        super().__init__(lock, do)
        self._word = LockWord(lock.owner, lock.field, 0)
        self._nodes: dict[int, McsNode] = {}  # by tail
        self.handed_over = 0

    def word(self) -> LockWord:
        return self._word

    def fast(self, mode: str) -> Effect:
        if mode != WRITE:
            raise ModelError(
                f"{self.lock.name} taken for {mode}",
                hint="a spinlock has no readers; name it in lock_kinds if it is an rwlock",
            )
        return CompareExchange(self._word, 0, _LOCKED)

    def got(self, found: int, mode: str) -> bool:
        return found == 0

    def slow(self, thread: Thread, found: int, mode: str) -> None:
        self.wait_in_line(thread, found)
        self.do.Granted(self)

    def wait_in_line(self, thread: Thread, found: int) -> None:
        """queued_spin_lock_slowpath() from a failed first attempt to ownership."""
        word = self._word
        if found == _PENDING:  # being handed over to the one that is pending: a moment
            found = self.do.WaitForChange(word, _PENDING)
        if not found & ~_LOCKED:
            before = self.do.FetchOr(word, _PENDING)
            if not before & ~_LOCKED:
                if before & _LOCKED:
                    self.do.WaitFor(word, _LOCKED, 0)
                self.do.StorePart(word, _LOCKED | _PENDING, _LOCKED)  # clear_pending_set_locked()
                return
            if not before & _PENDING:
                self.do.ClearBits(word, ~_PENDING)  # undo, and queue behind whoever queued
        node = thread.mcs.pop()
        self.do.Store(node.locked, 0)
        self.do.Store(node.next, None)
        if self.do.Load(word) or self.do.CompareExchange(word, 0, _LOCKED):  # queued_spin_trylock(), once more
            self._queue_up(thread, node)
        thread.mcs.append(node)

    def _queue_up(self, thread: Thread, node: McsNode) -> None:
        """From xchg_tail() to ownership."""
        word = self._word
        tail = (thread.index * 4 + len(thread.mcs) + 1) * _TAIL
        self._nodes[tail] = node
        ahead = self.do.ExchangeTail(word, tail) & ~0xFFFF
        if ahead:
            self.do.Store(self._nodes[ahead].next, node)
            self.do.WaitFor(node.locked, 1, 1)
        value = self.do.WaitFor(word, _LOCKED | _PENDING, 0)
        if value & ~0xFFFF != tail or self.do.CompareExchange(word, tail, _LOCKED) != tail:
            self.do.StorePart(word, _LOCKED, _LOCKED)  # set_locked()
            successor = self.do.WaitForChange(node.next, None)  # whoever took the tail links itself
            self.hand_over(successor)
        del self._nodes[tail]

    def hand_over(self, successor: McsNode) -> None:
        """arch_mcs_spin_unlock_contended(): the next in line may look at the word now."""
        self.handed_over += 1
        self.do.Store(successor.locked, 1)

    def attempt(self, mode: str) -> bool:
        if self.do.Load(self._word) == 0 and self.do.CompareExchange(self._word, 0, _LOCKED) == 0:
            self.do.Granted(self)
            return True
        return False

    def release(self, mode: str) -> Effect:
        return ClearBits(self._word, ~_LOCKED)

    def contended_value(self, value: int) -> bool:
        return bool(value & ~_LOCKED)


class QueuedRwLock(TimedLock):
    """rwlock_t. Readers that come while a writer holds or waits queue with the writers; nobody overtakes the queue."""

    __slots__ = ("_cnts", "queue")

    def __init__(self, lock: Lock, do: ModuleType) -> None:
        super().__init__(lock, do)
        self._cnts = LockWord(lock.owner, lock.field, 0)
        self.queue = QueuedSpinLock(lock, do)  # wait_lock is the word's neighbour: same line

    def word(self) -> LockWord:
        return self._cnts

    def queue_word(self) -> LockWord:
        return self.queue.word()

    def fast(self, mode: str) -> Effect:
        return CompareExchange(self._cnts, 0, _QW_LOCKED) if mode == WRITE else FetchAdd(self._cnts, _QR_BIAS)

    def got(self, found: int, mode: str) -> bool:
        return found == 0 if mode == WRITE else not found & _QW_MASK

    def slow(self, thread: Thread, found: int, mode: str) -> None:
        self._slow_write(thread) if mode == WRITE else self._slow_read(thread)
        self.do.Granted(self, mode)

    def _slow_read(self, thread: Thread) -> None:
        self.do.FetchAdd(self._cnts, -_QR_BIAS)
        self._lock_queue(thread)
        self.do.FetchAdd(self._cnts, _QR_BIAS)
        self.do.WaitFor(self._cnts, _QW_LOCKED, 0)
        self.do.perform(self.queue.release(WRITE))

    def _slow_write(self, thread: Thread) -> None:
        self._lock_queue(thread)
        if self.do.Load(self._cnts) or self.do.CompareExchange(self._cnts, 0, _QW_LOCKED):
            self.do.FetchOr(self._cnts, _QW_WAITING)
            while True:
                self.do.WaitFor(self._cnts, -1, _QW_WAITING)
                if self.do.CompareExchange(self._cnts, _QW_WAITING, _QW_LOCKED) == _QW_WAITING:
                    break
        self.do.perform(self.queue.release(WRITE))

    def _lock_queue(self, thread: Thread) -> None:
        found = self.do.perform(self.queue.fast(WRITE))
        if found:
            self.queue.wait_in_line(thread, found)

    def attempt(self, mode: str) -> bool:
        value = self.do.Load(self._cnts)
        if mode == WRITE:
            if value or self.do.CompareExchange(self._cnts, 0, _QW_LOCKED):
                return False
        elif value & _QW_MASK or self.do.FetchAdd(self._cnts, _QR_BIAS) & _QW_MASK:
            if not value & _QW_MASK:
                self.do.FetchAdd(self._cnts, -_QR_BIAS)
            return False
        self.do.Granted(self, mode)
        return True

    def release(self, mode: str) -> Effect:
        return ClearBits(self._cnts, ~_QW_LOCKED) if mode == WRITE else FetchAdd(self._cnts, -_QR_BIAS)

    def contended_value(self, value: int) -> bool:
        return bool(value)


class SleepingLock(TimedLock):
    """rw_semaphore, and mutex as one that is only written."""

    __slots__ = ("_count", "_queue", "_sleepers", "owner")

    def __init__(self, lock: Lock, do: ModuleType) -> None:
        super().__init__(lock, do)
        self._count = LockWord(lock.owner, lock.field, 0)
        self.owner = LockWord(lock.owner, lock.field, 0)  # written by each reader too: rwsem_set_reader_owned()
        self._queue = QueuedSpinLock(lock, do)
        self._sleepers: deque[tuple[Thread, str]] = deque()  # under _queue

    def word(self) -> LockWord:
        return self._count

    def fast(self, mode: str) -> Effect:
        return CompareExchange(self._count, 0, _RWSEM_WRITER) if mode == WRITE else FetchAdd(self._count, _RWSEM_READER)

    def got(self, found: int, mode: str) -> bool:
        return found == 0 if mode == WRITE else not found & (_RWSEM_WRITER | _RWSEM_WAITERS)

    def slow(self, thread: Thread, found: int, mode: str) -> None:
        if mode == READ:
            self.do.FetchAdd(self._count, -_RWSEM_READER)
        self._lock_queue(thread)
        value = self.do.FetchOr(self._count, _RWSEM_WAITERS)
        self._sleepers.append((thread, mode))
        if not value & ~_RWSEM_WAITERS:  # given back meanwhile, and nobody was there to be woken
            self._hand_off()
        self.do.perform(self._queue.release(WRITE))
        self.do.Park()
        self.do.Granted(self, mode)

    def _hand_off(self) -> None:
        """rwsem_mark_wake(): give the free lock to the first sleeper, or to all readers at the front."""
        woken: list[Thread] = []
        while self._sleepers:
            thread, mode = self._sleepers[0]
            if mode == WRITE and woken:
                break
            self._sleepers.popleft()
            woken.append(thread)
            self.do.FetchAdd(self._count, _RWSEM_WRITER if mode == WRITE else _RWSEM_READER)
            if mode == WRITE:
                break
        if not self._sleepers:
            self.do.ClearBits(self._count, ~_RWSEM_WAITERS)
        for thread in woken:
            self.do.Unpark(thread)

    def _lock_queue(self, thread: Thread) -> None:
        found = self.do.perform(self._queue.fast(WRITE))
        if found:
            self._queue.wait_in_line(thread, found)

    def attempt(self, mode: str) -> bool:
        value = self.do.Load(self._count)
        while self.got(value, mode):
            new = _RWSEM_WRITER if mode == WRITE else value + _RWSEM_READER
            found = self.do.CompareExchange(self._count, value, new)
            if found == value:
                self.do.Granted(self, mode)
                return True
            value = found
        return False

    def release(self, mode: str) -> Effect:
        return FetchAdd(self._count, -(_RWSEM_WRITER if mode == WRITE else _RWSEM_READER))

    def must_wake(self, found: int, mode: str) -> bool:
        return bool(found & _RWSEM_WAITERS) and not (mode == READ and found >= 2 * _RWSEM_READER)

    def wake(self, thread: Thread) -> None:
        self._lock_queue(thread)
        value = self.do.Load(self._count)
        if self._sleepers and not value & ~_RWSEM_WAITERS:
            self._hand_off()
        self.do.perform(self._queue.release(WRITE))

    def contended_value(self, value: int) -> bool:
        return bool(value & _RWSEM_WAITERS)


LockKind = Literal["spin", "rw", "sleep"]
_KINDS: Final[dict[LockKind, type[TimedLock]]] = {"spin": QueuedSpinLock, "rw": QueuedRwLock, "sleep": SleepingLock}
# Non-sleeping locks that have readers, by field: KVM's mmu_lock on x86 and arm64.
RW_FIELDS: Final = frozenset({"mmu_lock"})


def make_lock(lock: Lock, do: ModuleType) -> TimedLock:
    """The lock's insides: what kind it is follows from `sleeps` and, for rwlocks, from its field name. do: of its machine."""
    kind: LockKind = "sleep" if lock.sleeps else "rw" if lock.field in RW_FIELDS else "spin"
    return _KINDS[kind](lock, do)
