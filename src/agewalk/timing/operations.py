"""What each effect does on the modelled CPUs, as a function that the plain text calls; and the switch from thread to thread.

The state of the moment (which thread, on which CPU, when) is shared by closures: they run a million times a second. An operation
does its effect at the thread's time and adds its cost. It gives way before the effect, if somebody is due earlier and others can
see the effect: so shared memory is met in the order of time. And after it, if the thread is more than `window` ahead.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from heapq import heappop, heappushpop
from operator import add, and_, or_
from typing import TYPE_CHECKING, Any, Final

from greenlet import getcurrent

from agewalk.core import effects as e
from agewalk.core.cells import Cell, Lock
from agewalk.core.effects import FULL, ONCE, WRITE, Effect, Step
from agewalk.core.effects.memory import used_after_free
from agewalk.timing import steps as s
from agewalk.timing.holding import fast_paths
from agewalk.timing.threads import FOREVER, THREAD_BITS, THREADS, Thread, give_stack

if TYPE_CHECKING:
    from agewalk.timing.lines import Line
    from agewalk.timing.machine import Machine

NEVER: Final = FOREVER << THREAD_BITS  # an event
GUEST: Final = {"vm_entry": True, "vm_exit": False}  # work after which the CPU is in the guest, or no longer


def operations(
    m: Machine, read: Callable[[Step[Any]], Any]
) -> tuple[dict[type[Effect], Callable[..., Any]], Callable[[], None]]:
    """The operation of each effect class of a machine, and what runs it until nobody is due any more. read: runs a step."""
    heap, threads = m.heap, m.threads
    prices = m.prices
    hit, hit_atomic, store_cost = prices.hit, prices.hit + prices.atomic, prices.store
    atomic_cost, indirect_cost = prices.atomic, prices.indirect
    dead = m.lines.dead
    rcu_cost, rcu_readers = prices.rcu_read, m.rcu_readers
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
    paired = any(state.mates for state in m.cpus)
    since = waited = 0  # ps, if paired: when the thread was taken, what it had waited for lines by then
    first, far = NEVER, FOREVER + window  # who else is due first; how far (ps) to run ahead of that
    left = far  # ps until `far`: now is far - left. Kept in place of the time because the interpreter is fast with small numbers
    done = 0
    hub: Any = None

    def later(event: int = -1) -> Any:
        """Wait for the others to come as far. With an event that has left the heap: run whom it is for, and do not wait."""
        nonlocal th, state, cpu, bit, since, waited, first, far, left
        mine = th
        if event < 0:
            t = far - left
            if paired:
                for mate in state.mates:
                    if mate.current is not None:  # half a core; waiting takes no longer
                        t += int((t - since - (mine.waited - waited)) * prices.smt)
                        break
            event = heappushpop(heap, t << THREAD_BITS | mine.index)
        while True:
            th = threads[event & THREADS]
            if not th.debt:
                break
            event = heappushpop(heap, (event >> THREAD_BITS) + th.debt << THREAD_BITS | th.index)
            th.debt = 0
        state = th.cpu
        cpu, bit = state.index, state.bit
        if paired:
            since, waited = event >> THREAD_BITS, th.waited
        first = heap[0] if heap else NEVER
        far = (first >> THREAD_BITS) + window
        left = far - (event >> THREAD_BITS)
        return None if th is mine else th.switch()

    def sleep() -> None:
        """Until somebody puts this thread back among those that are due."""
        m.now = max(m.now, far - left)
        if not heap:
            hub.switch()  # for ever: nobody is left who could
        later(heappop(heap))

    def yields() -> None:
        """Too far ahead, or its slice is over."""
        if left < 0:
            later()
        elif not th.atomic and not th.rcu:
            m.preempt(th, far - left)
            sleep()

    def woke() -> None:
        """The heap may have changed."""
        nonlocal first, far, left
        if heap and heap[0] is not first:
            t = far - left
            first = heap[0]
            far = (first >> THREAD_BITS) + window
            left = far - t

    def run() -> None:
        nonlocal hub, done
        hub = getcurrent()
        for thread in m.threads:
            if thread.greenlet is None:
                give_stack(thread, read)
        collects = gc.isenabled()
        gc.disable()  # a run makes no cycles, and looking for them means to look at the whole world
        try:
            while heap:
                result = later(heappop(heap))
                if th.greenlet.dead:
                    m.finish(th, far - left, result)
        finally:
            if collects:
                gc.enable()
            m.lines.forget()
            m.effects += done
            done = 0
            m.book(tallies, works)
            for thread in m.threads:
                if not thread.greenlet.dead:
                    thread.greenlet.throw()

    # --- memory -----------------------------------------------------------------------------------------------------

    def placed(cell: Cell) -> tuple[Cell, Line]:
        """The line of a cell that nobody has met, that each CPU has for itself, or whose memory has been freed."""
        cell, line = find(cell, cpu)
        if dead and cell.owner in dead:
            if line.shared and left < window:
                later()
            if cell.owner in dead:
                raise used_after_free(cell)
        return cell, line

    def load(cell: Cell, order: str = ONCE) -> Any:
        nonlocal left, done
        done += 1
        line = cell.line
        if line is None:
            cell, line = placed(cell)
        if line.shared and left < window:
            later()
            if dead and cell.owner in dead:
                raise used_after_free(cell)
        if (line.owner == cpu or line.sharers & bit) and state.fills < line.kept_until:
            left -= hit
        else:
            left = far - fetch(line, th, far - left, False)
        if left >= 0:
            return cell.value
        value = cell.value
        later()
        return value

    def store(cell: Cell, value: Any, order: str = ONCE) -> None:
        nonlocal left, done
        done += 1
        line = cell.line
        if line is None:
            cell, line = placed(cell)
        if line.shared and left < window:
            later()
            if dead and cell.owner in dead:
                raise used_after_free(cell)
        if line.owner == cpu and state.fills < line.kept_until:
            there = 0
        else:
            there = fetch(line, th, far - left, True, False)
        left -= store_cost
        cell.value = value
        if line.watched:
            stir(cell, line, th, there or far - left)
            woke()
        if left < 0:
            later()

    def clear_bits(cell: Cell, operand: int, order: str = FULL) -> None:
        if left < window and m.lines.cell(cell).shared:
            later()  # what is kept of the word is what it holds at the time of the store
        store(cell, cell.value & operand)

    def store_part(cell: Cell, bits: int, value: int) -> None:
        if left < window and m.lines.cell(cell).shared:
            later()
        store(cell, cell.value & ~bits | value)

    def updating(apply: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """Read, modify, write."""

        def update(cell: Cell, operand: Any, order: str = FULL) -> Any:
            nonlocal left, done
            done += 1
            line = cell.line
            if line is None:
                cell, line = placed(cell)
            if line.shared and left < window:
                later()
                if dead and cell.owner in dead:
                    raise used_after_free(cell)
            if line.owner == cpu and state.fills < line.kept_until:
                if line.busy > far - left:  # a store has sent for it
                    left = far - line.busy
                left -= hit_atomic
            else:
                t = fetch(line, th, far - left, True) + atomic_cost
                left = far - t
                if t > line.busy:
                    line.busy = t
            found = cell.value
            cell.value = apply(found, operand)
            if line.watched:
                stir(cell, line, th, far - left)
                woke()
            if left < 0:
                later()
            return found

        return update

    swap_if = updating(lambda found, pair: pair[1] if found == pair[0] else found)

    def compare_exchange(cell: Cell, expected: Any, new: Any, order: str = FULL) -> Any:
        return swap_if(cell, (expected, new))

    # --- what no other CPU sees -------------------------------------------------------------------------------------

    def count(what: str, n: int = 1) -> None:
        nonlocal left, done
        done += 1
        try:
            tally = tallies[what]
        except KeyError:
            tally = tallies[what] = [0, prices.counts.get(what, prices.function)]
        tally[0] += n
        left -= tally[1] * n
        if left < 0:
            later()

    def work(what: str, n: int = 1) -> None:
        nonlocal left, done
        done += 1
        try:
            tally = works[what]
        except KeyError:
            tally = works[what] = [0, prices.work(what)]
        tally[0] += n
        left -= int(tally[1] * n * (quiet + loud * draw()))
        if what in GUEST:
            th.in_guest = GUEST[what]
        elif what == "zero_page":
            state.fills += 64 * n  # lines, which push out what was fetched before
        if left < 0 or (state.slice_end is not FOREVER and far - left >= state.slice_end):
            yields()

    def again(*_told: Any) -> None:
        nonlocal done
        done += 1
        if left < 0 or (state.slice_end is not FOREVER and far - left >= state.slice_end):
            yields()

    def indirect_call(target: str) -> None:
        nonlocal left, done
        done += 1
        counters["indirect_calls"] += 1
        left -= indirect_cost
        if left < 0:
            later()

    def rcu_read_lock() -> None:
        nonlocal left, done
        done += 1
        if left < window and m.after_readers:
            later()
        th.rcu += 1
        rcu_readers.add(th)
        left -= rcu_cost
        if left < 0:
            later()

    def rcu_read_unlock() -> None:
        nonlocal left, done
        done += 1
        if left < window and m.after_readers:
            later()
        th.rcu -= 1
        if not th.rcu:
            rcu_readers.discard(th)
            if m.after_readers:
                m.left(th, None, far - left)
        left -= rcu_cost
        if left < 0:
            later()

    def private(handler: Callable[..., int]) -> Callable[..., None]:
        def operation(*args: Any) -> None:
            nonlocal left, done
            done += 1
            if left < window and m.after_readers:
                later()
            left = far - handler(th, far - left, *args)
            if left < 0:
                later()

        return operation

    # --- locks, and all else ----------------------------------------------------------------------------------------

    def acquire(lock: Lock, mode: str = WRITE) -> None:
        nonlocal left, done
        done += 1
        if left < window:
            later()
        mine = th
        t, found = take_lock(mine, lock, mode, far - left)
        left = far - t
        woke()
        if left < 0:
            later()
        if found is not None:
            m.locks[lock].slow(mine, found, mode)

    def release(lock: Lock, mode: str = WRITE) -> None:
        nonlocal left, done
        done += 1
        if left < window:
            later()
        mine = th
        t, wake = give_lock(mine, lock, mode, far - left)
        left = far - t
        woke()
        if left < 0:
            later()
        if wake:
            m.locks[lock].wake(mine)

    def try_acquire(lock: Lock, mode: str = WRITE) -> bool:
        nonlocal done
        done += 1
        if left < window:
            later()
        timed = m.tries(th, lock)
        woke()
        if left < 0:
            later()
        return timed.attempt(mode)

    def rare(cls: type[Effect], handler: Callable[[Thread, Any, int], int]) -> Callable[..., Any]:
        def operation(*args: Any, **options: Any) -> Any:
            nonlocal left, done
            done += 1
            effect = cls(*args, **options)
            mine = th
            mine.value = None
            while True:
                if left < window:
                    later()
                at = handler(mine, effect, far - left)
                if at >= 0:
                    break
                sleep()
                if mine.pending is None:  # it slept, and what it slept for has happened
                    return mine.value
                mine.pending = None  # it spun: look again
            left = far - at
            woke()
            value = mine.value
            if left < 0:
                later()
            return value

        return operation

    by_class: dict[type[Effect], Callable[..., Any]] = {
        e.Load: load, e.Store: store, s.ClearBits: clear_bits, s.StorePart: store_part,
        e.FetchAnd: updating(and_), e.FetchOr: updating(or_),
        e.FetchAdd: updating(add), e.Exchange: updating(lambda _, new: new), e.CompareExchange: compare_exchange,
        s.ExchangeTail: updating(lambda found, tail: found & 0xFFFF | tail), e.Count: count, e.Work: work, e.Again: again,
        e.IndirectCall: indirect_call, e.RcuReadLock: rcu_read_lock, e.RcuReadUnlock: rcu_read_unlock, e.Acquire: acquire,
        e.Release: release, e.TryAcquire: try_acquire,
    }  # fmt: skip
    by_class.update((cls, private(handler)) for cls, handler in m.private.items())
    by_class.update((cls, rare(cls, handler)) for cls, handler in m.rare.items())
    return by_class, run
