"""Who is due when: the threads that are ready for their next effect, the earliest first.

A heap of the threads themselves, each with its event as a number (`Thread.due`), because the compiled machine compares fields of
its own objects faster than it makes numbers for the interpreter's heap.
"""

from __future__ import annotations

from typing import Any

from agewalk.timing.threads import FOREVER, THREAD_BITS, Thread


class Events:
    """A binary heap. Times are ps; of threads that are due at the same time, the first one made goes first."""

    __slots__ = ("bits", "heap", "never")

    def __init__(self) -> None:
        self.heap: list[Any] = []
        self.bits, self.never = THREAD_BITS, FOREVER  # here, they are C numbers

    def __len__(self) -> int:
        return len(self.heap)

    def first(self) -> int:
        """The earliest event."""
        if not self.heap:
            return self.never
        th: Thread = self.heap[0]
        return th.due

    def push(self, th: Thread, at: int) -> None:
        """The thread is due."""
        th.due = at << self.bits | th.index
        heap = self.heap
        place = len(heap)
        heap.append(th)
        while place:
            above = (place - 1) >> 1
            other: Thread = heap[above]
            if other.due < th.due:
                break
            heap[place] = other
            place = above
        heap[place] = th

    def pop(self) -> Thread:
        """Who is due first is no longer in here. Raises IndexError if nobody is."""
        heap = self.heap
        last: Thread = heap.pop()
        if not heap:
            return last
        first: Thread = heap[0]
        self.sink(last)
        return first

    def pushpop(self, th: Thread, at: int) -> Thread:
        """The thread is due; who is due first, perhaps this one, is no longer in here."""
        th.due = at << self.bits | th.index
        if not self.heap:
            return th
        first: Thread = self.heap[0]
        if th.due < first.due:
            return th
        self.sink(th)
        return first

    def sink(self, th: Thread) -> None:
        """In place of the first one: down to where it belongs."""
        heap = self.heap
        size = len(heap)
        place, child = 0, 1
        while child < size:
            other: Thread = heap[child]
            if child + 1 < size:
                right: Thread = heap[child + 1]
                if right.due < other.due:
                    other = right
                    child += 1
            if th.due < other.due:
                break
            heap[place] = other
            place, child = child, 2 * child + 1
        heap[place] = th
