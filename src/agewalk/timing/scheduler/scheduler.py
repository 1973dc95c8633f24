"""The main loop: it runs the threads' generators in the order of time.

An effect is performed at its thread's time and adds its cost. Before an effect that other CPUs can see, the thread waits until it
is the earliest: so shared memory is accessed in the order of time. Memory that one CPU alone has touched needs no order, so
a thread runs ahead on it, up to `window` past the next event.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Final

from agewalk.core.effects import Effect
from agewalk.core.errors import ModelError
from agewalk.timing.hardware.prices import Prices
from agewalk.timing.scheduler.events import Events
from agewalk.timing.scheduler.generators import advance, blame, deepen
from agewalk.timing.threads import FOREVER, THREAD_BITS, CpuState, Thread

LAST: Final = FOREVER >> THREAD_BITS  # ps, a quarter of an hour: later events do not fit in 63 bits


class Answer:
    """An answer of `perform` for an effect that is not done yet."""

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning

    def __repr__(self) -> str:
        return self.meaning


EARLY: Final = Answer("another thread is due before; the effect must be performed again, in its turn")
SPINS: Final = Answer("the thread spins; the effect must be performed again when the word has been written")
SLEEPS: Final = Answer("the thread sleeps; the answer is in Thread.value when it is woken")


class Scheduler:
    """The thread whose turn it is, and the clock. Times are ps.

    budget: how long the thread may run until it must give way. The time is horizon - budget; the budget is kept because the
    interpreter is faster with small numbers. next_due: the event of the thread that is due next. done: effects performed.
    latest: when the last thread ended or slept.
    """

    __slots__ = (
        "bits", "budget", "cpu", "done", "early", "events", "horizon", "last", "latest", "never", "next_due", "paired", "since",
        "sleeps", "smt", "spins", "state", "th", "waited", "window",
    )  # fmt: skip

    def __init__(self, cpus: list[CpuState], prices: Prices, events: Events, window: int) -> None:
        self.events = events
        self.window = window
        self.smt = prices.smt
        self.th: Any = None
        self.state = cpus[0]
        self.cpu = 0
        self.paired = any(state.mates for state in cpus)
        self.since = self.waited = 0  # if paired: start of the turn, and Thread.waited at that time
        # constants of the compiled loop
        self.bits, self.last, self.never = THREAD_BITS, LAST, FOREVER
        self.early, self.spins, self.sleeps = EARLY, SPINS, SLEEPS
        self.next_due = self.never
        self.horizon = self.never + window
        self.budget = self.horizon
        self.done = 0
        self.latest = 0

    def perform(self, effect: Effect) -> Any:
        """Do an effect for the thread whose turn it is: its answer, or EARLY, SPINS or SLEEPS."""
        raise NotImplementedError

    def give_way(self) -> None:
        """Yield until no other thread is behind this one's clock."""
        t = self.horizon - self.budget
        if t >= self.last:
            raise ModelError("more than a quarter of an hour of modelled time", hint="fewer pages, or fewer rounds")
        if self.paired:
            for mate in self.state.mates:
                if mate.current is not None:  # half a core; waiting takes no longer
                    longer = int((t - self.since - (self.th.waited - self.waited)) * self.smt)
                    t += longer
                    break
        self.take(self.events.pushpop(self.th, t))

    def take(self, th: Thread) -> None:
        """Begin the turn of a thread that was due."""
        while th.debt:
            at = (th.due >> self.bits) + th.debt
            th.debt = 0
            th = self.events.pushpop(th, at)
        now = th.due >> self.bits
        state = th.cpu
        self.th, self.state, self.cpu = th, state, state.index
        if self.paired:
            self.since, self.waited = now, th.waited
        self.next_due = self.events.first()
        self.horizon = (self.next_due >> self.bits if self.next_due != self.never else self.never) + self.window
        self.budget = self.horizon - now

    def others_woke(self) -> None:
        """Recompute the budget: other threads may have become due."""
        first = self.events.first()
        if first != self.next_due:
            t = self.horizon - self.budget
            self.next_due = first
            self.horizon = (first >> self.bits) + self.window
            self.budget = self.horizon - t

    def run(self, finish: Callable[[Thread, int], None]) -> None:
        """Run until no thread is due. finish: called with a thread that has ended, and the time."""
        collects = gc.isenabled()
        gc.disable()  # a run makes no cycles, and a collection would visit the whole world
        try:
            while self.events.heap:
                self.take(self.events.pop())
                if self.until_one_ends():
                    t = self.horizon - self.budget
                    self.latest = max(self.latest, t)
                    finish(self.th, t)
        except Exception as error:
            blame(self.th, error)
        finally:
            if collects:
                gc.enable()

    def until_one_ends(self) -> bool:
        """Run until the thread whose turn it is has ended; False if all threads sleep or spin before."""
        th: Thread = self.th
        while True:
            effect = th.effect
            if effect is None:
                th.until_deeper -= 1
                if th.until_deeper < 0 and th.slow_path is None:
                    deepen(th)
                effect = advance(th)
                if effect is None:
                    return True
            answer = self.perform(effect)
            if answer is self.early:
                th.effect = effect
                self.give_way()
                th = self.th
            elif answer is self.spins or answer is self.sleeps:
                if answer is self.spins:
                    th.effect = effect
                else:
                    th.effect = None
                    self.done += 1
                self.latest = max(self.latest, self.horizon - self.budget)
                if not self.events.heap:
                    return False
                self.take(self.events.pop())
                th = self.th
            else:
                self.done += 1
                th.effect = None
                th.value = answer
                if self.budget < 0:
                    self.give_way()
                    th = self.th
