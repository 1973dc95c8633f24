"""A seeded fault: one small change to the model, in a system that holds without it, and the property that must break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from agewalk.checker.automata.store_buffers import with_memory_model
from agewalk.checker.catalog import get_system
from agewalk.checker.ghost import rewrite
from agewalk.checker.system import System
from agewalk.core.effects import Effect, Step

Change = Callable[[Effect], Any]


@dataclass(frozen=True)
class Fault:
    """patches: "module.function" -> replacement. changes: thread name -> rewriting of its effects. build: another system
    than the shipped one called `system`. broken: the property that must be violated. first: no other is violated in fewer steps.
    """

    name: str
    system: str
    broken: str
    patches: tuple[tuple[str, Any], ...] = ()
    changes: tuple[tuple[str, Change], ...] = ()
    build: Callable[[], System] | None = None
    adjust: Callable[[System], System] | None = None
    model: str = "sc"
    first: bool = True

    def base(self) -> System:
        """The system without the fault."""
        system = self.build() if self.build else get_system(self.system)
        if self.adjust:
            system = self.adjust(system)
        return with_memory_model(system, self.model)

    @contextmanager
    def seeded(self) -> Iterator[System]:
        """The system with the fault, as long as the context lasts."""
        system = self.build() if self.build else get_system(self.system)
        if self.adjust:
            system = self.adjust(system)
        with ExitStack() as stack:  # the world is built by then: only the threads run the faulty functions
            for target, replacement in self.patches:
                stack.enter_context(patch("agewalk.model." + target, replacement))
            changes = dict(self.changes)
            threads = tuple(
                replace(t, start=changed(t.start, changes[t.name])) if t.name in changes else t for t in system.threads
            )
            yield with_memory_model(replace(system, threads=threads), self.model)


def changed(start: Callable[[], Step[Any]], change: Change) -> Callable[[], Step[Any]]:
    """A thread with its effects rewritten."""
    return lambda: rewrite(start(), change)


def drop(*kinds: type[Effect]) -> Change:
    """Leave out all effects of some kinds."""
    return lambda effect: None if isinstance(effect, kinds) else effect
