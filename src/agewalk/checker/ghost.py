"""Effects that only checked systems use, and a wrapper that watches a generator's own.

A monitor is code in a thread of a system. It keeps what it must remember about shared state in cells of its own, and changes
them in the step that it watches: `Ghost(effect)` is done together with the step before it, and no other thread runs in
between. `watch` sees what one thread did, without any cell.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from agewalk.core.cells import Cell
from agewalk.core.direct import Direct, means, perform
from agewalk.core.effects import Effect, Step
from agewalk.core.errors import ModelError

T = TypeVar("T")


class Ghost(Effect):
    """Do `effect` in one step with what this thread did just before. It must not be one that can wait."""

    __slots__ = ("effect",)

    def __init__(self, effect: Effect) -> None:
        self.effect = effect


class Update(Effect):
    """cell = change(found); answers the value found. `change` is pure and named: its name is shown in paths."""

    __slots__ = ("cell", "change")

    def __init__(self, cell: Cell, change: Callable[[Any], Any]) -> None:
        self.cell = cell
        self.change = change


class Await(Effect):
    """Wait until `ready(value of cell)`, then set the cell to `change(found)`, in one step; answers the value found."""

    __slots__ = ("cell", "change", "ready")

    def __init__(self, cell: Cell, ready: Callable[[Any], bool], change: Callable[[Any], Any] | None = None) -> None:
        self.cell = cell
        self.ready = ready
        self.change = change


@means(Ghost)
def _ghost(cpu: Direct, effect: Ghost) -> Any:
    return perform(cpu, effect.effect)


@means(Update)
def _update(_: Direct, effect: Update) -> Any:
    found = effect.cell.value
    effect.cell.value = effect.change(found)
    return found


@means(Await)
def _await(_: Direct, effect: Await) -> Any:
    found = effect.cell.value
    if not effect.ready(found):
        raise ModelError(f"waits for ever on {effect.cell.name}", hint="no other thread runs that could change it")
    if effect.change is not None:
        effect.cell.value = effect.change(found)
    return found


def watch(
    inner: Step[T], seen: Callable[[Any, Effect, Any], Any], memory: Any = None
) -> Generator[Effect, Any, tuple[T, Any]]:
    """Run `inner`; after each effect, memory = seen(memory, effect, answer). Returns (what `inner` returned, memory).

    `seen` is pure and `memory` immutable, so that what is remembered is part of the thread's state.
    """
    answer: Any = None
    while True:
        try:
            effect = inner.send(answer)
        except StopIteration as stop:
            return stop.value, memory
        answer = yield effect
        memory = seen(memory, effect, answer)


def rewrite(inner: Step[T], change: Callable[[Effect], Effect | tuple[Effect, ...] | None]) -> Step[T]:
    """Run `inner` with its effects changed: another effect, several (the last one that is no Ghost answers), or None to drop it
    (answered None). Seeded faults and memory models are made of this."""
    answer: Any = None
    while True:
        try:
            effect = inner.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        changed = change(effect)
        answer = None
        if isinstance(changed, tuple):
            for one in changed:
                got = yield one
                answer = answer if isinstance(one, Ghost) else got
        elif changed is not None:
            answer = yield changed
