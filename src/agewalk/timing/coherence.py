"""Who has a line and what it takes to get it: MESI, with one transfer of a line at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agewalk.timing.lines import NOBODY, VMEMMAP, Line
from agewalk.timing.threads import Thread

if TYPE_CHECKING:
    from agewalk.timing.machine import Machine

FAR: Final = 1 << 62  # from every line


class Caches:
    """The caches of all CPUs of a machine: what moves its lines. Transfers of one line follow one another. Times are ps.

    transfers: how many lines came from another core, another socket, memory.
    """

    __slots__ = (
        "_vmemmap", "cached", "core_to_core", "cpus", "from_core", "from_memory", "from_socket", "hit", "memory",
        "neighbours", "remote", "retention", "sequential", "shared_read", "socket_to_socket", "sooner", "store",
    )  # fmt: skip

    def __init__(self, m: Machine) -> None:
        prices = m.prices
        self.hit = prices.hit
        self.store = prices.store
        self.memory = prices.memory
        self.core_to_core = prices.core
        self.socket_to_socket = prices.socket
        self.shared_read = prices.shared_read
        self.sequential = prices.sequential
        self.retention = prices.retention
        self.remote: list[Any] = [sum(c.bit for c in m.cpus if c.socket != mine.socket) for mine in m.cpus]
        self.cached = m.cached
        self.sooner = m.cached - m.modified  # lines: by so many fetches earlier a modified line is written back
        self.cpus: list[Any] = m.cpus
        self.neighbours = len(m.cpus)  # how far apart their streams of struct pages are
        self._vmemmap = VMEMMAP
        self.from_core = self.from_socket = self.from_memory = 0

    @property
    def transfers(self) -> dict[str, int]:
        """How many lines came from where."""
        return {"core": self.from_core, "socket": self.from_socket, "memory": self.from_memory}

    def read(self, line: Line, th: Thread, t: int) -> int:
        """A word of a struct that is used all the time is read; when it is there."""
        if line.owner == th.cpu.index or line.sharers & th.cpu.bit:
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
            kept = cpu.kept.get(line)
            if kept is not None and t <= kept[1] and (kept[2] or not exclusive):
                since: int = kept[0]
                return (since if since > t else t) + self.hit  # others want it, but their snoop is on its way
            for mate in cpu.mates:
                kept = mate.kept.get(line)
                if kept is not None and t <= kept[1] and (kept[2] or not exclusive):
                    since = kept[0]  # the core has it, or has asked: one transfer does for both
                    if since > t:
                        th.waited += since - t
                        t = since
                    return t + self.hit
        me, owner = cpu.index, line.owner
        here: Any = 0  # copies in the core's caches, and elsewhere
        others: Any = 0
        if owner < 0:
            here, others = line.sharers & cpu.core, line.sharers & ~cpu.core
        elif owner == me:
            here = 1
        elif self.cpus[owner].bit & cpu.core:
            here = 1
            line.shared = True
        elif line.element and self.cpus[owner].fills + self.sooner >= line.kept_until:
            line.sharers = 0  # written back when its owner's cache needed the room
            owner = line.owner = NOBODY
            line.shared = True
        else:
            others = self.cpus[owner].bit
        there = t
        if line.busy > t:
            there = line.busy
            th.waited += there - t
        if others:
            line.shared = True
            far = others & self.remote[me]
            # a reader is served by the nearest copy; a writer waits for the farthest to be dropped
            if far and (exclusive or owner >= 0 or far == others):
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
                cpu.keep(line, there + latency, there + latency + int(latency * self.retention), exclusive)
                line.busy = there + (self.shared_read if owner < 0 and not exclusive else latency)
            else:
                line.busy = there + latency
            there += latency
        line.kept_until = cpu.fills + self.cached
        if exclusive:
            line.owner, line.sharers = me, 0
        elif owner < 0:
            if line.sharers & ~cpu.bit:
                line.sharers |= cpu.bit
            else:
                line.owner, line.sharers = me, 0  # exclusive, clean: the first reader may write without asking
        elif owner != me:
            line.owner, line.sharers = NOBODY, self.cpus[owner].bit | cpu.bit
        if stalls:
            th.stall += there - t
            if others and latency >= self.core_to_core:
                th.waited += latency  # not one of several under way: the other thread of the core does not slow it
        return there + self.hit
