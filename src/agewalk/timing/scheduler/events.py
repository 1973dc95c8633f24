"""A queue of the threads that are ready for their next effect, the earliest first.

The heap holds the threads, each with its event as a number (`Thread.due`): compiled code compares fields of its own objects
faster than it makes numbers for `heapq`.
"""

from __future__ import annotations

from typing import Any

from agewalk.timing.threads import FOREVER, THREAD_BITS, Thread


class Events:
    """A binary heap. Times are ps. Of threads that are due at the same time, the one that was made first goes first."""

    __slots__ = ("bits", "heap", "never")

    def __init__(self) -> None:
        self.heap: list[Any] = []
        self.bits, self.never = THREAD_BITS, FOREVER  # C numbers when compiled

    def __len__(self) -> int:
        return len(self.heap)

    def first(self) -> int:
        """The earliest event; FOREVER if no thread is due."""
        if not self.heap:
            return self.never
        th: Thread = self.heap[0]
        return th.due

    def push(self, th: Thread, at: int) -> None:
        """Add a thread that is due at `at`."""
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
        """Remove and return the thread that is due first. Raises IndexError if there is none."""
        heap = self.heap
        last: Thread = heap.pop()
        if not heap:
            return last
        first: Thread = heap[0]
        self.sink(last)
        return first

    def pushpop(self, th: Thread, at: int) -> Thread:
        """Add a thread, then remove and return the thread that is due first, which may be the same."""
        th.due = at << self.bits | th.index
        if not self.heap:
            return th
        first: Thread = self.heap[0]
        if th.due < first.due:
            return th
        self.sink(th)
        return first

    def sink(self, th: Thread) -> None:
        """Put a thread in place of the first one and move it down to its position."""
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
