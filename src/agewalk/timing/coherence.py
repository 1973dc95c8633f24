"""Who has a line and what it takes to get it: MESI, with one transfer of a line at a time."""

from __future__ import annotations

from heapq import heappush
from typing import TYPE_CHECKING, Final, Protocol

from agewalk.core.cells import Cell
from agewalk.timing.lines import NOBODY, VMEMMAP, Line
from agewalk.timing.threads import THREAD_BITS, Thread

if TYPE_CHECKING:
    from agewalk.timing.machine import Machine

FAR: Final = 1 << 62  # from every line


class Fetch(Protocol):
    """Bring a line into the CPU's cache; when it is there (ps)."""

    def __call__(self, line: Line, th: Thread, t: int, exclusive: bool, stalls: bool = True) -> int: ...


def fetcher(m: Machine) -> Fetch:
    """What moves the lines of a machine. Transfers of one line follow one another."""
    prices = m.prices
    hit, memory, core_to_core, socket_to_socket = prices.hit, prices.memory, prices.core, prices.socket
    shared_read = prices.shared_read
    prefetched = {ps: int(ps * prices.sequential) for ps in (memory, core_to_core, socket_to_socket)}
    retention = {ps: int(ps * prices.retention) for ps in (*prefetched, *prefetched.values())}
    transfers, remote, cached, cpus = m.transfers, m.remote, m.cached, m.cpus
    sooner = cached - m.modified  # lines: by so many fetches earlier a modified line is written back
    neighbours = len(cpus)  # how far apart their streams of struct pages are

    def fetch(line: Line, th: Thread, t: int, exclusive: bool, stalls: bool = True) -> int:
        cpu = th.cpu
        kept = cpu.kept.get(line)
        if kept is not None and t <= kept[1] and (kept[2] or not exclusive):
            return (kept[0] if kept[0] > t else t) + hit  # others want it, but their snoop is on its way
        for mate in cpu.mates:
            kept = mate.kept.get(line)
            if kept is not None and t <= kept[1] and (kept[2] or not exclusive):
                line.shared = True  # the core has it, or has asked: one transfer does for both
                if kept[0] > t:
                    th.waited += kept[0] - t
                    t = kept[0]
                return t + hit
        me, owner = cpu.index, line.owner
        here = others = 0  # copies in the core's caches, and elsewhere
        if owner < 0:
            here, others = line.sharers & cpu.core, line.sharers & ~cpu.core
        elif owner == me:
            here = 1
        elif 1 << owner & cpu.core:
            here = 1
            line.shared = True
        elif line.element and cpus[owner].fills + sooner >= line.kept_until:
            line.sharers = 0  # written back when its owner's cache needed the room
            owner = line.owner = NOBODY
            line.shared = True
        else:
            others = 1 << owner
        there = t
        if line.busy > t:
            there = line.busy
            th.waited += there - t
        if others:
            line.shared = True
            far = others & remote[me]
            # a reader is served by the nearest copy; a writer waits for the farthest to be dropped
            if far and (exclusive or owner >= 0 or far == others):
                latency = socket_to_socket
                transfers["socket"] += 1
            else:
                latency = core_to_core
                transfers["core"] += 1
        elif not here or (line.element and cpu.fills >= line.kept_until):
            latency = memory
            transfers["memory"] += 1
        else:
            latency = 0  # mine already: nothing moves
        if latency:
            if line.array:
                streams, array, group = cpu.streams, line.memory, line.group
                apart = streams.get(array, FAR) - group
                reach = neighbours if array is VMEMMAP else 1
                if apart and -reach <= apart <= reach:  # either way: lists are walked backwards, too
                    latency = prefetched[latency]
                streams[array] = group
            cpu.fills += 1
            if others:
                cpu.keep(line, there + latency, there + latency + retention[latency], exclusive)
                line.busy = there + (shared_read if owner < 0 and not exclusive else latency)
            else:
                line.busy = there + latency
            there += latency
        line.kept_until = cpu.fills + cached
        if exclusive:
            line.owner, line.sharers = me, 0
        elif owner < 0:
            if line.sharers & ~cpu.bit:
                line.sharers |= cpu.bit
            else:
                line.owner, line.sharers = me, 0  # exclusive, clean: the first reader may write without asking
        elif owner != me:
            line.owner, line.sharers = NOBODY, 1 << owner | cpu.bit
        if stalls:
            th.stall += there - t
            if others and latency >= core_to_core:
                th.waited += latency  # not one of several under way: the other thread of the core does not slow it
        return there + hit

    return fetch


class Spinners:
    """The part of the machine that tells those who spin on a word."""

    heap: list[int]
    _spinning: dict[Cell, list[Thread]]

    def stir(self, cell: Cell, line: Line, writer: Thread, at: int) -> None:
        """A word that others spin on was written: their copies are gone, each of them looks again."""
        waiters = self._spinning.pop(cell, None)
        if waiters:
            line.watched -= len(waiters)
            for th in waiters:
                if th is not writer:
                    heappush(self.heap, at << THREAD_BITS | th.index)
