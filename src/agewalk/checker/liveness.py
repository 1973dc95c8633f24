"""Liveness: does every weakly fair run reach a state? In a weakly fair run, no thread is able to go on for ever and never does.

A run that never reaches it ends (or dead-locks), or stays in a strongly connected component of the states outside. It can stay
there fairly iff each thread takes steps inside the component or cannot go on in one of its states; a run through all of the
component is then such a run. Kernel locks are queues: a thread that waits for one gets it, if it could have had it again and
again. So the states in which it could are taken out of a component that never serves it, and the rest is judged again (strong
fairness, for locks alone). A bit lock that is taken by cmpxchg has no queue.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agewalk.checker.automata.unfolding import END
from agewalk.checker.search import cycles_numba
from agewalk.checker.search.bfs import Graph
from agewalk.checker.search.bfs_numba import F_DEADLOCK, F_ERROR, F_TERMINAL, States
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.system import TERMINATES
from agewalk.checker.verdicts import Evaluation
from agewalk.core.effects import Acquire

Lasso = tuple[int, list[tuple[int, int]]]  # (a state, moves that lead from it back to it)


class Liveness:
    """The transitions of a finished, unreduced search."""

    def __init__(self, graph: Graph) -> None:
        n = graph.count
        self.graph = graph
        self.start = np.zeros(n + 1, np.int64)
        self.target = np.zeros(graph.transitions, np.int32)
        self.move = np.zeros(graph.transitions, np.uint8)
        states = States(graph.states, graph.parents, graph.moves, graph.flags, graph.first_error, graph.table)
        cycles_numba.edges(graph.source.model(graph.layout), states, n, self.start, self.target, self.move)

    def reach(self, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """States that can be reached from the start through states `inside` alone."""
        seen = np.zeros(len(inside), np.bool_)
        if not inside[0]:
            return seen
        seen[0] = True
        todo = np.array([0])
        while len(todo):
            counts = self.start[todo + 1] - self.start[todo]
            rows = (
                np.repeat(self.start[todo], counts)
                + np.arange(counts.sum())
                - np.repeat(np.cumsum(counts) - counts, counts)
            )
            next_ = np.unique(self.target[rows])
            todo = next_[inside[next_] & ~seen[next_]]
            seen[todo] = True
        return seen

    def escape(self, there: NDArray[np.bool_], *, ends_count: bool) -> Lasso | None:
        """A fair run that is never `there`: a state and a cycle back to it (empty: the run ends in that state)."""
        n = self.graph.count
        inside = self.reach(~there)
        flags = self.graph.flags[:n]
        if ends_count:
            ends = np.flatnonzero(inside & ((flags & (F_TERMINAL | F_DEADLOCK)) != 0))
            if len(ends):
                return int(ends[0]), []
        inside &= (flags & F_ERROR) == 0
        able = np.zeros(n, np.int64)
        cycles_numba.able_threads(n, self.start, self.move, able)
        threads = len(self.graph.source.automaton_of)
        while True:
            component = np.zeros(n, np.int64)
            count = cycles_numba.components(n, self.start, self.target, inside, component)
            runs, can, rests = (np.zeros((count, threads), np.uint8) for _ in range(3))
            loops = np.zeros(count, np.uint8)
            cycles_numba.fairness(
                n, self.start, self.target, self.move, component, able, threads, runs, can, rests, loops
            )
            dropped = False
            for c in np.flatnonzero(loops):
                starved = [t for t in range(threads) if not runs[c, t]]
                if any(not rests[c, t] for t in starved):
                    continue  # a thread could always go on: no part of the component is fair
                states = np.flatnonzero(component == c)
                queued = [t for t in starved if can[c, t] and self._queues(t, int(states[0]))]
                if not queued:
                    return int(states[0]), self._round(int(states[0]), component, runs[c])
                for t in queued:  # without the states in which the lock would have been its own
                    inside[states[(able[states] >> t & 1) == 1]] = False
                dropped = True
            if not dropped:
                return None

    def _queues(self, thread: int, state: int) -> bool:
        """Does it wait for a lock that is handed on in turn (qspinlock, qrwlock, mutex, rwsem)?"""
        source = self.graph.source
        assert isinstance(source, OnTheFly)
        field = self.graph.layout.column(self.graph.states[state : state + 1], thread)
        return isinstance(source.automata.nodes[int(field[0])].effect, Acquire)

    def _round(self, first: int, component: NDArray[np.int64], runs: Any) -> list[tuple[int, int]]:
        """Moves from `first` back to it inside its component, with a step by every thread that has one there."""
        due = {t for t in range(len(runs)) if runs[t]}
        at, moves = first, []
        while due:
            at, found = self._nearest(at, component, lambda _, t, due=frozenset(due): t in due)
            moves += found
            due -= {t for t, _ in found}
        if at != first:
            moves += self._nearest(at, component, lambda s, _: s == first)[1]
        return moves

    def _nearest(self, start: int, component: NDArray[np.int64], wanted: Any) -> tuple[int, list[tuple[int, int]]]:
        """A shortest path inside `start`'s component whose last step is wanted(target state, thread).

        Returns its last state and its moves, (thread, choice) each.
        """
        came: dict[int, tuple[int, tuple[int, int]]] = {}
        todo = deque([start])
        while todo:
            s = todo.popleft()
            for e in range(self.start[s], self.start[s + 1]):
                t, target = int(self.move[e]) >> 4, int(self.target[e])
                if component[target] != component[start]:
                    continue
                move = (t, int(self.move[e]) & 15)
                if wanted(target, t):
                    path = [move]
                    while s != start:
                        s, move = came[s]
                        path.append(move)
                    return target, path[::-1]
                if target not in came and target != start:
                    came[target] = (s, move)
                    todo.append(target)
        raise AssertionError("a component is strongly connected")


def judge(graph: Graph, evaluation: Evaluation) -> dict[str, Lasso | None]:
    """Every `eventually` of the system, and that all threads end."""
    source = graph.source
    assert isinstance(source, OnTheFly)
    system = source.system
    eventually = [p for p in system.properties if p.kind == "eventually" and p.name not in system.not_applicable]
    source.study()
    if not source.cyclic and not eventually:
        return {}  # no thread can come round: every run ends
    live = Liveness(graph)
    found: dict[str, Lasso | None] = {}
    for p in eventually:
        found[p.name] = live.escape(evaluation.truth(p), ends_count=True)
    if system.terminates:
        done = np.ones(graph.count, np.bool_)
        kind = source.tables.kind
        for i, thread in enumerate(evaluation.automata.threads):
            if not thread.daemon:
                done &= kind[graph.column(i)] == END
        found[TERMINATES] = live.escape(done, ends_count=False)
    return found
