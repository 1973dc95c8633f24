"""Who has a line and what it takes to get it: MESI, with one transfer of a line at a time."""

from __future__ import annotations

from heapq import heappush
from typing import TYPE_CHECKING, Final

from agewalk.core.cells import Cell
from agewalk.timing.lines import NOBODY, VMEMMAP, Line
from agewalk.timing.threads import THREAD_BITS

if TYPE_CHECKING:
    from agewalk.timing.prices import Prices
    from agewalk.timing.threads import CpuState, Thread

FAR: Final = 1 << 62  # from every line


class Coherence:
    """The part of the machine that moves lines."""

    prices: Prices
    transfers: dict[str, int]
    _remote: list[int]
    cached: int
    cpus: list[CpuState]
    heap: list[int]
    _spinning: dict[Cell, list[Thread]]

    def fetch(self, line: Line, th: Thread, t: int, exclusive: bool, stalls: bool = True) -> int:
        """Bring a line into the CPU's cache; when it is there. Transfers of one line follow one another."""
        prices = self.prices
        cpu = th.cpu
        if cpu.kept is line and t <= cpu.kept_until:
            return t + prices.hit  # asked for by others, but their snoop has not arrived yet
        for mate in cpu.mates:
            if mate.kept is line and t <= mate.kept_until:  # the core has it, or has asked: one transfer does for both
                line.shared = True
                if mate.kept_from > t:
                    th.waited += mate.kept_from - t
                    t = mate.kept_from
                return t + prices.hit
        me, bit, core = cpu.index, cpu.bit, cpu.core
        owner, group = line.owner, line.group
        # An element of an array, or a table's struct page; lines of other fields are used all the time and stay in caches.
        element = group.__class__ is int or group == "ptdesc"
        if owner == NOBODY:
            others = line.sharers & ~core
        elif owner == me:
            others = 0
        elif 1 << owner & core:
            others = 0
            line.shared = True
        elif element and self.cpus[owner].fills >= line.kept_until:
            others = line.sharers = 0  # written back when its owner's cache needed the room
            owner = line.owner = NOBODY
            line.shared = True
        else:
            others = 1 << owner
        if line.busy > t:
            start = line.busy
            th.waited += start - t
        else:
            start = t
        busy = 0
        if not others:
            if line.sharers & core or (owner != NOBODY and 1 << owner & core):
                latency = prices.memory if element and cpu.fills >= line.kept_until else 0
            else:
                latency = prices.memory
            if latency:
                self.transfers["memory"] += 1
            else:
                busy = -1  # mine already: nothing moves
        else:
            line.shared = True
            far = others & self._remote[me]
            # a reader is served by the nearest copy; a writer waits for the farthest to be dropped
            over_sockets = bool(far) if exclusive or owner != NOBODY else far == others
            latency = prices.socket if over_sockets else prices.core
            self.transfers["socket" if over_sockets else "core"] += 1
            if not exclusive and owner == NOBODY:
                busy = start + prices.shared_read
        if latency:
            if group.__class__ is int:
                streams, memory = cpu.streams, line.memory
                apart = abs(streams.get(memory, FAR) - group)
                if (
                    0 < apart <= (len(self.cpus) if memory is VMEMMAP else 1)
                ):  # either way: lists are walked backwards, too
                    latency = int(latency * prices.sequential)
                streams[memory] = group
            cpu.fills += 1
        line.kept_until = cpu.fills + self.cached
        there = start + latency
        if others:
            cpu.kept, cpu.kept_from, cpu.kept_until = line, there, there + int(latency * prices.retention)
        if busy >= 0:
            line.busy = busy or there
        if exclusive:
            line.owner, line.sharers = me, 0
        elif owner == NOBODY:
            line.sharers |= bit
        elif owner != me:
            line.owner, line.sharers = NOBODY, 1 << owner | bit
        if not others and owner == NOBODY and not line.sharers & ~bit and not exclusive:
            line.owner, line.sharers = me, 0  # exclusive, clean: the first reader may write without asking
        if stalls:
            th.stall += there - t
        return there + prices.hit

    def stir(self, cell: Cell, line: Line, writer: Thread, at: int) -> None:
        """A word that others spin on was written: their copies are gone, each of them looks again."""
        waiters = self._spinning.pop(cell, None)
        if waiters:
            line.watched -= len(waiters)
            for th in waiters:
                if th is not writer:
                    heappush(self.heap, at << THREAD_BITS | th.index)
