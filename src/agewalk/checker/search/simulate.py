"""One interleaving at a time, in plain Python: replays, random walks, counterexamples.

It shares the automata with the search, but none of the compiled code; what both reach must agree.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agewalk.checker.automata.semantics import show
from agewalk.checker.automata.shared_state import MEMORY
from agewalk.checker.automata.unfolding import CHOICE, END, ERROR, STEP, Automata, Node, firmness
from agewalk.core.errors import InputError


@dataclass(frozen=True)
class State:
    """Node of each thread, value id of each variable, thread that runs on each CPU."""

    nodes: tuple[int, ...]
    values: tuple[int, ...]
    running: tuple[int, ...]


@dataclass(frozen=True)
class PathStep:
    """One step of a path, as people read it.

    value: what was found there. changed: (variable, before, after). held: locks of this thread before the step.
    """

    number: int
    thread: int
    name: str
    function: str
    line: int
    effect: str
    cell: str
    value: str
    changed: tuple[tuple[str, str, str], ...]
    held: tuple[str, ...]
    choice: int


@dataclass(frozen=True)
class Path:
    """Steps from the start, what happened at the end, and the string that replays it."""

    system: str
    threads: tuple[str, ...]
    steps: tuple[PathStep, ...]
    outcome: str
    loop: int | None = None  # liveness: the path goes back to the state before this step, for ever

    @property
    def replay(self) -> str:
        """`SYSTEM:0.1.1c1`: thread of each step, and `cN` behind it for the N-th answer of a choice."""
        moves = [f"{s.thread}c{s.choice}" if s.choice else str(s.thread) for s in self.steps]
        return f"{self.system}:{'.'.join(moves)}"


class Simulator:
    """Steps through a system's states."""

    def __init__(self, automata: Automata) -> None:
        self.automata = automata
        self.shared = automata.shared
        cpus = sorted({t.cpu for t in automata.threads if t.cpu is not None})
        self._cpu_of = [None if t.cpu is None else cpus.index(t.cpu) for t in automata.threads]
        self._cpus = len(cpus)

    def start(self) -> State:
        """The state before the first step."""
        roots = tuple(self.automata.roots[a] for a in self.automata.automaton_of)
        return State(roots, (0,) * len(self.shared.values), (-1,) * self._cpus)

    def value(self, state: State, var: int) -> Any:
        """The value of a variable."""
        return self.shared.values[var][state.values[var] if var < len(state.values) else 0]

    def node(self, state: State, thread: int) -> Node:
        """The node of a thread."""
        return self.automata.nodes[state.nodes[thread]]

    def stopped(self, state: State) -> Node | None:
        """The first thread's node that broke a rule behind which it cannot go on, if one did."""
        return next((n for t in range(len(state.nodes)) if (n := self.node(state, t)).kind == ERROR), None)

    def ended(self, state: State) -> bool:
        """Have all threads ended that ever do?"""
        return all(t.daemon or self.node(state, i).kind == END for i, t in enumerate(self.automata.threads))

    def moves(self, state: State) -> list[tuple[int, int]]:
        """All (thread, choice) that can be taken."""
        found = []
        for t in range(len(state.nodes)):
            node = self.node(state, t)
            if node.kind in {END, ERROR} or not self._may_run(state, t):
                continue
            n = self.automata.choices(node) if node.kind == CHOICE else 1
            found += [(t, c) for c in range(n) if self.take(state, t, c) is not None]
        return found

    def _may_run(self, state: State, t: int) -> bool:
        cpu = self._cpu_of[t]
        if cpu is None or state.running[cpu] in {-1, t}:
            return True
        running = state.running[cpu]
        node = self.node(state, running)
        firm = firmness(node)
        return firm == 0 or node.kind == END or (firm == 2 and self.take(state, running, 0) is not None)

    def take(self, state: State, t: int, choice: int) -> State | None:
        """The state after thread t's next step, ghost steps included; None if it has to wait."""
        nodes, values = list(state.nodes), list(state.values)
        values += [0] * (len(self.shared.values) - len(values))
        first = True
        while True:
            node = self.automata.nodes[nodes[t]]
            if node.kind == CHOICE:
                key = (0, choice)
            else:
                owner = self.shared.owner_of(node.var) if node.var != MEMORY else None
                if owner is not None and owner in self.shared.values[MEMORY][values[MEMORY]].freed:
                    nodes[t] = self.automata.used_after_free(node.id)
                    break
                key = (t if node.var == MEMORY else 0, values[node.var])
            self.automata.extend(node.id, *key)
            target, left = node.edges[key]
            if target < 0:
                if first:
                    return None
                break
            values += [0] * (len(self.shared.values) - len(values))
            if node.kind != CHOICE:
                values[node.var] = left
            nodes[t] = target
            first = False
            behind = self.automata.nodes[target]
            if not behind.ghost or behind.kind != STEP:
                break
        cpu = self._cpu_of[t]
        running = state.running if cpu is None else (*state.running[:cpu], t, *state.running[cpu + 1 :])
        values += [0] * (len(self.shared.values) - len(values))
        return State(tuple(nodes), tuple(values), running)

    # --- paths --------------------------------------------------------------------------------------------------------

    def path(self, moves: Iterable[tuple[int, int]], outcome: str = "", loop: int | None = None) -> Path:
        """Follow moves from the start and say what each did. Raises InputError where one cannot be taken."""
        state, steps = self.start(), []
        broken = [text for t in range(len(state.nodes)) for text in _told(self.node(state, t))]
        for number, (t, choice) in enumerate(moves, 1):
            if t >= len(state.nodes):
                raise InputError(
                    f"step {number}: there is no thread {t}", hint="the replay string is of another system"
                )
            after = self.take(state, t, choice) if self.node(state, t).kind in {STEP, CHOICE} else None
            if after is None:
                raise InputError(
                    f"step {number}: {self.automata.names[t]} cannot go on here",
                    hint="the replay string is of another system, or of another version of this one",
                )
            steps.append(self._describe(number, state, after, t, choice))
            state = after
            broken += _told(self.node(state, t))
        if not outcome:
            here = any(self.node(state, t).broken for t in range(len(state.nodes)))
            outcome = "; ".join(dict.fromkeys([*broken, *([] if here else [self._standing(state)])]))
        names = tuple(self.automata.names)
        return Path(self.automata.system.name, names, tuple(steps), outcome, loop)

    def _standing(self, state: State) -> str:
        if self.ended(state):
            return "all threads ended: " + ", ".join(
                f"{name} returned {show(self.node(state, i).result)}"
                for i, name in enumerate(self.automata.names)
                if self.node(state, i).kind == END
            )
        if not self.moves(state):
            waits = [
                f"{n} waits in {self.node(state, i).function}() for {self.shared.names[self.node(state, i).var]}"
                for i, n in enumerate(self.automata.names)
                if self.node(state, i).kind == STEP
            ]
            return "deadlock: " + "; ".join(waits)
        return "the threads go on"

    def _describe(self, number: int, before: State, after: State, t: int, choice: int) -> PathStep:
        node = self.node(before, t)
        changed = tuple(
            (self.shared.names[v], self._show(before, v), self._show(after, v))
            for v in range(len(after.values))
            if self.value(before, v) != self.value(after, v) and self._show(before, v) != self._show(after, v)
        )
        return PathStep(
            number, t, self.automata.names[t], node.function, node.line, describe(node),
            "" if node.var <= 0 else self.shared.names[node.var],
            str(choice) if node.kind == CHOICE else "" if node.var <= 0 else self._show(before, node.var),
            changed, tuple(f"{lock.name} ({mode})" for lock, mode in node.context.held), choice,
        )  # fmt: skip

    def _show(self, state: State, var: int) -> str:
        value = self.value(state, var)
        return value.text() if var == MEMORY else show(value)

    # --- random walks -------------------------------------------------------------------------------------------------

    def walk(self, seed: int, longest: int = 100_000) -> tuple[list[tuple[int, int]], State]:
        """Take random steps until no thread can go on or a rule is broken. Returns the moves and the last state."""
        choose = random.Random(seed)
        state, taken = self.start(), []
        for _ in range(longest):
            moves = self.moves(state) if self.stopped(state) is None else []
            if not moves:
                break
            move = choose.choice(moves)
            after = self.take(state, *move)
            assert after is not None
            taken.append(move)
            state = after
        return taken, state

    def outcome(self, state: State) -> tuple[Any, ...]:
        """The visible part of a state that is an end: results or broken rules of the threads, and the cells."""
        threads = tuple(
            (n.kind, n.property, show(n.result)) for t in range(len(state.nodes)) if (n := self.node(state, t))
        )
        cells = tuple(
            (self.shared.names[v], self._show(state, v))
            for v in range(1, len(self.shared.values))
            if self.value(state, v) != self.shared.values[v][0]
        )
        return threads, cells


