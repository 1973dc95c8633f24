"""The effects that are not met a million times a second: sections, sleeping, spinning, lists, flushes, marks."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agewalk.core import effects as e
from agewalk.core.cells import Cell, Lock, Object, Srcu
from agewalk.core.effects.memory import used_after_free
from agewalk.core.errors import ModelError
from agewalk.timing import steps as s
from agewalk.timing.holding import TimedLock, grant
from agewalk.timing.locks import make_lock
from agewalk.timing.threads import Thread

if TYPE_CHECKING:
    from agewalk.core.counters import Counters
    from agewalk.timing.coherence import Caches
    from agewalk.timing.events import Events
    from agewalk.timing.lines import Line, LineMap
    from agewalk.timing.prices import Prices
    from agewalk.timing.record import Recorder

ELSEWHERE = -1  # a handler's answer: the thread does not simply go on at a time


class RareEffects:
    """Half of the machine: one handler per effect, (thread, effect, ps) -> ps, or ELSEWHERE.

    private: those that no other CPU sees, (thread, ps, arguments of the effect) -> ps.
    """

    counters: Counters
    lines: LineMap
    prices: Prices
    recorder: Recorder | None
    threads: list[Thread]
    events: Events
    caches: Caches
    _spinning: dict[Cell, list[Thread]]
    make_lock: Callable[[Lock, ModuleType], TimedLock] = staticmethod(make_lock)

    if TYPE_CHECKING:

        def ready(self, thread: Thread, at: int) -> None: ...
        def leave_cpu(self, thread: Thread, at: int) -> None: ...
        def timed(self, lock: Lock) -> TimedLock: ...

    def __init__(self) -> None:
        self.rcu_readers: set[Thread] = set()
        self.srcu_readers: dict[Srcu, set[Thread]] = {}
        self.after_readers: list[
            tuple[set[Thread], Srcu | None, Object | Thread]
        ] = []  # readers to wait for, then free or wake
        self.rare: dict[type[e.Effect], Callable[[Thread, Any, int], int]] = {
            e.IsContended: self._is_contended, e.WaitFor: self._wait_for,
            e.PreemptDisable: self._preempt_disable, e.PreemptEnable: self._preempt_enable,
            e.CallRcu: self._call_rcu, e.SynchronizeRcu: self._synchronize_rcu,
            e.CallSrcu: self._call_srcu, e.SynchronizeSrcu: self._synchronize_srcu, e.Free: self._free,
            e.Reuse: self._reuse, e.Alloc: self._alloc,
            e.ListAdd: self._list_add, e.ListDel: self._list_del, e.ListEnd: self._list_end, e.FlushTlb: self._flush_tlb,
            e.Choose: self._choose, e.Warn: self._warn, s.Gauge: self._gauge,
            s.Granted: self._granted, s.Park: self._park, s.Unpark: self._unpark, s.WaitForChange: self._wait_for_change,
        }  # fmt: skip
        self.private: dict[type[e.Effect], Callable[..., int]] = {
            s.Begin: self._begin,
            s.End: self._end,
        }

    # --- locks ------------------------------------------------------------------------------------------------------

    def _granted(self, th: Thread, effect: s.Granted, t: int) -> int:
        lock = effect.lock
        if th.waits_for is lock:
            waited = t - th.since
            lock.wait += waited
            lock.worst_wait = max(lock.worst_wait, waited)
            th.lock_wait += waited
            th.waits_for = None
            th.atomic -= not lock.lock.sleeps
            if self.recorder is not None:
                self.recorder.slice(th.cpu.index, "wait", lock.lock.name, th.name, th.since, t)
                if lock.dropped is not None:
                    giver, at = lock.dropped
                    if giver is not th and th.since <= at <= t:
                        self.recorder.flow(giver.cpu.index, th.cpu.index, at, t, lock.lock.name)
        grant(th, lock, effect.mode, t)
        return t + self.prices.lock

    def _is_contended(self, th: Thread, effect: e.IsContended, t: int) -> int:
        lock = self.timed(effect.lock)
        word = lock.queue_word()
        th.value = lock.contended_value(word.value)
        return self.caches.read(self.lines.cell(word), th, t)

    # --- spinning and sleeping --------------------------------------------------------------------------------------

    def _wait_for(self, th: Thread, effect: e.WaitFor, t: int) -> int:
        cell = effect.cell
        if cell.owner.freed:
            raise used_after_free(cell)
        return self._spin(th, cell, effect, t, met=cell.value & effect.mask == effect.want)

    def _wait_for_change(self, th: Thread, effect: s.WaitForChange, t: int) -> int:
        return self._spin(th, effect.cell, effect, t, met=effect.cell.value != effect.old)

    def _spin(self, th: Thread, cell: Cell, effect: e.Effect, t: int, *, met: bool) -> int:
        line = self.lines.cell(cell)
        t = self.caches.read(line, th, t)
        if met:
            th.value = cell.value
            return t
        line.watched += 1
        th.pending = effect
        self._spinning.setdefault(cell, []).append(th)
        return ELSEWHERE

    def stir(self, cell: Cell, line: Line, writer: Thread, at: int) -> None:
        """A word that others spin on was written: their copies are gone, each of them looks again."""
        waiters = self._spinning.pop(cell, None)
        if waiters:
            line.watched -= len(waiters)
            for th in waiters:
                if th is not writer:
                    self.events.push(th, at)

    def _park(self, th: Thread, effect: s.Park, t: int) -> int:
        if th.permit:
            th.permit = False
            return t
        th.parked = True
        self.leave_cpu(th, t)
        return ELSEWHERE

    def _unpark(self, th: Thread, effect: s.Unpark, t: int) -> int:
        self._wake(effect.thread, t)
        return t + self.prices.store

    def _wake(self, sleeper: Thread, t: int) -> None:
        if sleeper.parked:
            sleeper.parked = False
            self.ready(sleeper, t + self.prices.wakeup)
        else:
            sleeper.permit = True

    def _preempt_disable(self, th: Thread, effect: e.PreemptDisable, t: int) -> int:
        th.atomic += 1
        return t + self.prices.rcu_read

    def _preempt_enable(self, th: Thread, effect: e.PreemptEnable, t: int) -> int:
        th.atomic -= 1
        return t + self.prices.rcu_read

    # --- RCU and SRCU -----------------------------------------------------------------------------------------------

    def left(self, th: Thread, domain: Srcu | None, t: int) -> None:
        """A reader left: whoever waited for it alone goes on."""
        still: list[tuple[set[Thread], Srcu | None, Object | Thread]] = []
        for readers, where, what in self.after_readers:
            if where is domain:
                readers.discard(th)
            if readers:
                still.append((readers, where, what))
            elif isinstance(what, Thread):
                self._wake(what, t + self.prices.grace_period)
            else:
                self._release_memory(what)
        self.after_readers[:] = still  # the list that operations look at

    def _defer(self, readers: set[Thread], domain: Srcu | None, memory: Object) -> None:
        if readers:
            self.after_readers.append((set(readers), domain, memory))
        else:
            self._release_memory(memory)

    def _inside(self, domain: Srcu) -> set[Thread]:
        return self.srcu_readers.setdefault(domain, set())

    def _call_rcu(self, th: Thread, effect: e.CallRcu, t: int) -> int:
        self._defer(self.rcu_readers, None, effect.memory)
        return t + self.prices.store

    def _call_srcu(self, th: Thread, effect: e.CallSrcu, t: int) -> int:
        self._defer(self._inside(effect.domain), effect.domain, effect.memory)
        return t + self.prices.store

    def _synchronize_rcu(self, th: Thread, effect: e.SynchronizeRcu, t: int) -> int:
        return self._synchronize(th, self.rcu_readers, None, t, "synchronize_rcu()")

    def _synchronize_srcu(self, th: Thread, effect: e.SynchronizeSrcu, t: int) -> int:
        return self._synchronize(
            th, self._inside(effect.domain), effect.domain, t, f"synchronize_srcu({effect.domain})"
        )

    def _synchronize(self, th: Thread, readers: set[Thread], domain: Srcu | None, t: int, what: str) -> int:
        if th in readers:
            raise ModelError(f"{what} inside its own read section", hint="it would wait for itself")
        if not readers:
            th.permit = True
            return self._park(th, s.Park(), t + self.prices.grace_period)
        self.after_readers.append((set(readers), domain, th))
        return self._park(th, s.Park(), t)

    def _free(self, th: Thread, effect: e.Free, t: int) -> int:
        self._release_memory(effect.memory)
        return t + self.prices.store

    def _alloc(self, th: Thread, effect: e.Alloc, t: int) -> int:
        th.value = effect.slab.take()
        self.lines.dead.discard(th.value)
        return t + self.prices.slab

    def _release_memory(self, memory: Object) -> None:
        if memory.freed:
            raise ModelError(f"{memory!r} freed twice", hint="two paths each believed to be the last user")
        memory.freed = True
        self.lines.bury(memory)
        if memory.slab is not None and memory.slab.reuse:
            memory.slab.free.append(memory)

    def _reuse(self, th: Thread, effect: e.Reuse, t: int) -> int:
        effect.memory.freed = False
        self.lines.dead.discard(effect.memory)
        th.value = effect.memory
        return t + self.prices.store

    # --- lists ------------------------------------------------------------------------------------------------------

    def _list_add(self, th: Thread, effect: e.ListAdd, t: int) -> int:
        """Writes the head, the member and the neighbour that was at that end."""
        items = effect.head.items
        neighbour = next(reversed(items) if effect.tail else iter(items), None)
        effect.head.add(effect.member, tail=effect.tail)
        t = self.caches.write(self.lines.list_head(effect.head), th, t)
        t = self.caches.write(self.lines.member(effect.member), th, t)
        if neighbour is not None:
            t = self.caches.write(self.lines.member(neighbour), th, t)
        return t

    def _list_del(self, th: Thread, effect: e.ListDel, t: int) -> int:
        """Reads the member for its neighbours, which it writes; their lines are taken to be as near as the member's."""
        effect.head.remove(effect.member)
        t = self.caches.read(self.lines.member(effect.member), th, t)
        return t + 2 * self.prices.store

    def _list_end(self, th: Thread, effect: e.ListEnd, t: int) -> int:
        th.value = effect.head.end(head_side=effect.head_side)
        return self.caches.read(self.lines.list_head(effect.head), th, t)

    # --- flushes ----------------------------------------------------------------------------------------------------

    def _flush_tlb(self, th: Thread, effect: e.FlushTlb, t: int) -> int:
        """Interrupts every other CPU that runs `who` now, and waits for the slowest to answer."""
        p = self.prices
        self.counters["tlb_flushes"] += 1
        targets = [
            o for o in self.threads if o is not th and o.ended < 0 and o.cpu.current is o and effect.who in o.runs
        ]
        answer = 0
        for n, target in enumerate(targets, 1):
            took = p.tlb_remote + (p.tlb_kick if target.in_guest else 0)
            target.debt += took
            answer = max(answer, n * p.tlb_send + p.tlb_latency + took)
        self.counters["tlb_ipis"] += len(targets)
        th.stall += answer
        if self.recorder is not None and targets:
            self.recorder.slice(th.cpu.index, "wait", "TLB flush", th.name, t, t + answer)
        return t + p.tlb_local + answer

    # --- marks ------------------------------------------------------------------------------------------------------

    def _begin(self, th: Thread, t: int, what: str) -> int:
        th.marks.append((what, t))
        return t

    def _end(self, th: Thread, t: int) -> int:
        what, since = th.marks.pop()
        th.durations.setdefault(what, []).append(t - since)
        if self.recorder is not None:
            self.recorder.slice(th.cpu.index, "span", what, th.name, since, t)
        return t

    def _gauge(self, th: Thread, effect: s.Gauge, t: int) -> int:
        if self.recorder is not None:
            self.recorder.gauge(effect.what, t, effect.value)
        return t

    def _choose(self, th: Thread, effect: e.Choose, t: int) -> int:
        th.value = 0
        return t

    def _warn(self, th: Thread, effect: e.Warn, t: int) -> int:
        raise ModelError(f"WARN at {t} ps in {th.name}: {effect.what}", hint="the kernel would print a splat here")
