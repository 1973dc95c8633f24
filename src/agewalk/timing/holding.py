"""Taking a lock and giving it back, as long as nobody has to wait: an atomic step on its word, and the books."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agewalk.core.cells import Lock
from agewalk.core.effects import WRITE, CompareExchange
from agewalk.core.effects.memory import used_after_free
from agewalk.core.errors import ModelError
from agewalk.timing.locks import TimedLock
from agewalk.timing.steps import ClearBits
from agewalk.timing.threads import Thread

if TYPE_CHECKING:
    from agewalk.timing.machine import Machine

#: (thread, lock, mode, ps) -> (when it is over, what it found if it did not get the lock)
Acquire = Callable[[Thread, Lock, str, int], tuple[int, int | None]]
#: (thread, lock, mode, ps) -> (when it is over, is somebody to be woken?)
Release = Callable[[Thread, Lock, str, int], tuple[int, bool]]


def fast_paths(m: Machine) -> tuple[Acquire, Release]:
    """The fast paths of a machine's locks."""
    locks, dead = m.locks, m.lines.dead
    fetch, stir = m.fetch, m.stir
    prices = m.prices
    atomic, hit_atomic, store, instructions = prices.atomic, prices.hit + prices.atomic, prices.store, prices.lock

    def acquire(th: Thread, lock: Lock, mode: str, t: int) -> tuple[int, int | None]:
        timed = locks.get(lock)
        if timed is None:
            timed = m.timed(lock)
        if lock.sleeps and (th.atomic or th.rcu):
            raise ModelError(
                f"{th.name} sleeps on {lock.name} in atomic context",
                hint="a mutex or rwsem inside a spinlock or RCU section",
            )
        first: Any = timed.first.get(mode)
        if first is None:
            first = timed.first[mode] = timed.fast(mode)
        cell, line = first.cell, timed.line
        if dead and cell.owner in dead:
            raise used_after_free(cell)
        if line.owner == th.cpu.index:
            done = line.busy = (line.busy if line.busy > t else t) + hit_atomic
        else:
            done = fetch(line, th, t, True) + atomic
            if done > line.busy:  # else it is here for a moment yet, and others are in line for it
                line.busy = done
        found = cell.value
        if first.__class__ is not CompareExchange:
            cell.value = first.apply(found)
        elif found == first.expected:
            cell.value = first.new
        if line.watched:
            stir(cell, line, th, done)
        if timed.got(found, mode):
            grant(th, timed, mode, done)
            if lock.sleeps and line.owner != th.cpu.index:
                # rwsem_set_reader_owned(), rwsem_set_owner(): a store beside the count, on its line
                fetch(line, th, done, True, False)
            return done + instructions, None
        timed.contended += 1
        th.waits_for, th.since = timed, t
        th.atomic += not lock.sleeps  # preemption is off while it spins
        return done, found

    def release(th: Thread, lock: Lock, mode: str, t: int) -> tuple[int, bool]:
        timed = locks.get(lock)
        if timed is None:
            timed = m.timed(lock)
        drop(m, th, timed, mode, t)
        undo: Any = timed.undo.get(mode)
        if undo is None:
            undo = timed.undo[mode] = timed.release(mode)
        cell, line = undo.cell, timed.line
        if dead and cell.owner in dead:
            raise used_after_free(cell)
        found = cell.value
        if undo.__class__ is ClearBits:
            there = t + store if line.owner == th.cpu.index else fetch(line, th, t, True, False)
            done = t + store
        else:
            if line.owner == th.cpu.index:
                there = (line.busy if line.busy > t else t) + hit_atomic
            else:
                there = fetch(line, th, t, True) + atomic
            done = there
            if done > line.busy:
                line.busy = done
        cell.value = undo.apply(found)
        if line.watched:
            stir(cell, line, th, there)
        return done + instructions, timed.must_wake(found, mode)

    return acquire, release


def grant(th: Thread, lock: TimedLock, mode: str, at: int) -> None:
    """Book a lock as taken. Raises ModelError if somebody has it who excludes this."""
    own = lock.lock
    if own.writer or (own.readers and mode == WRITE):
        raise ModelError(
            f"{own.name} granted to {th.name} for {mode} while {lock.last} holds it", hint="mutual exclusion is broken"
        )
    if mode == WRITE:
        own.writer = True
    else:
        own.readers += 1
    lock.acquired[mode] += 1
    th.held.append((own, mode, at))
    th.atomic += not own.sleeps
    lock.last = th


def drop(m: Machine, th: Thread, lock: TimedLock, mode: str, at: int) -> None:
    """Book a lock as given back."""
    own = lock.lock
    for n in range(len(th.held) - 1, -1, -1):
        held, how, since = th.held[n]
        if held is own and how == mode:
            del th.held[n]
            break
    else:
        raise ModelError(
            f"{own.name} is unlocked by {th.name} but not held for {mode}", hint="unbalanced lock and unlock"
        )
    if mode == WRITE:
        own.writer = False
    else:
        own.readers -= 1
    th.atomic -= not own.sleeps
    lock.hold[mode] += at - since
    if m.recorder is not None:
        m.recorder.slice(th.cpu.index, "hold", f"{own.name} ({mode})", th.name, since, at)
