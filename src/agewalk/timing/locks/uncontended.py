"""Uncontended lock and unlock: one atomic on the lock word, plus statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agewalk.core.cells import Cell, Lock
from agewalk.core.effects import READ, WRITE, CompareExchange, Effect, FetchAdd, Step
from agewalk.core.effects.memory import used_after_free
from agewalk.core.errors import ModelError
from agewalk.timing.hardware.cache_lines import Line, LineMap
from agewalk.timing.hardware.hardware import Hardware
from agewalk.timing.recorder import Recorder
from agewalk.timing.scheduler.spinning import Spinning
from agewalk.timing.threads import Thread
from agewalk.timing.timing_effects import ClearBits, LockWord


class WordStep:
    """The fields of an effect on a lock's word. swaps: a compare-exchange of 0 for `operand`; adds: an atomic addition of it;
    stores: a plain store that keeps its bits."""

    __slots__ = ("adds", "cell", "operand", "stores", "swaps")

    def __init__(self, effect: Effect) -> None:
        step: Any = effect
        self.cell: Cell = step.cell
        self.swaps = isinstance(effect, CompareExchange)
        self.adds = isinstance(effect, FetchAdd)
        self.stores = isinstance(effect, ClearBits)
        if not (self.swaps or self.adds or self.stores) or (self.swaps and step.expected != 0):
            raise ModelError(f"{effect!r} as a lock's fast path", hint="see WordStep")
        self.operand: int = step.new if self.swaps else step.operand


class TimedLock:
    """A lock as it works inside, with statistics. lock: the model's."""

    __slots__ = (
        "acquired", "contended", "dropped", "give_read", "give_write", "hold", "last", "line", "lock", "take_read",
        "take_write", "told", "wait", "worst_wait",
    )  # fmt: skip

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.acquired = {READ: 0, WRITE: 0}
        self.told = {READ: 0, WRITE: 0}  # the part of `acquired` that is in the machine's counters
        self.contended = 0
        self.wait = 0  # ps, sum over waiters
        self.worst_wait = 0
        self.hold = {READ: 0, WRITE: 0}  # ps
        self.last: Thread | None = None  # the last holder, or the present one
        self.dropped: tuple[Thread, int] | None = None  # the last release, if a recorder is used: thread and time
        self.line: Any = None  # of the word; set when a machine has the lock
        # `fast` and `release` by mode, made on first use
        self.take_read: WordStep | None = None
        self.take_write: WordStep | None = None
        self.give_read: WordStep | None = None
        self.give_write: WordStep | None = None

    def taken_by(self, mode: str) -> WordStep:
        """The first attempt."""
        step = self.take_write if mode == WRITE else self.take_read
        if step is None:
            step = WordStep(self.fast(mode))
            if mode == WRITE:
                self.take_write = step
            else:
                self.take_read = step
        return step

    def given_by(self, mode: str) -> WordStep:
        """The release."""
        step = self.give_write if mode == WRITE else self.give_read
        if step is None:
            step = WordStep(self.release(mode))
            if mode == WRITE:
                self.give_write = step
            else:
                self.give_read = step
        return step

    def word(self) -> LockWord:
        """The word that the fast path changes."""
        raise NotImplementedError

    def queue_word(self) -> LockWord:
        """The word that tells whether threads wait."""
        return self.word()

    def fast(self, mode: str) -> Effect:
        """The first attempt: one effect on the word."""
        raise NotImplementedError

    def got(self, found: int, mode: str) -> bool:
        """Whether the first attempt took the lock, by the value that it found."""
        raise NotImplementedError

    def slow(self, thread: Thread, found: int, mode: str) -> Step[None]:
        """The slow path, after a first attempt that failed."""
        raise NotImplementedError

    def attempt(self, mode: str) -> Step[bool]:
        """The trylock."""
        raise NotImplementedError

    def release(self, mode: str) -> Effect:
        """The release: one effect on the word."""
        raise NotImplementedError

    def must_wake(self, found: int, mode: str) -> bool:
        """Whether `wake` must follow a release that found this value."""
        return False

    def wake(self, thread: Thread) -> Step[None]:
        """Hand the lock, which this thread has released, to its sleepers."""
        raise NotImplementedError

    def contended_value(self, value: int) -> bool:
        """Whether this value of `queue_word` means that threads wait."""
        raise NotImplementedError


