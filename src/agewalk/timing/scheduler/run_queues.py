"""Which thread has which CPU: time slices, preemption, sleeping."""

from __future__ import annotations

from agewalk.timing.hardware.prices import Prices
from agewalk.timing.scheduler.events import Events
from agewalk.timing.threads import FOREVER, Thread


class RunQueues:
    """Puts threads on CPUs. Times are ps."""

    def __init__(self, events: Events, prices: Prices) -> None:
        self.events = events
        self.slice = prices.slice
        self.switch = prices.switch
        self.wakeup = prices.wakeup

    def ready(self, thread: Thread, at: int) -> None:
        """The thread can run: on its CPU if that is idle, else behind those that wait for it."""
        cpu = thread.cpu
        if cpu.current is None:
            cpu.current = thread
            cpu.slice_end = FOREVER
            self.events.push(thread, at)
        else:
            cpu.queue.append(thread)
            if cpu.slice_end == FOREVER:
                cpu.slice_end = at + self.slice

    def leave_cpu(self, thread: Thread, at: int) -> None:
        """The thread sleeps or has ended; the next one on its CPU runs."""
        cpu = thread.cpu
        cpu.current = None
        if cpu.queue:
            successor = cpu.queue.popleft()
            cpu.current = successor
            cpu.slice_end = at + self.switch + self.slice if cpu.queue else FOREVER
            self.events.push(successor, at + self.switch)

    def preempt(self, thread: Thread, at: int) -> None:
        """The thread's slice is over, and others wait for its CPU."""
        thread.preemptions += 1
        thread.cpu.queue.append(thread)
        self.leave_cpu(thread, at)

    def park(self, thread: Thread, at: int) -> bool:
        """schedule() until `unpark`. False: that has happened already, and the thread goes on."""
        if thread.permit:
            thread.permit = False
            return False
        thread.parked = True
        self.leave_cpu(thread, at)
        return True

    def unpark(self, thread: Thread, at: int) -> None:
        """wake_up_process()."""
        if thread.parked:
            thread.parked = False
            self.ready(thread, at + self.wakeup)
        else:
            thread.permit = True
