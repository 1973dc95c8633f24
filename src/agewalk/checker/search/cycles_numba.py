"""The compiled part of liveness: all transitions of a finished search, and the components that a run can stay in."""

from __future__ import annotations

from typing import Any

import numpy as np

from agewalk.checker.jit import compiled
from agewalk.checker.search.bfs_numba import PREFETCHED, Model, States, SuccessorBuffer, look_up, prefetch, successors


@compiled()
def edges(model: Model, states: States, n: int, start: Any, target: Any, move: Any) -> None:
    """All transitions, sorted by state: those of state i are start[i] .. start[i + 1] - 1."""
    size = max(1024, model.fan)
    batch = SuccessorBuffer(
        np.empty((size, states.rows.shape[1]), np.uint64), np.empty(size, np.uint8), np.empty(size, np.int64),
        np.empty(size, np.uint64),
    )  # fmt: skip
    missing = np.empty((1, 3), np.int64)
    ctl = np.zeros(8, np.int64)
    pos, at = 0, 0
    start[:] = 0
    while pos < n:
        pos, made = successors(model, states.rows, states.flags, pos, n, -1, True, batch, 0, missing, ctl)
        ctl[PREFETCHED] = prefetch(states, batch, made)
        for k in range(made):
            target[at] = look_up(states.rows, states.table, batch.rows, k, batch.hashes[k])
            move[at] = batch.moves[k]
            start[batch.parents[k] + 1] += 1
            at += 1
    for i in range(n):
        start[i + 1] += start[i]


@compiled()
def components(n: int, start: Any, target: Any, inside: Any, component: Any) -> int:
    """Tarjan's strongly connected components of the states marked `inside`; how many. Others get -1."""
    low = np.full(n, -1, np.int64)
    order = np.full(n, -1, np.int64)
    on_stack = np.zeros(n, np.uint8)
    stack = np.empty(n, np.int64)
    call = np.empty(n, np.int64)
    edge = np.empty(n, np.int64)
    top = 0
    counter = 0
    found = 0
    for i in range(n):
        component[i] = -1
    for root in range(n):
        if not inside[root] or order[root] >= 0:
            continue
        depth = 0
        call[0] = root
        edge[root] = start[root]
        order[root] = low[root] = counter
        counter += 1
        stack[top] = root
        top += 1
        on_stack[root] = 1
        while depth >= 0:
            v = call[depth]
            if edge[v] < start[v + 1]:
                w = target[edge[v]]
                edge[v] += 1
                if not inside[w]:
                    continue
                if order[w] < 0:
                    order[w] = low[w] = counter
                    counter += 1
                    stack[top] = w
                    top += 1
                    on_stack[w] = 1
                    edge[w] = start[w]
                    depth += 1
                    call[depth] = w
                elif on_stack[w]:
                    low[v] = min(low[v], order[w])
                continue
            if low[v] == order[v]:
                while True:
                    top -= 1
                    w = stack[top]
                    on_stack[w] = 0
                    component[w] = found
                    if w == v:
                        break
                found += 1
            depth -= 1
            if depth >= 0:
                low[call[depth]] = min(low[call[depth]], low[v])
    return found


@compiled()
def able_threads(n: int, start: Any, move: Any, able: Any) -> None:
    """For each state, the threads that can take a step, as a mask."""
    for i in range(n):
        mask = 0
        for e in range(start[i], start[i + 1]):
            mask |= 1 << (move[e] >> 4)
        able[i] = mask


@compiled()
def fairness(
    n: int, start: Any, target: Any, move: Any, component: Any, able: Any, threads: int, runs: Any, can: Any, rests: Any,
    loops: Any,
) -> None:  # fmt: skip
    """For each component and thread: does it take a step inside (`runs`), can it in some state (`can`), can it not in some
    (`rests`); and does the component hold a cycle at all (`loops`)?"""
    for i in range(n):
        c = component[i]
        if c < 0:
            continue
        for e in range(start[i], start[i + 1]):
            if component[target[e]] == c:
                runs[c, move[e] >> 4] = 1
                loops[c] = 1
        for t in range(threads):
            if able[i] >> t & 1:
                can[c, t] = 1
            else:
                rests[c, t] = 1
