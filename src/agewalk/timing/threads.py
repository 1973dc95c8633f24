"""The state of CPUs and of the threads that run on them, with what is measured about each. Times are picoseconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, Final, TypeAlias

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.effects import Effect, Step

FOREVER: Final = 1 << 62
# A thread that is due is one number: ps << THREAD_BITS | index of the thread. The earliest is the smallest.
THREAD_BITS: Final = 12
THREADS: Final = (1 << THREAD_BITS) - 1
KEPT: Final = 4  # recently fetched lines that a CPU remembers: no more transfers than that overlap
Generating: TypeAlias = Generator[Effect, Any, Any]


class McsNode(Object):
    """struct mcs_spinlock of one thread: the thread spins on `locked`; `next` is the thread behind it. A line of its own."""

    __slots__ = ("locked", "next")

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.locked = Cell(self, "locked", 0)
        self.next = Cell(self, "next", None)


class Kept:
    """A line that a CPU fetched from another CPU, and keeps from `since` until `until`. exclusive: it may be written."""

    __slots__ = ("exclusive", "line", "nth", "since", "until")

    def __init__(self) -> None:
        self.line: object = None
        self.nth = 0  # number of this fetch, counted on its CPU
        self.since = self.until = 0
        self.exclusive = False


class CpuState:
    """One CPU: the thread that runs, the threads that wait for the CPU, the end of the time slice, recently fetched lines."""

    __slots__ = (
        "core", "current", "fills", "index", "kept", "mates", "nth", "queue", "slice_end", "socket", "socket_first",
        "socket_last", "streams",
    )  # fmt: skip

    def __init__(self, index: int, socket: int) -> None:
        self.index = index
        self.socket = socket
        self.socket_first, self.socket_last = 0, index  # the socket's CPUs have neighbouring numbers (topology.spread)
        self.mates: list[CpuState] = []  # other CPUs of the same core: they share its caches and slow each other
        self.core = index  # the lowest CPU number of the core
        self.current: Thread | None = None
        self.queue: deque[Thread] = deque()
        self.slice_end = FOREVER
        self.fills = 0  # lines fetched so far; a line is evicted after so many further fetches
        self.kept = [Kept() for _ in range(KEPT)]
        self.nth = 0
        self.streams: dict[object, int] = {}  # for the prefetcher: the line last fetched of each array

    def keep(self, line: object, since: int, until: int, exclusive: bool) -> None:
        """Remember a line that comes from another CPU. Replaces the oldest entry: a transfer takes longer than the retention
        window, so KEPT entries suffice."""
        oldest = self.kept[0]
        for kept in self.kept:
            if kept.line is line:
                oldest = kept
                break
            if kept.nth < oldest.nth:
                oldest = kept
        self.nth += 1
        oldest.line, oldest.nth, oldest.since, oldest.until, oldest.exclusive = line, self.nth, since, until, exclusive

    def keeps(self, line: object, at: int, exclusive: bool) -> Kept | None:
        """The entry of a line that no other CPU can have taken by `at`; None if there is none."""
        for kept in self.kept:
            if kept.line is line:
                return kept if at <= kept.until and (kept.exclusive or not exclusive) else None
        return None


class Thread:
    """A thread of the host or of a vCPU: its generators, its state and its measurements."""

    __slots__ = (
        "atomic", "cpu", "debt", "due", "durations", "effect", "ended", "held", "in_guest", "index", "lock_wait", "marks", "mcs",
        "name", "outer", "parked", "permit", "preemptions", "rcu", "result", "resumed", "runs", "since", "slow_path", "stall",
        "started", "step", "until_deeper", "value", "waited", "waits", "waits_for",
    )  # fmt: skip

    def __init__(self, index: int, name: str, body: Step[Any], cpu: CpuState, runs: tuple[Object, ...]) -> None:
        self.index = index
        self.name = name
        # Generators: those in `outer` wait for `step` (`yield from`), outermost first. `resumed` gets the answers: `step`, or
        # the slow path of a lock in place of it.
        self.step: Generating = body
        self.outer: list[Generating] = []
        self.slow_path: Generating | None = None
        self.resumed: Generating = body
        self.until_deeper = 0
        self.effect: Effect | None = None  # yielded, but not performed yet
        self.value: Any = None  # answer of the last effect
        self.cpu = cpu
        self.runs = runs  # mm and VM whose TLB entries this CPU may hold
        self.in_guest = False
        self.due = 0  # when it is ready to run, as an event (events.py)
        self.started = 0
        self.ended = -1
        self.result: Any = None
        self.atomic = 0  # depth of spinlocks and preempt_disable()
        self.rcu = 0
        self.held: list[tuple[Lock, str, int]] = []
        self.debt = 0  # time that interrupts took, not yet charged
        self.parked = False
        self.permit = False
        self.mcs = [McsNode(f"mcs.{name}.{n}") for n in range(4)]  # MAX_NODES, kernel/locking/qspinlock.c
        self.waits_for: Lock | None = None
        self.since = 0  # start of that wait
        self.stall = 0  # on lines that another CPU had or that were not cached
        self.waited = 0  # for transfers that other CPUs had started
        self.lock_wait = 0  # in slow paths of locks
        self.waits: dict[str, int] = {}  # the same by the name of the lock
        self.preemptions = 0
        self.marks: list[tuple[str, int]] = []
        self.durations: dict[str, list[int]] = {}

    def enter(self, slow_path: Generating) -> None:
        """Run a lock's slow path; then go on where the thread is now."""
        self.slow_path = slow_path
        self.resumed = slow_path

    def __repr__(self) -> str:
        return self.name
