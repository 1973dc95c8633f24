"""The compiled part of symmetry: what exchanging threads and pages makes of a state.

sym is (perms, which, memory_of, nodes, moved, start, value_of, back). Element p of the group sends thread t to perms[p, t];
back[p] is the inverse. Where which[p] = s >= 0 it exchanges pages: node n becomes nodes[s, n], and each field moved[s, i, 0]
goes to field moved[s, i, 1], with value v called value_of[start[s, i] + v]. The memory's value m becomes memory_of[p, m].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agewalk.checker.jit import compiled


@compiled(inline="always")
def get(row: Any, lay: Any, f: int) -> Any:
    """Field f of a state."""
    return np.int64((row[lay[0][f]] >> lay[1][f]) & lay[2][f])


@compiled(inline="always")
def put(row: Any, lay: Any, f: int, value: Any) -> None:
    """Set field f of a state."""
    w = lay[0][f]
    row[w] = (row[w] & ~(lay[2][f] << lay[1][f])) | (np.uint64(value) << lay[1][f])


@compiled()
def image(row: Any, words: int, lay: Any, offset: Any, sym: Any, memory: int, p: int, out: Any) -> None:
    """Write what element p makes of a state to `out`."""
    perms, which, memory_of, nodes, moved, start, value_of, _ = sym
    for w in range(words):
        out[w] = row[w]
    s = which[p]
    for t in range(perms.shape[1]):
        node = get(row, lay, t)
        if s >= 0:
            node = nodes[s, node + offset[t]] - offset[perms[p, t]]
        put(out, lay, perms[p, t], node)
    put(out, lay, memory, memory_of[p, get(row, lay, memory)])
    if s >= 0:
        for i in range(moved.shape[1]):
            f = moved[s, i, 0]
            if f < 0:
                break
            put(out, lay, moved[s, i, 1], value_of[start[s, i] + get(row, lay, f)])


@compiled(inline="always")
def less(a: Any, b: Any, words: int) -> int:
    """-1, 0 or 1 as state a is before b, equal, or after."""
    for w in range(words):
        if a[w] < b[w]:
            return -1
        if a[w] > b[w]:
            return 1
    return 0


@compiled()
def canonical(row: Any, words: int, lay: Any, offset: Any, sym: Any, memory: int) -> None:
    """Replace a state by the least of all that the group makes of it.

    Fields are packed from the first bit of the first word on, so the thread fields decide first: few images are ever built.
    """
    which, nodes, back = sym[1], sym[3], sym[7]
    threads = back.shape[1]
    best = row[:words].copy()
    other = np.empty(words, np.uint64)
    first = np.empty(threads, np.int64)
    for t in range(threads):
        first[t] = get(row, lay, t)
    for p in range(back.shape[0]):
        s = which[p]
        order = 0
        for f in range(threads):
            t = back[p, f]
            node = get(row, lay, t)
            if s >= 0:
                node = nodes[s, node + offset[t]] - offset[f]
            if node != first[f]:
                order = -1 if node < first[f] else 1
                break
        if order > 0:
            continue
        image(row, words, lay, offset, sym, memory, p, other)
        if less(other, best, words) < 0:
            best[:] = other
            for t in range(threads):
                first[t] = get(best, lay, t)
    row[:words] = best


@compiled()
def orbits(states: Any, n: int, lay: Any, offset: Any, sym: Any, memory: int, sizes: Any) -> None:
    """How many different states the group makes of each state."""
    words = states.shape[1]
    size = sym[0].shape[0] + 1
    all_of = np.empty((size, words), np.uint64)
    for i in range(n):
        all_of[0] = states[i]
        count = 1
        for p in range(size - 1):
            image(states[i], words, lay, offset, sym, memory, p, all_of[count])
            fresh = 1
            for k in range(count):
                if less(all_of[k], all_of[count], words) == 0:
                    fresh = 0
                    break
            count += fresh
        sizes[i] = count
