"""Check a system: search, judge, and say what was found."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.liveness import judge
from agewalk.checker.reduction.partial_order import Footprints
from agewalk.checker.reduction.symmetry import Asymmetric
from agewalk.checker.search.bfs import UNBOUNDED, Bounds, Graph, Progress, Search
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.search.real_path import real_moves
from agewalk.checker.search.simulate import Path, Simulator
from agewalk.checker.system import TERMINATES, System
from agewalk.checker.verdicts import BOUNDED, VIOLATED, Evaluation, Verdict
from agewalk.core.userfile import users_code

_FIRST_ROUND: Final = 1 << 15
_ROUND_GROWS: Final = 8


@dataclass(frozen=True)
class Outcome:
    """What a check found. verdict: "holds", "violated" or "bounded" (nothing found, but not all was seen).

    states, transitions, depth: of the search over minimal automata if all was seen without reduction, else of the search that
    decides. seconds: of everything; search_seconds, search_cpu: of the search that these counts are of. peak_bytes: of this
    process so far. note: what was not exchanged although that was asked for, and why.
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
    note: str = ""

    def verdict_on(self, name: str) -> Verdict:
        """The verdict on one property. Raises KeyError."""
        for v in self.verdicts:
            if v.name == name:
                return v
        raise KeyError(name)

    def path_to(self, verdict: Verdict) -> Path | None:
        """The path to the state that decides a verdict: the shortest, unless partial order was used to leave some out."""
        if verdict.state is None:
            return None
        moves = real_moves(self.graph, verdict.state, verdict.element)
        simulator = Simulator(self.automata)
        outcome = f"{verdict.name}: {verdict.why}" if verdict.why not in {"", verdict.name} else verdict.name
        if verdict.loop:
            return simulator.path(
                [*moves, *verdict.loop], f"{outcome}; from here back to step {len(moves) + 1}", len(moves) + 1
            )
        return simulator.path(moves, "" if verdict.error is None and verdict.verdict != VIOLATED else outcome)


@users_code()
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

    The automata are unfolded by the search that every verdict and path comes from. reduce: by partial order, from the start;
    symmetric: with identical threads, and pages that are interchangeable, exchanged from the start. Both are for systems too
    large to see whole, and leave liveness undecided unless no thread can go round. minimise: after an unreduced search, search
    the minimal automata again: these counts are what `states` then says. stop_at_violation: end at the first broken rule,
    after its level.
    """
    began = time.perf_counter()
    found = explored(
        system, bounds, reduce=reduce, symmetric=symmetric, stop_at_violation=stop_at_violation, progress=progress
    )
    graph, automata = found.graph, found.automata
    evaluation = Evaluation(graph, automata)
    whole = graph.complete and not (reduce or symmetric)
    undecided = frozenset() if whole or not graph.complete else _liveness_left(automata)
    verdicts = tuple(evaluation.all(judge(graph, evaluation) if whole else {}, undecided))
    counted = graph
    if whole and minimise:
        minimal = Minimal(automata)
        counted = Search(minimal, expect=graph.count).run(progress=progress)
    violated = [v for v in verdicts if v.verdict == VIOLATED]
    open_ = any(v.verdict == BOUNDED for v in verdicts)
    verdict = VIOLATED if violated else "holds" if graph.complete and not open_ else BOUNDED
    outcome = Outcome(
        system, verdict, graph.bound, counted.count, counted.transitions, counted.depth, time.perf_counter() - began,
        counted.seconds, counted.cpu_seconds, max(counted.bytes, graph.bytes),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, verdicts, None, automata, graph, found.note,
    )  # fmt: skip
    shown = min((v for v in violated if v.state is not None), key=lambda v: v.length or 0, default=None)
    if shown is not None:
        object.__setattr__(outcome, "path", outcome.path_to(shown))
    return outcome


def _liveness_left(automata: Automata) -> frozenset[str]:
    """What a reduced search does not decide: liveness, unless no thread can come round, so that every run ends."""
    system = automata.system
    left = {p.name for p in system.properties if p.kind == "eventually"}
    if system.terminates and Footprints(automata).cyclic:
        left.add(TERMINATES)
    return frozenset(left)


@dataclass(frozen=True)
class Explored:
    """A search that unfolded the automata. note: what was not exchanged though that was asked for, and why."""

    graph: Graph
    automata: Automata
    note: str = ""


def explored(
    system: System,
    bounds: Bounds = UNBOUNDED,
    *,
    reduce: bool = False,
    symmetric: bool = False,
    stop_at_violation: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Explored:
    """Learn the automata of a system by searching it, whole or reduced.

    Where the pages turn out not to be interchangeable, the search begins again without exchanging them.
    """
    stop = _broken if stop_at_violation else None
    try:
        automata = Automata(system)
        source = OnTheFly(automata, symmetric=symmetric)
        note = "nothing was exchanged: threads share a CPU" if symmetric and source.cpus else ""
        if reduce:
            return Explored(_rounds(source, bounds, stop, progress), automata, note)
        return Explored(Search(source).run(bounds, stop=stop, progress=progress), automata, note)
    except Asymmetric as reason:
        again = explored(
            replace(system, exchange=None), bounds, reduce=reduce, symmetric=symmetric,
            stop_at_violation=stop_at_violation, progress=progress,
        )  # fmt: skip
        return replace(again, note=f"pages were not exchanged: {reason}")


def _broken(search: Search) -> bool:
    return bool((search.first_error >= 0).any())


def _rounds(
    source: OnTheFly,
    bounds: Bounds,
    stop: Callable[[Search], bool] | None,
    progress: Callable[[Progress], None] | None,
) -> Graph:
    """Search with partial-order reduction from the start, in rounds.

    Each round decides by what the rounds before it unfolded, and counts anything new as touching everything; the last
    round is one in which nothing was unfolded that could have decided otherwise (docs/check.md proves this enough).
    """
    began = time.perf_counter()
    size = _FIRST_ROUND
    while True:
        source.study()
        limit = size if bounds.states is None else min(size, bounds.states)
        left = None if bounds.seconds is None else max(0.0, bounds.seconds - (time.perf_counter() - began))
        graph = Search(source, reduce=True).run(Bounds(limit, left, bounds.memory), stop=stop, progress=progress)
        if graph.complete and not source.study():
            return graph
        own_limit = graph.bound == f"{limit} states" and limit != bounds.states
        if not graph.complete and not own_limit:
            if left is not None and graph.bound == f"{left:g} s":
                graph.bound = f"{bounds.seconds:g} s"
            return graph
        if not graph.complete:
            size *= _ROUND_GROWS


def reduced_graph(system: System, bounds: Bounds = UNBOUNDED, *, symmetric: bool = False) -> tuple[Graph, Automata]:
    """Search with partial-order reduction from the start, for systems too large to see whole."""
    found = explored(system, bounds, reduce=True, symmetric=symmetric)
    return found.graph, found.automata
