"""Who has a line and what it takes to get it: MESI, with one transfer of a line at a time."""

from __future__ import annotations

from typing import Any, Final

from agewalk.timing.hardware.cache_lines import NOBODY, Line
from agewalk.timing.hardware.layout import VMEMMAP
from agewalk.timing.hardware.prices import Prices
from agewalk.timing.threads import CpuState, Thread

FAR: Final = 1 << 62  # from every line


class Caches:
    """The caches of all CPUs of a machine: what moves its lines. Transfers of one line follow one another. Times are ps.

    transfers: how many lines came from another core, another socket, memory.
    """

    __slots__ = (
        "_vmemmap", "cached", "core_to_core", "cpus", "from_core", "from_memory", "from_socket", "hit", "memory",
        "neighbours", "retention", "sequential", "shared_read", "socket_to_socket", "sooner", "store",
    )  # fmt: skip

    def __init__(self, prices: Prices, cpus: list[CpuState], cached: int, modified: int) -> None:
        self.hit = prices.hit
        self.store = prices.store
        self.memory = prices.memory
        self.core_to_core = prices.core
        self.socket_to_socket = prices.socket
        self.shared_read = prices.shared_read
        self.sequential = prices.sequential
        self.retention = prices.retention
        self.cached = cached
        self.sooner = cached - modified  # lines: by so many fetches earlier a modified line is written back
        self.cpus: list[Any] = cpus
        self.neighbours = len(cpus)  # how far apart their streams of struct pages are
        self._vmemmap = VMEMMAP
        self.from_core = self.from_socket = self.from_memory = 0

    @property
    def transfers(self) -> dict[str, int]:
        """How many lines came from where."""
        return {"core": self.from_core, "socket": self.from_socket, "memory": self.from_memory}

    def read(self, line: Line, th: Thread, t: int) -> int:
        """A word of a struct that is used all the time is read; when it is there."""
        if line.owner == th.cpu.index or line.copies[th.cpu.index]:
            return t + self.hit
        return self.fetch(line, th, t, False)

    def write(self, line: Line, th: Thread, t: int) -> int:
        """A store to such a word; when the CPU goes on."""
        if line.owner != th.cpu.index:
            self.fetch(line, th, t, True, False)
        return t + self.store

    def fetch(self, line: Line, th: Thread, t: int, exclusive: bool, stalls: bool = True) -> int:
        """Bring a line into the CPU's cache; when it is there."""
        cpu = th.cpu
        if line.shared:  # else nobody has taken it from another CPU
            kept = cpu.keeps(line, t, exclusive)
            if kept is not None:
                since: int = kept.since
                return (max(t, since)) + self.hit  # others want it, but their snoop is on its way
            for mate in cpu.mates:
                kept = mate.keeps(line, t, exclusive)
                if kept is not None:
                    since = kept.since  # the core has it, or has asked: one transfer does for both
                    if since > t:
                        th.waited += since - t
                        t = since
                    return t + self.hit
        me, owner = cpu.index, line.owner
        here = others = 0  # copies in the core's caches, and elsewhere
        if owner < 0:
            if line.sharers:
                here = line.copies[me]
                for mate in cpu.mates:
                    here += line.copies[mate.index]
                others = line.sharers - here
        else:
            has: CpuState = self.cpus[owner]
            if owner == me:
                here = 1
            elif has.core == cpu.core:
                here = 1
                line.shared = True
            elif line.element and has.fills + self.sooner >= line.kept_until:
                owner = line.owner = NOBODY  # written back when its owner's cache needed the room
                line.shared = True
            else:
                others = 1
        there = t
        if line.busy > t:
            there = line.busy
            th.waited += there - t
        if others:
            line.shared = True
            # a reader is served by the nearest copy; a writer waits for the farthest to be dropped
            if owner >= 0:
                far = has.socket != cpu.socket
            else:
                near = line.copies.count(1, cpu.socket_first, cpu.socket_last + 1) - here
                far = near < others if exclusive else near == 0
            if far:
                latency = self.socket_to_socket
                self.from_socket += 1
            else:
                latency = self.core_to_core
                self.from_core += 1
        elif not here or (line.element and cpu.fills >= line.kept_until):
            latency = self.memory
            self.from_memory += 1
        else:
            latency = 0  # mine already: nothing moves
        if latency:
            if line.array:
                reach = self.neighbours if line.memory is self._vmemmap else 1
                group: int = line.group
                apart: int = cpu.streams.get(line.memory, FAR)
                apart -= group
                if apart and -reach <= apart <= reach:  # either way: lists are walked backwards, too
                    latency = int(latency * self.sequential)
                cpu.streams[line.memory] = line.group
            cpu.fills += 1
            if others:
                kept_for = int(latency * self.retention)
                cpu.keep(line, there + latency, there + latency + kept_for, exclusive)
                line.busy = there + (self.shared_read if owner < 0 and not exclusive else latency)
            else:
                line.busy = there + latency
            there += latency
        line.kept_until = cpu.fills + self.cached
        if exclusive:
            line.own(me)
        elif owner < 0:
            if line.sharers > line.copies[me]:
                line.share(me)
            else:
                line.own(me)  # exclusive, clean: the first reader may write without asking
        elif owner != me:
            line.owner = NOBODY
            line.share(owner)
            line.share(me)
        if stalls:
            th.stall += there - t
            if others and latency >= self.core_to_core:
                th.waited += latency  # not one of several under way: the other thread of the core does not slow it
        return there + self.hit
