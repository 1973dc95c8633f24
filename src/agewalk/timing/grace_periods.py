"""RCU and SRCU: the threads that are inside read sections, and the memory and threads that wait until those have left."""

from __future__ import annotations

from agewalk.core.cells import Object, Srcu
from agewalk.core.errors import ModelError
from agewalk.timing.hardware.hardware import Hardware
from agewalk.timing.scheduler.run_queues import RunQueues
from agewalk.timing.threads import Thread


class GracePeriods:
    """The read sections of a machine. Times are ps.

    waiting: one entry for each call, in their order: the readers to wait for, the domain (None: RCU), the memory to free or the
    thread to wake.
    """

    def __init__(self, hardware: Hardware, queues: RunQueues) -> None:
        self.lines = hardware.lines
        self.grace_period = hardware.prices.grace_period
        self.queues = queues
        self.rcu_readers: set[Thread] = set()
        self.srcu_readers: dict[Srcu, set[Thread]] = {}
        self.waiting: list[tuple[set[Thread], Srcu | None, Object | Thread]] = []

    def readers_of(self, domain: Srcu | None) -> set[Thread]:
        """The threads inside a domain's read sections; those of RCU if None."""
        return self.rcu_readers if domain is None else self.srcu_readers.setdefault(domain, set())

    def reader_exited(self, thread: Thread, domain: Srcu | None, t: int) -> None:
        """A thread has left its read section. Free the memory, and wake the threads, that waited for no other reader."""
        still: list[tuple[set[Thread], Srcu | None, Object | Thread]] = []
        for readers, where, what in self.waiting:
            if where is domain:
                readers.discard(thread)
            if readers:
                still.append((readers, where, what))
            elif isinstance(what, Thread):
                self.queues.unpark(what, t + self.grace_period)
            else:
                self.free(what)
        self.waiting[:] = still  # operations hold this very list

    def defer(self, domain: Srcu | None, memory: Object) -> None:
        """call_rcu() and call_srcu(): free the memory when all present readers have left."""
        readers = self.readers_of(domain)
        if readers:
            self.waiting.append((set(readers), domain, memory))
        else:
            self.free(memory)

    def synchronize(self, thread: Thread, domain: Srcu | None, t: int) -> int:
        """synchronize_rcu() and synchronize_srcu(): the thread waits until all present readers have left. Returns the
        time at which it goes on, or -1 if it sleeps."""
        readers = self.readers_of(domain)
        if thread in readers:
            what = "synchronize_rcu()" if domain is None else f"synchronize_srcu({domain})"
            raise ModelError(f"{what} inside its own read section", hint="it would wait for itself")
        if not readers:
            thread.permit = False
            return t + self.grace_period
        self.waiting.append((set(readers), domain, thread))
        return -1 if self.queues.park(thread, t) else t

    def free(self, memory: Object) -> None:
        """kfree()."""
        if memory.freed:
            raise ModelError(f"{memory!r} freed twice", hint="two paths each believed to be the last user")
        memory.freed = True
        self.lines.bury(memory)
        if memory.slab is not None and memory.slab.reuse:
            memory.slab.free.append(memory)
