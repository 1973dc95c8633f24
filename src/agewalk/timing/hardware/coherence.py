"""Cache coherence (MESI): which caches have a line, and how long a CPU waits for it. A line has one transfer at a time."""

from __future__ import annotations

from typing import Any, Final

from agewalk.timing.hardware.cache_lines import NO_CPU, Line
from agewalk.timing.hardware.layout import VMEMMAP
from agewalk.timing.hardware.prices import Prices
from agewalk.timing.threads import CpuState, Thread

FAR: Final = 1 << 62  # a distance from every line


class Caches:
    """The caches of all CPUs. Transfers of one line follow one another. Times are ps.

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
        self.sooner = cached - modified  # a modified line is written back by so many fetches earlier
        self.cpus: list[Any] = cpus
        self.neighbours = len(cpus)  # CPUs take struct pages from one stream, so neighbours are so far apart
        self._vmemmap = VMEMMAP
        self.from_core = self.from_socket = self.from_memory = 0

    @property
    def transfers(self) -> dict[str, int]:
        """How many lines came from another core, another socket, memory."""
        return {"core": self.from_core, "socket": self.from_socket, "memory": self.from_memory}

    def read(self, line: Line, th: Thread, t: int) -> int:
        """Read a word of a struct that stays in caches; when the value is there."""
        if line.owner == th.cpu.index or line.copies[th.cpu.index]:
            return t + self.hit
        return self.fetch(line, th, t, False)

    def write(self, line: Line, th: Thread, t: int) -> int:
        """Store to a word of such a struct; when the CPU goes on."""
        if line.owner != th.cpu.index:
            self.fetch(line, th, t, True, False)
        return t + self.store

    def fetch(self, line: Line, th: Thread, t: int, exclusive: bool, stalls: bool = True) -> int:
        """Bring a line into the CPU's cache; when it is there. exclusive: for writing. stalls: the CPU waits for it."""
        cpu = th.cpu
        if line.shared:  # else only one CPU has used it
            kept = cpu.keeps(line, t, exclusive)
            if kept is not None:
                since: int = kept.since
                return (max(t, since)) + self.hit  # another CPU's request has not reached this one yet
            for mate in cpu.mates:
                kept = mate.keeps(line, t, exclusive)
                if kept is not None:
                    since = kept.since  # the core has the line or has requested it: one transfer serves both threads
                    if since > t:
                        th.waited += since - t
                        t = since
                    return t + self.hit
        me, owner = cpu.index, line.owner
        here = others = 0  # copies in this core's caches, and in others
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
                owner = line.owner = NO_CPU  # its owner's cache has evicted and written it back
                line.shared = True
            else:
                others = 1
        there = t
        if line.busy > t:
            there = line.busy
            th.waited += there - t
        if others:
            line.shared = True
            # the nearest copy serves a reader; a writer waits until the farthest is invalidated
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
            latency = 0  # the core has it
        if latency:
            if line.array:
                reach = self.neighbours if line.memory is self._vmemmap else 1
                group: int = line.group
                apart: int = cpu.streams.get(line.memory, FAR)
                apart -= group
                if apart and -reach <= apart <= reach:  # in either direction: lists are walked backwards, too
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
                line.own(me)  # exclusive and clean: the only reader may write without a request
        elif owner != me:
            line.owner = NO_CPU
            line.share(owner)
            line.share(me)
        if stalls:
            th.stall += there - t
            if others and latency >= self.core_to_core:
                th.waited += latency  # a single miss: the core's other thread does not slow it
        return there + self.hit
