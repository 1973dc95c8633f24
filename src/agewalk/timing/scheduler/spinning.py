"""Threads that spin until a word changes. Their CPUs are busy, but nothing happens before the word is written."""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.timing.hardware.cache_lines import Line
from agewalk.timing.scheduler.events import Events
from agewalk.timing.threads import Thread


class Spinning:
    """The threads that spin, by word."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.waiting: dict[Cell, list[Thread]] = {}

    def wait(self, thread: Thread, cell: Cell, line: Line) -> None:
        """The thread spins until the cell is written."""
        line.watched += 1
        self.waiting.setdefault(cell, []).append(thread)

    def stir(self, cell: Cell, line: Line, writer: Thread, at: int) -> None:
        """The cell was written: the copies of all others are gone, so each of them reads it again."""
        waiters = self.waiting.pop(cell, None)
        if waiters:
            line.watched -= len(waiters)
            for thread in waiters:
                if thread is not writer:
                    self.events.push(thread, at)
