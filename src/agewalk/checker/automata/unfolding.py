"""Threads as automata, unfolded only where the search has been.

A node is a generator at a yield. An edge is labelled with the value of the one variable that the effect touches, and holds
all that the effect does: the new value, and the next node. The generator runs only to find the node behind a new answer.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final

from agewalk.checker.automata import lifetimes
from agewalk.checker.automata.continuations import Continuation
from agewalk.checker.automata.semantics import SILENT, Blocked, Broken, meaning, variable
from agewalk.checker.automata.shared_state import MEMORY, SharedState
from agewalk.checker.ghost import Ghost
from agewalk.checker.system import BALANCED, NO_DOUBLE_FREE, NO_SLEEP, NO_USE_AFTER_FREE, NO_WARNING, NO_WILD, System
from agewalk.core.effects import (
    Acquire,
    Again,
    Alloc,
    Choose,
    Effect,
    IsContended,
    PreemptDisable,
    PreemptEnable,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    SrcuReadLock,
    SrcuReadUnlock,
    Step,
    TryAcquire,
    Warn,
)
from agewalk.core.errors import ModelError, UsageError

UNKNOWN: Final = -1
BLOCKED: Final = -2
STEP, CHOICE, END, ERROR = range(4)  # kinds of node
_ENDLESS: Final = 100_000  # silent effects in a row
_WRAPPERS: Final = ("checker/ghost.py", "checker/automata/store_buffers.py")  # they hold a generator as `inner`
_ENTER: Final = (RcuReadLock, SrcuReadLock)
_LEAVE: Final = (RcuReadUnlock, SrcuReadUnlock)


@dataclass(frozen=True)
class Context:
    """The locks and read sections that a thread holds. It is known without looking at any cell."""

    held: tuple[tuple[Any, str], ...] = ()  # (lock, mode), oldest first
    sections: tuple[Any, ...] = ()  # read sections it is in, by domain, nested ones repeated
    preempt: int = 0

    @property
    def atomic(self) -> bool:
        """May it not be preempted?"""
        return self.preempt > 0 or any(not lock.sleeps for lock, _ in self.held)


class Node:
    """A thread before its next visible effect (STEP, CHOICE), ended (END) or stopped by a broken rule (ERROR).

    warned: (property, what happened) of rules that it has just broken, as a `Warn` says. It goes on then, as a kernel does.
    Behind an ERROR, such as a use of freed memory, it cannot go on.
    edges: (thread if the variable is the memory else 0, value id) -> (next node id | BLOCKED, id of the new value).
    """

    __slots__ = (
        "automaton", "behind", "context", "edges", "effect", "function", "ghost", "id", "kind", "line", "live", "property",
        "result", "target", "var", "via", "warned",
    )  # fmt: skip

    def __init__(self, ident: int, automaton: int, kind: int, context: Context) -> None:
        self.id = ident
        self.automaton = automaton
        self.kind = kind
        self.context = context
        self.effect: Effect | None = None
        self.var = -1
        self.target: Any = None  # canonical object of a lifetime effect, member of a list effect
        self.ghost = False
        self.function = ""
        self.line = 0
        self.property = ""  # ERROR: which property it violates
        self.result: Any = None  # END: what the thread returned; ERROR: what happened
        self.warned: tuple[tuple[str, str], ...] = ()
        self.edges: dict[tuple[int, int], tuple[int, int]] = {}
        self.behind: dict[Any, int] = {}  # answer -> next node
        self.via: tuple[int, Any] | None = None  # how a replay gets here
        self.live: _Run | None = None  # a generator that stands at this node, until one continues it

    @property
    def broken(self) -> tuple[tuple[str, str], ...]:
        """(property, what happened) of all rules that the thread has broken here."""
        return (*self.warned, (self.property, str(self.result))) if self.kind == ERROR else self.warned


def firmness(node: Node) -> int:
    """Can the thread be preempted here? 0 yes, 1 no, 2 unless it spins (it waits for a spinlock)."""
    if node.context.atomic:
        return 1
    return 2 if isinstance(node.effect, Acquire) and not node.effect.lock.sleeps else 0


@dataclass
class _Run:
    """A generator under way. local: the objects that it made itself (canonical id -> its own). warned: what its last steps
    warned of."""

    generator: Generator[Effect, Any, Any]
    local: dict[int, Any] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)


class Automata:
    """All automata of a system over one numbering of nodes; identical threads share one.

    unfolded: all edges, in the order in which they were unfolded.

    Raises ModelError when the model breaks the convention (an unknown effect, an endless silent loop).
    """

    def __init__(self, system: System, *, by_frames: bool = True) -> None:
        system.validate()
        self.system = system
        self.threads = system.flat()
        self.names = system.names()
        starts: list[Callable[[], Step[Any]]] = [t.start for t in system.threads]
        self.shared = SharedState(starts, [o for p in system.properties for o in p.over])
        self._continuation = Continuation(self.shared.key_of, self.shared.is_built) if by_frames else None
        self._by_key: dict[Any, int] = {}
        self.nodes: list[Node] = []
        self.unfolded: list[tuple[int, tuple[int, int]]] = []
        self._starts = starts
        self.automaton_of = [i for i, t in enumerate(system.threads) for _ in range(t.n)]
        self.roots = [self._root(i) for i in range(len(starts))]

    # --- unfolding ----------------------------------------------------------------------------------------------------

    def extend(self, ident: int, thread: int, value: int) -> None:
        """Fill in the edge of node `ident` for value id `value` of its variable, taken by `thread`."""
        node = self.nodes[ident]
        key = (thread if node.var == MEMORY else 0, value)
        if key in node.edges:
            return
        self.unfolded.append((ident, key))
        if node.kind == CHOICE:
            answer = value if isinstance(node.effect, Choose) else bool(value)
            node.edges[key] = (self._behind(node, answer), 0)
            return
        assert node.effect is not None
        found = self.shared.values[node.var][value]
        try:
            if node.var == MEMORY:
                base = self.shared.slab_base(node.effect.slab) if isinstance(node.effect, Alloc) else 0
                left, goes_on, answer = lifetimes.step(found, node.effect, thread, node.target, base)
                new_id = self.shared.value_id(MEMORY, left)
                node.edges[key] = (self._behind(node, answer) if goes_on else ident, new_id)
                if not goes_on and left == found:
                    node.edges[key] = (BLOCKED, value)
                return
            left, answer = meaning(node.effect, found, node.target)
        except Blocked:
            node.edges[key] = (BLOCKED, value)
            return
        except Broken as broken:
            node.edges[key] = (self._error(node, broken.args[0], broken.args[1]), value)
            return
        except lifetimes.DoubleFreeError as error:
            node.edges[key] = (self._error(node, NO_DOUBLE_FREE, str(error)), value)
            return
        node.edges[key] = (self._behind(node, answer), self.shared.value_id(node.var, left))

    def used_after_free(self, ident: int) -> int:
        """The error node that stands for `ident`'s effect meeting freed memory."""
        node = self.nodes[ident]
        name = self.shared.names[node.var]
        return self._error(node, NO_USE_AFTER_FREE, f"{name} used after it was freed")

    def choices(self, node: Node) -> int:
        """The number of answers that a CHOICE node has."""
        return node.effect.n if isinstance(node.effect, Choose) else 2

    def _root(self, automaton: int) -> int:
        run = _Run(self._starts[automaton]())
        if not hasattr(run.generator, "send"):
            raise UsageError(
                f"{self.system.name}: thread {self.system.threads[automaton].name!r} starts a "
                f"{type(run.generator).__name__}, not a generator",
                hint="`start` is a function that yields effects; one that never does is written `return; yield`",
            )
        return self._drive(automaton, run, None, Context(), None)

    def _behind(self, node: Node, answer: Any) -> int:
        key = self.shared.interned(answer)
        if key in node.behind:
            return node.behind[key]
        run = self._run_at(node)
        target = self._drive(node.automaton, run, answer, self._after(node, answer), (node.id, answer))
        node.behind[key] = target
        return target

    def _run_at(self, node: Node) -> _Run:
        if node.live is not None:
            run, node.live = node.live, None
            return run
        answers = []
        at = node
        while at.via is not None:
            parent, answer = at.via
            answers.append(answer)
            at = self.nodes[parent]
        run = _Run(self._starts[node.automaton]())
        effect = self._visible(run, None, Context())[0]
        context = Context()
        for answer in reversed(answers):
            effect, context, _ = self._visible(run, answer, context)
        if effect is None:
            raise ModelError(
                f"{self.system.name}: a generator ended sooner when replayed",
                hint="it keeps state outside its locals and cells: see the convention in agewalk.core.effects",
            )
        return run

    def _visible(self, run: _Run, answer: Any, context: Context) -> tuple[Effect | None, Context, Any]:
        """Send an answer and run on to the next effect that others can see; (None, context, result) at the end."""
        send = run.generator.send
        answer = self.shared.localised(answer, run.local)
        again: Any = None
        run.warned = []
        try:
            for _ in range(_ENDLESS):
                effect = send(answer)
                answer = None
                if isinstance(effect, Again):
                    again = effect.state
                elif isinstance(effect, SILENT):
                    pass
                elif isinstance(effect, Warn):
                    run.warned.append(effect.what)
                elif isinstance(effect, PreemptDisable):
                    context = Context(context.held, context.sections, context.preempt + 1)
                elif isinstance(effect, PreemptEnable):
                    context = Context(context.held, context.sections, context.preempt - 1)
                elif isinstance(effect, _ENTER) and lifetimes.domain_of(effect) in context.sections:
                    context = self._entered(context, effect)
                elif isinstance(effect, _LEAVE) and context.sections.count(lifetimes.domain_of(effect)) > 1:
                    context = self._left(context, effect)
                else:
                    return effect, context, again
        except StopIteration as stop:
            return None, context, stop.value
        raise ModelError(
            f"{self.system.name}: {_ENDLESS} silent effects in a row", hint="an endless loop without shared state"
        )

    def _drive(self, automaton: int, run: _Run, answer: Any, context: Context, via: tuple[int, Any] | None) -> int:
        try:
            effect, context, extra = self._visible(run, answer, context)
        except ModelError as error:
            return self._stopped(automaton, context, NO_WARNING, str(error), via, run=run)
        except Exception as error:  # the model itself fell over: a finding, with its place
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} in {where.name}(), line {where.lineno}"
            return self._stopped(automaton, context, NO_WILD, text, via, run=run)
        if effect is None:
            return self._ended(automaton, context, extra, via, run)
        ghost = isinstance(effect, Ghost)
        inner = effect.effect if isinstance(effect, Ghost) else effect
        function, line = _innermost(run.generator)
        if isinstance(inner, Acquire) and inner.lock.sleeps and (context.atomic or lifetimes.RCU in context.sections):
            what = f"sleeps on {inner.lock.name} in atomic context"
            return self._stopped(automaton, context, NO_SLEEP, what, via, run=run)
        if isinstance(inner, Release) and (self.shared.canonical(inner.lock), inner.mode) not in context.held:
            return self._stopped(automaton, context, BALANCED, f"{inner.lock.name} unlocked but not held", via, run=run)
        place = variable(inner)
        if place is not None:
            self.shared.adopt(place, run.local)
        key: Any = self._continuation.of(run.generator, effect) if self._continuation else None
        if key is None:
            key = ("again", extra) if extra is not None else ("via", via)
            key = (*key, type(inner).__name__, None if place is None else self.shared.key_of(place))
        warned = self._warned(run)
        key = (automaton, key, context.held, context.sections, context.preempt, warned)
        if key in self._by_key:
            return self._by_key[key]
        node = self._make(automaton, CHOICE if isinstance(inner, (Choose, IsContended)) else STEP, context, via)
        self._by_key[key] = node.id
        node.effect, node.function, node.line, node.live = inner, function, line, run
        node.warned, node.ghost = warned, ghost and not warned  # the state in which it has warned is one to stop in
        if isinstance(inner, lifetimes.LIFETIME):
            node.var = MEMORY
            victim = getattr(inner, "memory", None)
            node.target = None if victim is None else self.shared.mortal(victim, run.local)
        elif place is not None:
            node.var = self.shared.var_of(place)
            if hasattr(inner, "member"):
                node.target = self.shared.adopt(inner.member, run.local)
        return node.id

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _make(self, automaton: int, kind: int, context: Context, via: tuple[int, Any] | None) -> Node:
        node = Node(len(self.nodes), automaton, kind, context)
        node.via = via
        self.nodes.append(node)
        return node

    def _ended(self, automaton: int, context: Context, result: Any, via: tuple[int, Any] | None, run: _Run) -> int:
        if context.held or context.sections or context.preempt:
            held = [lock.name for lock, _ in context.held] + [f"{d} read section" for d in context.sections]
            return self._stopped(
                automaton, context, BALANCED, f"ended holding {held or 'preemption off'}", via, run=run
            )
        warned = self._warned(run)
        key = ("end", automaton, self.shared.interned(result), warned)
        if key not in self._by_key:
            node = self._make(automaton, END, context, via)
            node.result, node.warned = result, warned
            self._by_key[key] = node.id
        return self._by_key[key]

    def _error(self, node: Node, name: str, what: str) -> int:
        return self._stopped(node.automaton, node.context, name, what, None, function=node.function)

    def _stopped(
        self,
        automaton: int,
        context: Context,
        name: str,
        what: str,
        via: tuple[int, Any] | None,
        *,
        function: str = "",
        run: _Run | None = None,
    ) -> int:
        warned = self._warned(run) if run is not None else ()
        key = ("error", automaton, name, what, warned)
        if key not in self._by_key:
            node = self._make(automaton, ERROR, context, via)
            node.property, node.result, node.function, node.warned = name, what, function, warned
            self._by_key[key] = node.id
        return self._by_key[key]

    def _warned(self, run: _Run) -> tuple[tuple[str, str], ...]:
        """The rules that a run has just broken by `Warn`: the property of that name, else NO_WARNING, and the text."""
        if not run.warned:
            return ()
        names = {p.name for p in self.system.properties}
        return tuple((what if what in names else NO_WARNING, what) for what in dict.fromkeys(run.warned))

    def _after(self, node: Node, answer: Any) -> Context:
        """The thread's context after `node`'s effect."""
        context, effect = node.context, node.effect
        if isinstance(effect, Acquire) or (isinstance(effect, TryAcquire) and answer):
            lock = self.shared.canonical(effect.lock)
            return Context((*context.held, (lock, effect.mode)), context.sections, context.preempt)
        if isinstance(effect, Release):
            held = list(context.held)
            held.remove((self.shared.canonical(effect.lock), effect.mode))
            return Context(tuple(held), context.sections, context.preempt)
        if isinstance(effect, _ENTER):
            return self._entered(context, effect)
        return self._left(context, effect) if isinstance(effect, _LEAVE) else context

    def _entered(self, context: Context, effect: Effect) -> Context:
        return Context(context.held, (*context.sections, lifetimes.domain_of(effect)), context.preempt)

    def _left(self, context: Context, effect: Effect) -> Context:
        sections = list(context.sections)
        if lifetimes.domain_of(effect) in sections:
            sections.remove(lifetimes.domain_of(effect))
        return Context(context.held, tuple(sections), context.preempt)


def _innermost(generator: Any) -> tuple[str, int]:
    """Name and line of the function that yields: through `yield from`, and through wrappers that hold it as `inner`."""
    at: Any = generator
    yields: Any = generator
    while getattr(at, "gi_frame", None) is not None:
        if not at.gi_code.co_filename.endswith(_WRAPPERS):
            yields = at
        inner = at.gi_yieldfrom
        at = at.gi_frame.f_locals.get("inner") if inner is None else inner
    return yields.__name__, yields.gi_frame.f_lineno
