"""Threads and the CPUs that run them, with what is measured about each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from greenlet import greenlet

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.effects import Effect, Step
from agewalk.timing.costs import CostTable

if TYPE_CHECKING:
    from agewalk.timing.holding import TimedLock

FOREVER: Final = 1 << 62  # picoseconds
# An event, that a thread is due, is one number: ps << THREAD_BITS | index of the thread. The earliest is the smallest.
THREAD_BITS: Final = 12
THREADS: Final = (1 << THREAD_BITS) - 1
KEPT: Final = 4  # lines whose transfers a CPU can have overlapped, as far as anybody looks
Body: TypeAlias = Step[Any] | Callable[[], Any]  # a generator, or a function of the plain text


class McsNode(Object):
    """struct mcs_spinlock of one thread: `locked` is spun on, `next` is who comes after. On a line of its own."""

    __slots__ = ("locked", "next")

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.locked = Cell(self, "locked", 0)
        self.next = Cell(self, "next", None)


class Kept:
    """A line that was fetched from another CPU: from when to when nobody can have taken it away; and for writing, too?"""

    __slots__ = ("exclusive", "line", "nth", "since", "until")

    def __init__(self) -> None:
        self.line: object = None
        self.nth = 0  # which of its CPU's it was
        self.since = self.until = 0
        self.exclusive = False


class CpuState:
    """One CPU: who runs, who waits to run, until when the slice lasts."""

    __slots__ = (
        "core",
        "current",
        "fills",
        "index",
        "kept",
        "mates",
        "nth",
        "queue",
        "slice_end",
        "socket",
        "socket_first",
        "socket_last",
        "streams",
    )

    def __init__(self, index: int, socket: int) -> None:
        self.index = index
        self.socket = socket
        self.socket_first, self.socket_last = 0, index  # CPUs of that socket: neighbours (`spread`)
        self.mates: list[CpuState] = []  # other CPUs of the same core: they share its caches and slow each other
        self.core = index  # the first of all of them
        self.current: Thread | None = None
        self.queue: deque[Thread] = deque()
        self.slice_end = FOREVER
        self.fills = 0  # lines fetched so far: what was fetched long ago is no longer cached
        self.kept = [Kept() for _ in range(KEPT)]  # the lines fetched last from other CPUs
        self.nth = 0
        self.streams: dict[object, int] = {}  # for the prefetcher: the line last fetched of each array

    def keep(self, line: object, since: int, until: int, exclusive: bool) -> None:
        """A line comes from another CPU. It is in place of the one that came longest ago: a transfer takes longer than that is
        kept."""
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
        """The line, if nobody can have taken it away by then."""
        for kept in self.kept:
            if kept.line is line:
                return kept if at <= kept.until and (kept.exclusive or not exclusive) else None
        return None


def _nobody() -> None:
    raise AssertionError("a thread that does not run yet")


class Thread:
    """What runs on a CPU. Times are picoseconds since the start."""

    __slots__ = (
        "atomic", "body", "cpu", "debt", "due", "durations", "ended", "greenlet", "held", "in_guest", "index", "lock_wait",
        "marks", "mcs", "name", "new", "parked", "pending", "permit", "preemptions", "rcu", "result", "runs", "since", "stall",
        "started", "switch", "value", "waited", "waits_for",
    )  # fmt: skip

    def __init__(self, index: int, name: str, body: Body, cpu: CpuState, runs: tuple[Object, ...]) -> None:
        self.index = index
        self.name = name
        self.body = body
        self.greenlet: Any = None  # its stack, once the machine runs
        self.switch: Callable[[], object] = _nobody
        self.new = True  # nothing has run on that stack
        self.value: Any = None  # the answer of a rare effect
        self.pending: Effect | None = None  # what it spins on
        self.cpu = cpu
        self.runs = runs  # mm, VM: whom a TLB flush looks for
        self.in_guest = False
        self.due = 0  # its event, while it is ready to run (events.py)
        self.started = 0
        self.ended = -1
        self.result: Any = None
        self.atomic = 0
        self.rcu = 0
        self.held: list[tuple[Lock, str, int]] = []
        self.debt = 0  # time that interrupts took from it, not yet charged
        self.parked = False
        self.permit = False
        self.mcs = [McsNode(f"mcs.{name}.{n}") for n in range(4)]  # MAX_NODES, kernel/locking/qspinlock.c
        self.waits_for: TimedLock | None = None
        self.since = 0  # of the wait
        self.stall = 0  # on lines that another CPU had or that were not cached
        self.waited = 0  # for lines that were on their way to somebody else
        self.lock_wait = 0  # in slow paths of locks
        self.preemptions = 0
        self.marks: list[tuple[str, int]] = []
        self.durations: dict[str, list[int]] = {}

    def __repr__(self) -> str:
        return self.name


def give_stack(thread: Thread, read: Callable[[Step[Any]], Any]) -> None:
    """A greenlet for a thread. read: runs a step.

    Its body is the first function on it: what C functions lie below (`partial`, say) is copied at each switch.
    """
    body = thread.body
    args: tuple[Any, ...] = ()
    if not callable(body):
        thread.greenlet, args = greenlet(read), (body,)
    elif isinstance(body, partial) and not body.keywords:
        thread.greenlet, args = greenlet(body.func), body.args
    else:
        thread.greenlet = greenlet(body)

    def begin() -> object:
        thread.switch = thread.greenlet.switch
        return thread.switch(*args)

    thread.switch = begin


def spread(cpus: int, costs: CostTable) -> list[int]:
    """The socket of each busy CPU: few stay on one node, more are spread evenly, as the scheduler places them at fork
    (adjust_numa_imbalance(), kernel/sched/fair.c; imb_numa_nr, kernel/sched/topology.c, 6.12)."""
    sockets = int(costs.number("topology.sockets"))
    together = int(costs.number("topology.numa_imbalance"))
    return [0] * cpus if cpus <= together else [n * sockets // cpus for n in range(cpus)]


def pair(cpus: list[CpuState], costs: CostTable) -> None:
    """Tell CPUs of one core of each other: the scheduler fills a socket's cores before their second threads
    (select_idle_core(), kernel/sched/fair.c, 6.12)."""
    cores = int(costs.number("topology.cores"))
    of_core: dict[tuple[int, int], list[CpuState]] = {}
    on_socket: dict[int, int] = {}
    for cpu in cpus:
        nth = on_socket[cpu.socket] = on_socket.get(cpu.socket, -1) + 1
        of_core.setdefault((cpu.socket, nth % cores), []).append(cpu)
    for threads in of_core.values():
        for cpu in threads:
            cpu.mates = [c for c in threads if c is not cpu]
            cpu.core = min(c.index for c in threads)
    for cpu in cpus:
        cpu.socket_first = min(c.index for c in cpus if c.socket == cpu.socket)
        cpu.socket_last = max(c.index for c in cpus if c.socket == cpu.socket)