class Granted(Effect):
    """The lock is taken: the last effect of a slow path that succeeded."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: TimedLock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode


class Locks:
    """The locks of a machine, made on first use. make: builds one for a lock of the model."""

    __slots__ = ("lines", "made", "make")

    def __init__(self, lines: LineMap, make: Callable[[Lock], TimedLock]) -> None:
        self.lines = lines
        self.make = make
        self.made: dict[Lock, TimedLock] = {}

    def of(self, lock: Lock) -> TimedLock:
        """How a lock of the model works inside."""
        found = self.made.get(lock)
        if found is None:
            found = self.made[lock] = self.make(lock)
            found.line = self.lines.cell(found.word())
        return found


class FastPaths:
    """Taking and giving back the locks of a machine while no thread has to wait.

    Results of the last call: timed, the lock; found, the value that the failed attempt found, None if it succeeded; wake, whether
    sleepers must be woken.
    """

    __slots__ = (
        "atomic", "caches", "dead", "found", "instructions", "locks", "made", "recorder", "spinning", "store", "timed", "wake",
    )  # fmt: skip

    def __init__(self, hardware: Hardware, locks: Locks, spinning: Spinning) -> None:
        self.locks = locks
        self.made = locks.made
        self.spinning = spinning
        self.recorder = hardware.recorder
        self.dead: set[Any] = hardware.lines.dead
        self.caches = hardware.caches
        self.atomic = hardware.prices.atomic
        self.store = hardware.prices.store
        self.instructions = hardware.prices.lock
        self.timed: Any = None
        self.found: Any = None
        self.wake = False

    def lock(self, lock: Lock) -> TimedLock:
        """How a lock works inside."""
        timed = self.made.get(lock)
        if timed is None:
            timed = self.locks.of(lock)
        self.timed = timed
        return timed

    def acquire(self, th: Thread, lock: Lock, mode: str, t: int) -> int:
        """Take a lock, or fail and leave the rest to its slow path; when that is done."""
        timed = self.lock(lock)
        sleeps = lock.sleeps
        if sleeps and (th.atomic or th.rcu):
            raise ModelError(
                f"{th.name} sleeps on {lock.name} in atomic context",
                hint="a mutex or rwsem inside a spinlock or RCU section",
            )
        first = timed.taken_by(mode)
        cell = first.cell
        line: Line = timed.line
        if self.dead and cell.owner in self.dead:
            raise used_after_free(cell)
        if line.owner == th.cpu.index:
            done = line.busy = (max(t, line.busy)) + self.caches.hit + self.atomic
        else:
            done = self.caches.fetch(line, th, t, True) + self.atomic
            if done > line.busy:  # else this CPU still keeps the line, and others queue for it
                line.busy = done
        found = cell.value
        if first.adds:
            cell.value = found + first.operand
        elif first.stores:
            cell.value = found & first.operand
        elif found == 0:
            cell.value = first.operand
        if line.watched:
            self.spinning.stir(cell, line, th, done)
        if timed.got(found, mode):
            grant(th, timed, mode, done)
            if sleeps and line.owner != th.cpu.index:
                # rwsem_set_reader_owned(), rwsem_set_owner(): a store beside the count, on its line
                self.caches.fetch(line, th, done, True, False)
            self.found = None
            return done + self.instructions
        timed.contended += 1
        th.waits_for, th.since = lock, t
        th.atomic += not sleeps  # preemption is off while it spins
        self.found = found
        return done

    def release(self, th: Thread, lock: Lock, mode: str, t: int) -> int:
        """Release a lock; when that is done."""
        timed = self.lock(lock)
        drop(self.recorder, th, timed, mode, t)
        undo = timed.given_by(mode)
        cell = undo.cell
        line: Line = timed.line
        if self.dead and cell.owner in self.dead:
            raise used_after_free(cell)
        found = cell.value
        if undo.stores:
            there = t + self.store if line.owner == th.cpu.index else self.caches.fetch(line, th, t, True, False)
            done = t + self.store
            cell.value = found & undo.operand
        else:
            if line.owner == th.cpu.index:
                there = (max(t, line.busy)) + self.caches.hit + self.atomic
            else:
                there = self.caches.fetch(line, th, t, True) + self.atomic
            done = there
            line.busy = max(line.busy, done)
            cell.value = found + undo.operand
        if line.watched:
            self.spinning.stir(cell, line, th, there)
        self.wake = timed.must_wake(found, mode)
        return done + self.instructions


def grant(th: Thread, lock: TimedLock, mode: str, at: int) -> None:
    """Record that a lock is taken. Raises ModelError if a holder excludes that."""
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


def drop(recorder: Recorder | None, th: Thread, lock: TimedLock, mode: str, at: int) -> None:
    """Record that a lock is released."""
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
    if recorder is not None:
        recorder.slice(th.cpu.index, "hold", f"{own.name} ({mode})", th.name, since, at)
        lock.dropped = (th, at)