def _told(node: Node) -> list[str]:
    """The rules that a thread has broken at a node, and what happened."""
    return [name if name == what else f"{name}: {what}" for name, what in node.broken]


def describe(node: Node) -> str:
    """An effect without the cell's name: `CompareExchange 0x100 -> 0x0`."""
    effect = node.effect
    if effect is None:
        return ""
    kind = type(effect).__name__
    parts = []
    for slot in (
        "what",
        "mode",
        "mask",
        "want",
        "operand",
        "expected",
        "new",
        "value",
        "member",
        "memory",
        "domain",
        "slab",
        "change",
    ):
        if hasattr(effect, slot):
            found = getattr(effect, slot)
            name = getattr(found, "__name__", None)
            parts.append(
                f"~{show(~found)}"
                if slot == "operand" and isinstance(found, int) and found < 0
                else name or show(found)
            )
    order = getattr(effect, "order", "once")
    tail = f" ({order})" if order not in {"once", "full"} else ""
    return f"{kind} {' -> '.join(parts)}".strip() + tail


def parse_replay(text: str) -> tuple[str, Sequence[tuple[int, int]]]:
    """(system, moves) of a replay string. Raises InputError."""
    system, _, rest = text.rpartition(":")
    if not system:
        raise InputError(f"{text!r} names no system", hint="as in 'age-vs-zap/v7/nested:0.1.1c1.0'")
    moves = []
    for part in rest.split(".") if rest else []:
        thread, _, choice = part.partition("c")
        if not thread.isdigit() or (choice and not choice.isdigit()):
            raise InputError(f"{part!r} is no step of a replay string", hint="as in 'age-vs-zap/v7/nested:0.1.1c1.0'")
        moves.append((int(thread), int(choice or 0)))
    return system, moves
