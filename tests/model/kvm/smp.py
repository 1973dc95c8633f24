"""Several CPUs, one step at a time in a random order: what the direct reading cannot show.

Independent of `agewalk.checker`. Locks make others wait; RCU frees wait for the readers of their time; a thread that cannot go
on is not scheduled; if none can, that is a deadlock.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from agewalk.core.cells import Object
from agewalk.core.direct import Direct, perform
from agewalk.core.effects import (
    WRITE,
    Acquire,
    Effect,
    Step,
    SynchronizeRcu,
    SynchronizeSrcu,
    WaitFor,
)
from agewalk.core.errors import ModelError


class Cpu(Direct):
    """One CPU of several."""

    def __init__(self, smp: Smp, name: str, thread: Step[Any]) -> None:
        super().__init__()
        self.smp = smp
        self.name = name
        self.thread = thread
        self.effect: Effect | None = None
        self.result: Any = None
        self.waits_for: set[Cpu] | None = None  # synchronize_rcu(): readers of when it began

    def leave_rcu(self) -> None:
        self.rcu -= 1
        if not self.rcu:
            self.smp.left_rcu(self)

    def free_after_rcu(self, memory: Object) -> None:
        self.smp.defer(memory)

    def can_run(self) -> bool:
        effect = self.effect
        if isinstance(effect, Acquire):
            return not effect.lock.writer and (effect.mode != WRITE or not effect.lock.readers)
        if isinstance(effect, WaitFor):
            return bool(effect.cell.value & effect.mask == effect.want) or effect.cell.owner.freed
        if isinstance(effect, SynchronizeSrcu):
            return effect.domain.readers == 0
        if isinstance(effect, SynchronizeRcu):
            if self.waits_for is None:
                self.waits_for = {c for c in self.smp.cpus if c.rcu}
            self.waits_for = {c for c in self.waits_for if c.rcu}
            return not self.waits_for
        return True


class Smp:
    """Runs threads to their ends in a random interleaving. `watch` is called after every step and may raise."""

    def __init__(self, threads: Sequence[tuple[str, Step[Any]]], seed: int) -> None:
        self.random = random.Random(seed)
        self.deferred: list[tuple[Object, set[Cpu]]] = []
        self.cpus = [Cpu(self, name, thread) for name, thread in threads]
        self.results: dict[str, Any] = {}

    def defer(self, memory: Object) -> None:
        readers = {c for c in self.cpus if c.rcu}
        if readers:
            self.deferred.append((memory, readers))
        else:
            self.cpus[0].free(memory)

    def left_rcu(self, cpu: Cpu) -> None:
        waiting = self.deferred
        self.deferred = []
        for memory, readers in waiting:
            readers.discard(cpu)
            if readers:
                self.deferred.append((memory, readers))
            else:
                cpu.free(memory)

    def run(self, watch: Any = None, limit: int = 200_000) -> dict[str, Any]:
        running = list(self.cpus)
        for cpu in list(running):
            self._next(cpu, None, running)
        burst, cpu = 0, self.cpus[0]
        for _ in range(limit):
            if not running:
                return self.results
            able = [c for c in running if c.can_run()]
            if not able:
                waiting = ", ".join(f"{c.name} at {c.effect!r}" for c in running)
                raise ModelError(f"deadlock: {waiting}", hint="")
            if cpu not in able or burst == 0:
                cpu, burst = self.random.choice(able), self.random.choice((1, 1, 2, 5, 30))
            burst -= 1
            effect = cpu.effect
            assert effect is not None
            self._next(cpu, perform(cpu, effect), running)
            cpu.waits_for = None
            if watch is not None:
                watch()
        raise ModelError(f"not finished after {limit} steps", hint="a livelock?")

    def _next(self, cpu: Cpu, answer: Any, running: list[Cpu]) -> None:
        try:
            cpu.effect = cpu.thread.send(answer)
        except StopIteration as stop:
            self.results[cpu.name] = stop.value
            running.remove(cpu)
            if cpu.held or cpu.rcu or cpu.atomic:
                raise ModelError(f"{cpu.name} ended holding {cpu.held}", hint="") from None
