"""queued_spin_lock_slowpath(), kernel/locking/qspinlock.c, 6.12: a pending bit, then an MCS queue.

The fast path is one effect (uncontended.py). A slow path yields effects as the model does, so that waiting costs what its line
transfers cost.
"""

from __future__ import annotations

from typing import Final

from agewalk.core.cells import Lock
from agewalk.core.effects import WRITE, CompareExchange, Effect, FetchOr, Load, Step, Store, WaitFor
from agewalk.core.errors import ModelError
from agewalk.timing.locks.uncontended import Granted, TimedLock
from agewalk.timing.threads import McsNode, Thread
from agewalk.timing.timing_effects import ClearBits, ExchangeTail, LockWord, StorePart, WaitForChange

_LOCKED: Final = 1
_PENDING: Final = 1 << 8
_TAIL: Final = 1 << 16


class QueuedSpinLock(TimedLock):
    """spinlock_t. Bits of the word: locked, pending, tail (the last MCS node: thread index and nesting, plus 1)."""

    __slots__ = ("_nodes", "_word", "handed_over")

    def __init__(self, lock: Lock) -> None:
        super().__init__(lock)
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

    def slow(self, thread: Thread, found: int, mode: str) -> Step[None]:
        yield from self.wait_in_line(thread, found)
        yield Granted(self)

    def wait_in_line(self, thread: Thread, found: int) -> Step[None]:
        """queued_spin_lock_slowpath() from a failed first attempt to ownership."""
        word = self._word
        if found == _PENDING:  # the pending thread is about to take it
            found = yield WaitForChange(word, _PENDING)
        if not found & ~_LOCKED:
            before = yield FetchOr(word, _PENDING)
            if not before & ~_LOCKED:
                if before & _LOCKED:
                    yield WaitFor(word, _LOCKED, 0)
                yield StorePart(word, _LOCKED | _PENDING, _LOCKED)  # clear_pending_set_locked()
                return
            if not before & _PENDING:
                yield ClearBits(word, ~_PENDING)  # undo, and join the queue
        node = thread.mcs.pop()
        yield Store(node.locked, 0)
        yield Store(node.next, None)
        if (yield Load(word)) or (yield CompareExchange(word, 0, _LOCKED)):  # queued_spin_trylock(), once more
            yield from self._queue_up(thread, node)
        thread.mcs.append(node)

    def _queue_up(self, thread: Thread, node: McsNode) -> Step[None]:
        """From xchg_tail() to ownership."""
        word = self._word
        tail = (thread.index * 4 + len(thread.mcs) + 1) * _TAIL
        self._nodes[tail] = node
        ahead = (yield ExchangeTail(word, tail)) & ~0xFFFF
        if ahead:
            yield Store(self._nodes[ahead].next, node)
            yield WaitFor(node.locked, 1, 1)
        value = yield WaitFor(word, _LOCKED | _PENDING, 0)
        if value & ~0xFFFF != tail or (yield CompareExchange(word, tail, _LOCKED)) != tail:
            yield StorePart(word, _LOCKED, _LOCKED)  # set_locked()
            successor = yield WaitForChange(node.next, None)  # the thread that took the tail links itself
            yield from self.hand_over(successor)
        del self._nodes[tail]

    def hand_over(self, successor: McsNode) -> Step[None]:
        """arch_mcs_spin_unlock_contended(): the successor becomes the head of the queue."""
        self.handed_over += 1
        yield Store(successor.locked, 1)

    def attempt(self, mode: str) -> Step[bool]:
        if (yield Load(self._word)) == 0 and (yield CompareExchange(self._word, 0, _LOCKED)) == 0:
            yield Granted(self)
            return True
        return False

    def release(self, mode: str) -> Effect:
        return ClearBits(self._word, ~_LOCKED)

    def contended_value(self, value: int) -> bool:
        return bool(value & ~_LOCKED)
