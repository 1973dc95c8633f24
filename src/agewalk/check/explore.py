"""Check a system: search, judge, and say what was found."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agewalk.check.automaton import Automata
from agewalk.check.evaluate import NOT_APPLICABLE, VIOLATED, Evaluation, Verdict
from agewalk.check.fast import Fast, fits
from agewalk.check.learn import Learner
from agewalk.check.liveness import judge
from agewalk.check.minimal import Minimal
from agewalk.check.search import UNBOUNDED, Bounds, Graph, Progress, Search
from agewalk.check.simulate import Path, Simulator
from agewalk.check.system import System

BOUNDED: Final = "bounded"
_FIRST_ROUND: Final = 1 << 15
_ROUND_GROWS: Final = 8


@dataclass(frozen=True)
class Outcome:
    """What a check found. verdict: "holds", "violated" or "bounded" (nothing found, but not all was seen).

    states, transitions, depth: of the search over minimal automata where all was seen, else of the learning search.
    seconds: of everything; search_seconds and search_cpu: of that one search. peak_bytes: of this process so far.
    """

    system: System
    verdict: str
    bound: str
    states: int
    transitions: int
    depth: int
    seconds: float
    search_seconds: float
    search_cpu: float
    bytes: int
    peak_bytes: int
    verdicts: tuple[Verdict, ...]
    path: Path | None
    automata: Automata
    graph: Graph

    def verdict_on(self, name: str) -> Verdict:
        """The verdict on one property. Raises KeyError."""
        for v in self.verdicts:
            if v.name == name:
                return v
        raise KeyError(name)

    def path_to(self, verdict: Verdict) -> Path | None:
        """The shortest path to the state that decides a verdict."""
        if verdict.state is None:
            return None
        moves = self.graph.path(verdict.state)
        simulator = Simulator(self.automata)
        outcome = f"{verdict.name}: {verdict.why}" if verdict.why not in {"", verdict.name} else verdict.name
        if verdict.loop:
            return simulator.path(
                [*moves, *verdict.loop], f"{outcome}; from here back to step {len(moves) + 1}", len(moves) + 1
            )
        return simulator.path(moves, "" if verdict.error is None and verdict.verdict != VIOLATED else outcome)


def check(
    system: System,
    bounds: Bounds = UNBOUNDED,
    *,
    stop_at_violation: bool = False,
    minimise: bool = True,
    reduce: bool = False,
    symmetric: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Explore all interleavings of a system and judge its properties.

    The automata are learnt, and every verdict and path comes from, an unreduced search. `minimise` then searches the
    minimal automata again, with `reduce` (partial order) and `symmetric` (identical threads) if asked: these counts are
    what `states` says. stop_at_violation: end at the first broken rule, after its level.
    """
    began = time.perf_counter()
    automata = Automata(system)
    learner = Learner(automata)

    def broken(search: Search) -> bool:
        return bool((search.first_error >= 0).any())

    graph = Search(learner).run(bounds, stop=broken if stop_at_violation else None, progress=progress)
    evaluation = Evaluation(graph, automata)
    verdicts = tuple(evaluation.all(judge(graph, evaluation) if graph.complete else {}))
    counted = graph
    if graph.complete and minimise:
        minimal = Minimal(automata, symmetric=symmetric)
        if fits(minimal) and not reduce:
            counted = Fast(minimal, expect=graph.count).run(progress=progress)
        else:
            counted = Search(minimal, reduce=reduce, expect=graph.count).run(progress=progress)
    violated = [v for v in verdicts if v.verdict == VIOLATED and (graph.complete or v.state is not None)]
    if not graph.complete:
        verdicts = tuple(_unsure(v) for v in verdicts)
    verdict = VIOLATED if violated else "holds" if graph.complete else BOUNDED
    outcome = Outcome(
        system, verdict, graph.bound, counted.count, counted.transitions, counted.depth, time.perf_counter() - began,
        counted.seconds, counted.cpu_seconds, max(counted.bytes, graph.bytes),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, verdicts, None, automata, graph,
    )  # fmt: skip
    shown = min((v for v in violated if v.state is not None), key=lambda v: v.length or 0, default=None)
    if shown is not None:
        object.__setattr__(outcome, "path", outcome.path_to(shown))
    return outcome


def _unsure(v: Verdict) -> Verdict:
    """A bounded search proves no absence: what it did not find is not known."""
    if v.verdict == VIOLATED and v.state is not None:
        return v
    if v.verdict == NOT_APPLICABLE or v.count:
        return v
    return Verdict(v.name, v.severity, BOUNDED, False, why="not all states were seen")


def reduced_graph(system: System, bounds: Bounds = UNBOUNDED) -> tuple[Graph, Automata]:
    """Search with partial-order reduction from the start, in rounds, for systems too large to see whole.

    Each round decides by what the rounds before it learnt, and counts anything new as touching everything; the last
    round is one in which nothing was learnt that could have decided otherwise (docs/check.md proves this enough).
    """
    automata = Automata(system)
    learner = Learner(automata)
    size = _FIRST_ROUND
    while True:
        learner.study()
        limit = size if bounds.states is None else min(size, bounds.states)
        graph = Search(learner, reduce=True).run(Bounds(limit, bounds.seconds, bounds.memory))
        if graph.complete and not learner.study():
            return graph, automata
        if not graph.complete and limit == bounds.states:
            return graph, automata
        if not graph.complete:
            size *= _ROUND_GROWS
