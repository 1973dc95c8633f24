"""What each effect does on the modelled CPUs, as a function that the plain text calls; and the switch from thread to thread.

The state of the moment (which thread, on which CPU, when) is shared by closures: they run a million times a second. An operation
does its effect at the thread's time and adds its cost. It gives way before the effect, if somebody is due earlier and others can
see the effect: so shared memory is met in the order of time. And after it, if the thread is more than `window` ahead.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappushpop
from operator import add, and_, or_
from typing import TYPE_CHECKING, Any, Final

from greenlet import getcurrent, greenlet

from agewalk.core import effects as e
from agewalk.core.cells import Cell, Lock, Srcu
from agewalk.core.effects import FULL, ONCE, WRITE, Effect, Step
from agewalk.core.effects.memory import used_after_free
from agewalk.timing import steps as s
from agewalk.timing.holding import fast_paths
from agewalk.timing.threads import FOREVER, THREAD_BITS, THREADS, Thread

if TYPE_CHECKING:
    from agewalk.timing.machine import Machine

GUEST: Final = {"vm_entry": True, "vm_exit": False}  # work after which the CPU is in the guest, or no longer


def operations(
    m: Machine, read: Callable[[Step[Any]], Any]
) -> tuple[dict[type[Effect], Callable[..., Any]], Callable[[], None]]:
    """The operation of each effect class of a machine, and what runs it until nobody is due any more. read: runs a step."""
    heap, threads = m.heap, m.threads
    prices = m.prices
    hit, hit_atomic, store_cost = prices.hit, prices.hit + prices.atomic, prices.store
    atomic_cost, indirect_cost = prices.atomic, prices.indirect
    lines, dead = m.lines, m.lines.dead
    rcu_cost, srcu_cost = prices.rcu_read, prices.srcu_read
    rcu_readers, srcu_readers = m.rcu_readers, m.srcu_readers
    quiet, loud = prices.quiet, prices.loud
    tallies: dict[str, list[int]] = {}  # of Count: how many, ps of each
    works: dict[str, list[int]] = {}
    fetch, find, stir = m.fetch, m.find, m.stir
    counters = m.counters
    window = m.window
    draw = m.random.random
    take_lock, give_lock = fast_paths(m)

    th: Thread = Thread(-1, "nobody", lambda: None, m.cpus[0], ())
    state = th.cpu
    cpu, bit = 0, 1
    t = since = waited = 0  # ps: now, when the thread was taken, what it had waited for lines by then
    horizon = far = slice_end = FOREVER  # when somebody else is due; how far to run ahead of that; when to be preempted
    done = 0
    hub: Any = None

    def take(event: int) -> None:
        """The next thread that is due, the event or one before it, is the one that runs."""
        nonlocal th, state, cpu, bit, t, since, waited, horizon, far, slice_end
        t, th = event >> THREAD_BITS, threads[event & THREADS]
        while th.debt:
            event = heappushpop(heap, t + th.debt << THREAD_BITS | th.index)
            th.debt = 0
            t, th = event >> THREAD_BITS, threads[event & THREADS]
        state, since, waited = th.cpu, t, th.waited
        cpu, bit = state.index, state.bit
        horizon = heap[0] >> THREAD_BITS if heap else FOREVER
        far = horizon + window
        slice_end = state.slice_end

    def later() -> None:
        """Wait for the others to come as far."""
        nonlocal t
        mine = th
        if state.mates and any(mate.current for mate in state.mates):  # half a core; waiting takes no longer
            t += int((t - since - (mine.waited - waited)) * prices.smt)
        take(heappushpop(heap, t << THREAD_BITS | mine.index))
        if th is not mine:
            th.switch()

    def sleep() -> None:
        """Until somebody puts this thread back among those that are due."""
        mine = th
        m.now = max(m.now, t)
        if not heap:
            hub.switch()  # for ever: nobody is left who could
        take(heappop(heap))
        if th is not mine:
            th.switch()

    def yields() -> None:
        """Too far ahead, or its slice is over."""
        if t > far:
            later()
        elif not th.atomic and not th.rcu:
            m.preempt(th, t)
            sleep()

    def woke() -> None:
        """The heap may have changed."""
        nonlocal horizon, far
        horizon = heap[0] >> THREAD_BITS if heap else FOREVER
        far = horizon + window

    def live(thread: Thread) -> None:
        result = thread.body() if callable(thread.body) else read(thread.body)
        m.finish(thread, t, result)

    def run() -> None:
        nonlocal hub, done
        hub = getcurrent()
        for thread in m.threads:
            if thread.greenlet is None:
                thread.greenlet = greenlet(partial(live, thread))
                thread.switch = thread.greenlet.switch
        collects = gc.isenabled()
        gc.disable()  # a run makes no cycles, and looking for them means to look at the whole world
        try:
            while heap:
                take(heappop(heap))
                th.switch()
        finally:
            if collects:
                gc.enable()
            m.effects += done
            done = 0
            m.book(tallies, works)
            for thread in m.threads:
                if not thread.greenlet.dead:
                    thread.greenlet.throw()

    # --- memory -----------------------------------------------------------------------------------------------------

    def load(cell: Cell, order: str = ONCE) -> Any:
        nonlocal t, done
        done += 1
        line = cell.line
        if line is None or line.lines is not lines:
            cell, line = find(cell, cpu)
        if t > horizon and line.shared:
            later()
        if dead and cell.owner in dead:
            raise used_after_free(cell)
        if (line.owner == cpu or line.sharers & bit) and state.fills < line.kept_until:
            t += hit
        else:
            t = fetch(line, th, t, False)
        value = cell.value
        if t > far:
            later()
        return value

    def store(cell: Cell, value: Any, order: str = ONCE) -> None:
        nonlocal t, done
        done += 1
        line = cell.line
        if line is None or line.lines is not lines:
            cell, line = find(cell, cpu)
        if t > horizon and line.shared:
            later()
        if dead and cell.owner in dead:
            raise used_after_free(cell)
        if line.owner == cpu and state.fills < line.kept_until:
            there = t + store_cost
        else:
            there = fetch(line, th, t, True, False)
        t += store_cost
        cell.value = value
        if line.watched:
            stir(cell, line, th, there)
            woke()
        if t > far:
            later()

    def clear_bits(cell: Cell, operand: int, order: str = FULL) -> None:
        if t > horizon and m.lines.cell(cell).shared:
            later()  # what is kept of the word is what it holds at the time of the store
        store(cell, cell.value & operand)

    def updating(apply: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """Read, modify, write."""

        def update(cell: Cell, operand: Any, order: str = FULL) -> Any:
            nonlocal t, done
            done += 1
            line = cell.line
            if line is None or line.lines is not lines:
                cell, line = find(cell, cpu)
            if t > horizon and line.shared:
                later()
            if dead and cell.owner in dead:
                raise used_after_free(cell)
            if line.owner == cpu and state.fills < line.kept_until:
                t += hit_atomic
            else:
                t = fetch(line, th, t, True) + atomic_cost
                line.busy = max(line.busy, t)
            found = cell.value
            cell.value = apply(found, operand)
            if line.watched:
                stir(cell, line, th, t)
                woke()
            if t > far:
                later()
            return found

        return update

    swap_if = updating(_swap_if)

    def compare_exchange(cell: Cell, expected: Any, new: Any, order: str = FULL) -> Any:
        return swap_if(cell, (expected, new))

    # --- what no other CPU sees -------------------------------------------------------------------------------------

    def count(what: str, n: int = 1) -> None:
        nonlocal t, done
        done += 1
        tally = tallies.get(what)
        if tally is None:
            tally = tallies[what] = [0, prices.counts.get(what, prices.function)]
        tally[0] += n
        t += tally[1] * n
        if t > far:
            later()

    def work(what: str, n: int = 1) -> None:
        nonlocal t, done
        done += 1
        tally = works.get(what)
        if tally is None:
            tally = works[what] = [0, prices.work(what)]
        tally[0] += n
        t += int(tally[1] * n * (quiet + loud * draw()))
        if what in GUEST:
            th.in_guest = GUEST[what]
        elif what == "zero_page":
            state.fills += 64 * n  # lines, which push out what was fetched before
        if t > far or t >= slice_end:
            yields()

    def again(*state: Any) -> None:
        nonlocal done
        done += 1
        if t > far or t >= slice_end:
            yields()

    def indirect_call(target: str) -> None:
        nonlocal t, done
        done += 1
        counters["indirect_calls"] += 1
        t += indirect_cost
        if t > far:
            later()

    def rcu_read_lock() -> None:
        nonlocal t, done
        done += 1
        if t > horizon and m.after_readers:
            later()
        th.rcu += 1
        rcu_readers.add(th)
        t += rcu_cost
        if t > far:
            later()

    def rcu_read_unlock() -> None:
        nonlocal t, done
        done += 1
        if t > horizon and m.after_readers:
            later()
        th.rcu -= 1
        if not th.rcu:
            rcu_readers.discard(th)
            if m.after_readers:
                m.left(th, None, t)
        t += rcu_cost
        if t > far:
            later()

    def srcu_read_lock(domain: Srcu) -> None:
        nonlocal t, done
        done += 1
        if t > horizon and m.after_readers:
            later()
        domain.readers += 1
        srcu_readers[domain].add(th)
        t += srcu_cost
        if t > far:
            later()

    def srcu_read_unlock(domain: Srcu) -> None:
        nonlocal t, done
        done += 1
        if t > horizon and m.after_readers:
            later()
        domain.readers -= 1
        srcu_readers[domain].discard(th)
        if m.after_readers:
            m.left(th, domain, t)
        t += srcu_cost
        if t > far:
            later()

    def private(handler: Callable[..., int]) -> Callable[..., None]:
        def operation(*args: Any) -> None:
            nonlocal t, done
            done += 1
            if t > horizon and m.after_readers:
                later()
            t = handler(th, t, *args)
            if t > far:
                later()

        return operation

    # --- locks, and all else ----------------------------------------------------------------------------------------

    def acquire(lock: Lock, mode: str = WRITE) -> None:
        nonlocal t, done
        done += 1
        if t > horizon:
            later()
        mine = th
        t, found = take_lock(mine, lock, mode, t)
        woke()
        if t > far:
            later()
        if found is not None:
            m.locks[lock].slow(mine, found, mode)

    def release(lock: Lock, mode: str = WRITE) -> None:
        nonlocal t, done
        done += 1
        if t > horizon:
            later()
        mine = th
        t, wake = give_lock(mine, lock, mode, t)
        woke()
        if t > far:
            later()
        if wake:
            m.locks[lock].wake(mine)

    def try_acquire(lock: Lock, mode: str = WRITE) -> bool:
        nonlocal done
        done += 1
        if t > horizon:
            later()
        timed = m.tries(th, lock)
        woke()
        if t > far:
            later()
        return timed.attempt(mode)

    def rare(cls: type[Effect], handler: Callable[[Thread, Any, int], int]) -> Callable[..., Any]:
        def operation(*args: Any, **options: Any) -> Any:
            nonlocal t, done
            done += 1
            effect = cls(*args, **options)
            mine = th
            mine.value = None
            while True:
                if t > horizon:
                    later()
                at = handler(mine, effect, t)
                if at >= 0:
                    break
                sleep()
                if mine.pending is None:  # it slept, and what it slept for has happened
                    return mine.value
                mine.pending = None  # it spun: look again
            t = at
            woke()
            value = mine.value
            if t > far:
                later()
            return value

        return operation

    by_class: dict[type[Effect], Callable[..., Any]] = {
        e.Load: load, e.Store: store, s.ClearBits: clear_bits, e.FetchAnd: updating(and_), e.FetchOr: updating(or_),
        e.FetchAdd: updating(add), e.Exchange: updating(lambda _, new: new), e.CompareExchange: compare_exchange,
        s.ExchangeTail: updating(lambda found, tail: found & 0xFFFF | tail), e.Count: count, e.Work: work, e.Again: again,
        e.IndirectCall: indirect_call, e.RcuReadLock: rcu_read_lock, e.RcuReadUnlock: rcu_read_unlock, e.Acquire: acquire,
        e.SrcuReadLock: srcu_read_lock, e.SrcuReadUnlock: srcu_read_unlock, e.Release: release, e.TryAcquire: try_acquire,
    }  # fmt: skip
    by_class.update((cls, private(handler)) for cls, handler in m.private.items())
    by_class.update((cls, rare(cls, handler)) for cls, handler in m.rare.items())
    return by_class, run


def _swap_if(found: Any, operands: tuple[Any, Any]) -> Any:
    expected, new = operands
    return new if found == expected else found
