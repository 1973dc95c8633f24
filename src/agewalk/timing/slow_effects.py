"""The effects that are rare: steps inside locks, spinning, sleeping, allocation, lists, flushes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agewalk.core import effects as e
from agewalk.core.cells import Cell
from agewalk.core.effects.memory import used_after_free
from agewalk.core.errors import ModelError
from agewalk.timing import timing_effects as s
from agewalk.timing.grace_periods import GracePeriods
from agewalk.timing.hardware.hardware import Hardware
from agewalk.timing.locks.uncontended import Granted, Locks, grant
from agewalk.timing.scheduler.run_queues import RunQueues
from agewalk.timing.scheduler.spinning import Spinning
from agewalk.timing.threads import Thread

# Answers of a handler in place of a time.
ASLEEP: Final = -1
SPINNING: Final = -2
Handler = Callable[[Thread, Any, int], int]


class SlowEffects:
    """A handler for each effect class, (thread, effect, ps) -> when the thread goes on, ASLEEP or SPINNING. An effect's answer
    goes to `Thread.value`."""

    def __init__(
        self,
        hardware: Hardware,
        locks: Locks,
        queues: RunQueues,
        spinning: Spinning,
        grace: GracePeriods,
        threads: list[Thread],
    ) -> None:
        self.hardware = hardware
        self.prices = hardware.prices
        self.lines = hardware.lines
        self.caches = hardware.caches
        self.recorder = hardware.recorder
        self.locks = locks
        self.queues = queues
        self.spinning = spinning
        self.grace = grace
        self.threads = threads
        self.handlers: dict[type[e.Effect], Handler] = {
            e.IsContended: self._is_contended, e.WaitFor: self._wait_for,
            e.PreemptDisable: self._preempt_disable, e.PreemptEnable: self._preempt_enable,
            e.CallRcu: self._call_rcu, e.SynchronizeRcu: self._synchronize_rcu,
            e.CallSrcu: self._call_srcu, e.SynchronizeSrcu: self._synchronize_srcu, e.Free: self._free,
            e.Reuse: self._reuse, e.Alloc: self._alloc,
            e.ListAdd: self._list_add, e.ListDel: self._list_del, e.ListEnd: self._list_end, e.FlushTlb: self._flush_tlb,
            e.Choose: self._choose, e.Warn: self._warn, s.Gauge: self._gauge,
            Granted: self._granted, s.Park: self._park, s.Unpark: self._unpark, s.WaitForChange: self._wait_for_change,
        }  # fmt: skip

    # --- locks ------------------------------------------------------------------------------------------------------

    def _granted(self, th: Thread, effect: Granted, t: int) -> int:
        lock = effect.lock
        if th.waits_for is lock.lock:
            waited = t - th.since
            lock.wait += waited
            lock.worst_wait = max(lock.worst_wait, waited)
            th.lock_wait += waited
            th.waits[lock.lock.field] = th.waits.get(lock.lock.field, 0) + waited
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
        lock = self.locks.of(effect.lock)
        word = lock.queue_word()
        th.value = lock.contended_value(word.value)
        return self.caches.read(self.lines.cell(word), th, t)

    # --- spinning and sleeping --------------------------------------------------------------------------------------

    def _wait_for(self, th: Thread, effect: e.WaitFor, t: int) -> int:
        cell = effect.cell
        if cell.owner.freed:
            raise used_after_free(cell)
        return self._spin(th, cell, t, met=cell.value & effect.mask == effect.want)

    def _wait_for_change(self, th: Thread, effect: s.WaitForChange, t: int) -> int:
        return self._spin(th, effect.cell, t, met=effect.cell.value != effect.old)

    def _spin(self, th: Thread, cell: Cell, t: int, *, met: bool) -> int:
        line = self.lines.cell(cell)
        t = self.caches.read(line, th, t)
        if met:
            th.value = cell.value
            return t
        self.spinning.wait(th, cell, line)
        return SPINNING

    def _park(self, th: Thread, effect: s.Park, t: int) -> int:
        return ASLEEP if self.queues.park(th, t) else t

    def _unpark(self, th: Thread, effect: s.Unpark, t: int) -> int:
        self.queues.unpark(effect.thread, t)
        return t + self.prices.store

    def _preempt_disable(self, th: Thread, effect: e.PreemptDisable, t: int) -> int:
        th.atomic += 1
        return t + self.prices.rcu_read

    def _preempt_enable(self, th: Thread, effect: e.PreemptEnable, t: int) -> int:
        th.atomic -= 1
        return t + self.prices.rcu_read

    # --- memory -----------------------------------------------------------------------------------------------------

    def _call_rcu(self, th: Thread, effect: e.CallRcu, t: int) -> int:
        self.grace.defer(None, effect.memory)
        return t + self.prices.store

    def _call_srcu(self, th: Thread, effect: e.CallSrcu, t: int) -> int:
        self.grace.defer(effect.domain, effect.memory)
        return t + self.prices.store

    def _synchronize_rcu(self, th: Thread, effect: e.SynchronizeRcu, t: int) -> int:
        return self.grace.synchronize(th, None, t)

    def _synchronize_srcu(self, th: Thread, effect: e.SynchronizeSrcu, t: int) -> int:
        return self.grace.synchronize(th, effect.domain, t)

    def _free(self, th: Thread, effect: e.Free, t: int) -> int:
        self.grace.free(effect.memory)
        return t + self.prices.store

    def _alloc(self, th: Thread, effect: e.Alloc, t: int) -> int:
        th.value = effect.slab.take()
        self.lines.dead.discard(th.value)
        return t + self.prices.slab

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
        self.hardware.counters["tlb_flushes"] += 1
        targets = [
            o for o in self.threads if o is not th and o.ended < 0 and o.cpu.current is o and effect.who in o.runs
        ]
        answer = 0
        for n, target in enumerate(targets, 1):
            took = p.tlb_remote + (p.tlb_kick if target.in_guest else 0)
            target.debt += took
            answer = max(answer, n * p.tlb_send + p.tlb_latency + took)
        self.hardware.counters["tlb_ipis"] += len(targets)
        th.stall += answer
        if self.recorder is not None and targets:
            self.recorder.slice(th.cpu.index, "wait", "TLB flush", th.name, t, t + answer)
        return t + p.tlb_local + answer

    # --- marks ------------------------------------------------------------------------------------------------------

    def _gauge(self, th: Thread, effect: s.Gauge, t: int) -> int:
        if self.recorder is not None:
            self.recorder.gauge(effect.what, t, effect.value)
        return t

    def _choose(self, th: Thread, effect: e.Choose, t: int) -> int:
        th.value = 0
        return t

    def _warn(self, th: Thread, effect: e.Warn, t: int) -> int:
        raise ModelError(f"WARN at {t} ps in {th.name}: {effect.what}", hint="the kernel would print a splat here")
