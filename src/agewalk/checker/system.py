"""A system to check: a few threads over one small world, and what must be true of all their interleavings.

def two_agers() -> System:
    spte = Cell(Object("sptes"), 0, A)
    def ager() -> Step[bool]:
        return bool((yield FetchAnd(spte, ~A)) & A)
    return System("two-agers", threads=[Thread("ager", ager, n=2)],
                  properties=[sometimes("one of them finds it young", lambda r: r is True, Result("ager"))])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from agewalk.checker.interchangeable import Interchangeable
from agewalk.core.cells import Cell, ListHead, Lock
from agewalk.core.effects import Step
from agewalk.core.errors import UsageError

MUST: Final = "must"  # a violation is a bug
TOLERATED: Final = "tolerated"  # counted, with its worst case

# Properties that every system has; errors of the machine itself are filed under them.
NO_WARNING: Final = "no WARN_ON or BUG_ON"
NO_WILD: Final = "no wild pointer or impossible value"  # the model itself fell over
NO_USE_AFTER_FREE: Final = "no use after free"
NO_DOUBLE_FREE: Final = "no double free"
NO_DEADLOCK: Final = "no deadlock"
BALANCED: Final = "no lock held at the end"
NO_SLEEP: Final = "no sleep in atomic context"
NO_CORRUPTION: Final = "no corrupt list"
TERMINATES: Final = "every thread ends (weak fairness, locks in turn)"
BUILT_IN: Final = (
    NO_WARNING, NO_WILD, NO_USE_AFTER_FREE, NO_DOUBLE_FREE, NO_DEADLOCK, BALANCED, NO_SLEEP, NO_CORRUPTION, TERMINATES,
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A thread's return value, as an argument of a property: None while the thread runs, or if it returns None."""

    thread: str


@dataclass(frozen=True)
class Property:
    """A statement about states.

    kind: "always" (every state), "finally" (every state in which all threads have ended), "sometimes" (at least one
    state: nothing below holds vacuously), "eventually" (every weakly fair run reaches it), "monitor" (no thread ever
    yields `Warn(name)`).
    predicate: told the values of `over`, cells or results, in order.
    severity: MUST or TOLERATED. A tolerated property counts states for which the predicate is false; `measure`, if
    given, says how bad each is (the largest is reported).
    """

    name: str
    kind: str
    predicate: Callable[..., bool]
    over: tuple[Cell | Lock | ListHead | Result, ...] = ()
    severity: str = MUST
    measure: Callable[..., int] | None = None


def _true(*_: Any) -> bool:
    return True


def always(name: str, predicate: Callable[..., bool], *over: Cell | Lock | ListHead | Result) -> Property:
    """A predicate that holds in every reachable state."""
    return Property(name, "always", predicate, over)


def at_end(name: str, predicate: Callable[..., bool], *over: Cell | Lock | ListHead | Result) -> Property:
    """A predicate that holds in every state in which all threads have ended."""
    return Property(name, "finally", predicate, over)


def sometimes(name: str, predicate: Callable[..., bool], *over: Cell | Lock | ListHead | Result) -> Property:
    """A predicate that holds in at least one reachable state."""
    return Property(name, "sometimes", predicate, over)


def eventually(name: str, predicate: Callable[..., bool], *over: Cell | Lock | ListHead | Result) -> Property:
    """A predicate that every weakly fair run makes true at some point."""
    return Property(name, "eventually", predicate, over)


def monitor(name: str) -> Property:
    """No thread ever yields `Warn(name)`."""
    return Property(name, "monitor", _true)


def tolerated(
    name: str,
    predicate: Callable[..., bool],
    *over: Cell | Lock | ListHead | Result,
    measure: Callable[..., int] | None = None,
) -> Property:
    """Like `at_end`, but a state in which it fails is counted, not condemned."""
    return Property(name, "finally", predicate, over, TOLERATED, measure)


@dataclass(frozen=True)
class Thread:
    """`n` identical threads. `start` makes a fresh generator each time it is called; the world is already built.

    daemon: may be somewhere when all others have ended (a store buffer, a vCPU that runs for ever).
    cpu: threads with the same number share a CPU: one gives way to another only where it could be preempted.
    """

    name: str
    start: Callable[[], Step[Any]]
    n: int = 1
    daemon: bool = False
    cpu: int | None = None
    of: str = ""  # the group it was taken from (store buffers tell identical threads apart)


@dataclass(frozen=True)
class System:
    """A system to check. `about` is a sentence for people; `protocol` and `mmu` say what it was built for, if anything.

    exchange: the pages that are interchangeable, if any are.
    """

    name: str
    threads: tuple[Thread, ...]
    properties: tuple[Property, ...] = ()
    about: str = ""
    protocol: str = ""
    mmu: str = ""
    terminates: bool = True
    not_applicable: dict[str, str] = field(default_factory=dict)  # property name -> why
    exchange: Interchangeable | None = None

    def names(self) -> list[str]:
        """One name for each running thread: `vcpu`, or `ager-1`, `ager-2` where there are several."""
        return [t.name if t.n == 1 else f"{t.name}-{i + 1}" for t in self.threads for i in range(t.n)]

    def flat(self) -> list[Thread]:
        """One entry for each running thread."""
        return [t for t in self.threads for _ in range(t.n)]

    def validate(self) -> None:
        """Raises UsageError where the description contradicts itself."""
        names = [p.name for p in self.properties]
        if len(set(names)) < len(names) or set(names) & set(BUILT_IN):
            raise UsageError(f"{self.name}: two properties share a name", hint="names are how verdicts are told apart")
        known = {t.name for t in self.threads} | {t.of for t in self.threads} | set(self.names())
        if not self.threads:
            raise UsageError(f"{self.name} has no threads", hint="a system is a few threads over one world")
        for p in self.properties:
            for o in p.over:
                if isinstance(o, Result) and o.thread not in known:
                    raise UsageError(
                        f"{self.name}: property {p.name!r} asks for the result of {o.thread!r}",
                        hint=f"its threads are {', '.join(sorted(known))}",
                    )
