"""Whose turn it is: the switch from thread to thread, in the order of time.

The state of the moment (which thread, on which CPU, when) belongs to the machine's one `Turns`. An operation does its effect at
the thread's time and adds its cost. It gives way before the effect, if somebody is due earlier and others can see the effect: so
shared memory is met in the order of time. And after it, if the thread is more than `window` ahead.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from greenlet import getcurrent

from agewalk.core.effects import Step
from agewalk.core.errors import ModelError
from agewalk.timing.events import Events
from agewalk.timing.threads import FOREVER, THREAD_BITS, Thread, give_stack

if TYPE_CHECKING:
    from agewalk.timing.machine import Machine

LAST: Final = FOREVER >> THREAD_BITS  # ps, a quarter of an hour: an event after it is no number of 63 bits


class Turns:
    """The thread whose turn it is. Times are ps.

    left: until the thread would be too far ahead of who is due next; kept in place of the time, which is far - left, because the
    interpreter is fast with small numbers. far: how far to run ahead at most. done: effects performed.
    """

    __slots__ = (
        "bits", "cpu", "done", "events", "far", "first", "hub", "last", "left", "machine", "never", "paired", "since",
        "smt", "state", "th", "waited", "window",
    )  # fmt: skip

    def __init__(self, m: Machine) -> None:
        self.machine = m
        self.events: Events = m.events
        self.window = m.window
        self.smt = m.prices.smt
        self.th: Thread = Thread(-1, "nobody", lambda: None, m.cpus[0], ())
        self.state = self.th.cpu
        self.cpu = self.state.index
        self.paired = any(state.mates for state in m.cpus)
        self.since = self.waited = 0  # if paired: when the thread was taken, what it had waited for lines by then
        self.bits, self.last, self.never = THREAD_BITS, LAST, FOREVER  # here, they are C numbers
        self.first = self.never  # the event of who else is due first
        self.far = self.never + self.window
        self.left = self.far
        self.done = 0
        self.hub: Any = None

    def later(self) -> Any:
        """Wait for the others to come as far."""
        t = self.far - self.left
        if t >= self.last:
            raise ModelError("more than a quarter of an hour of modelled time", hint="fewer pages, or fewer rounds")
        if self.paired:
            for mate in self.state.mates:
                if mate.current is not None:  # half a core; waiting takes no longer
                    longer = int((t - self.since - (self.th.waited - self.waited)) * self.smt)
                    t += longer
                    break
        return self.take(self.events.pushpop(self.th, t))

    def take(self, th: Thread) -> Any:
        """A thread is no longer among those that are due: run it."""
        mine = self.th
        while th.debt:
            at = (th.due >> self.bits) + th.debt
            th.debt = 0
            th = self.events.pushpop(th, at)
        now = th.due >> self.bits
        if th.new:  # a stack that began on this one would begin as deep as this one is
            self.events.push(th, now)
            return self.hub.switch()
        state = th.cpu
        self.th, self.state, self.cpu = th, state, state.index
        if self.paired:
            self.since, self.waited = now, th.waited
        self.first = self.events.first()
        self.far = (self.first >> self.bits if self.first != self.never else self.never) + self.window
        self.left = self.far - now
        return None if th is mine else th.switch()

    def sleep(self) -> None:
        """Until somebody puts this thread back among those that are due."""
        self.machine.now = max(self.machine.now, self.far - self.left)
        if not self.events:
            self.hub.switch()  # for ever: nobody is left who could
        self.take(self.events.pop())

    def yields(self) -> None:
        """Too far ahead, or its slice is over."""
        if self.left < 0:
            self.later()
        elif not self.th.atomic and not self.th.rcu:
            self.machine.preempt(self.th, self.far - self.left)
            self.sleep()

    def woke(self) -> None:
        """There may be more who are due."""
        first = self.events.first()
        if first != self.first:
            t = self.far - self.left
            self.first = first
            self.far = (first >> self.bits) + self.window
            self.left = self.far - t

    def book(self) -> None:
        """Move what has been counted to the machine's counters."""
        self.machine.effects += self.done
        self.done = 0

    def run(self, read: Callable[[Step[Any]], Any]) -> None:
        """Until nobody is due any more. read: runs a step."""
        self.hub = getcurrent()
        m = self.machine
        for thread in m.threads:
            if thread.greenlet is None:
                give_stack(thread, read)
        collects = gc.isenabled()
        gc.disable()  # a run makes no cycles, and looking for them means to look at the whole world
        try:
            while self.events:
                th = self.events.pop()
                th.new = False
                result = self.take(th)
                if self.th.greenlet.dead:
                    m.finish(self.th, self.far - self.left, result)
        finally:
            if collects:
                gc.enable()
            m.lines.forget()
            self.book()
            for thread in m.threads:
                if not thread.greenlet.dead:
                    thread.greenlet.throw()
