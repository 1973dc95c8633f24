"""The compiled part of symmetry: the image of a state under an element of the group, and the representative of its orbit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from agewalk.checker.jit import compiled


class Fields(NamedTuple):
    """Where each field of a state is packed: word, shift, and mask (before the shift)."""

    word: Any
    shift: Any
    mask: Any


class Group(NamedTuple):
    """The elements of a group but for the identity. Element p sends thread t to perms[p, t]; back[p] is the inverse.

    which[p]: the order of the pages that it applies, or -1. Under order s, node n becomes nodes[s, n], and field
    moved[s, i, 0] goes to field moved[s, i, 1], where value v is called value_of[start[s, i] + v]. memory_of[p, m]: the image
    of value m of the memory.
    """

    perms: Any
    which: Any
    memory_of: Any
    nodes: Any
    moved: Any
    start: Any
    value_of: Any
    back: Any


@compiled(inline="always")
def get(row: Any, fields: Fields, f: int) -> Any:
    """Field f of a state."""
    return np.int64((row[fields.word[f]] >> fields.shift[f]) & fields.mask[f])


@compiled(inline="always")
def put(row: Any, fields: Fields, f: int, value: Any) -> None:
    """Set field f of a state."""
    w = fields.word[f]
    row[w] = (row[w] & ~(fields.mask[f] << fields.shift[f])) | (np.uint64(value) << fields.shift[f])


@compiled()
def image(row: Any, words: int, fields: Fields, offset: Any, group: Group, memory: int, p: int, out: Any) -> None:
    """Write the image of a state under element p to `out`."""
    perms, which, memory_of, nodes, moved, start, value_of, _ = group
    for w in range(words):
        out[w] = row[w]
    s = which[p]
    for t in range(perms.shape[1]):
        node = get(row, fields, t)
        if s >= 0:
            node = nodes[s, node + offset[t]] - offset[perms[p, t]]
        put(out, fields, perms[p, t], node)
    put(out, fields, memory, memory_of[p, get(row, fields, memory)])
    if s >= 0:
        for i in range(moved.shape[1]):
            f = moved[s, i, 0]
            if f < 0:
                break
            put(out, fields, moved[s, i, 1], value_of[start[s, i] + get(row, fields, f)])


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
def canonical(row: Any, words: int, fields: Fields, offset: Any, group: Group, memory: int) -> None:
    """Replace a state by the least of its images.

    Fields are packed from the first bit of the first word on, so the thread fields decide first: few images are ever built.
    """
    which, nodes, back = group.which, group.nodes, group.back
    threads = back.shape[1]
    best = row[:words].copy()
    other = np.empty(words, np.uint64)
    first = np.empty(threads, np.int64)
    for t in range(threads):
        first[t] = get(row, fields, t)
    for p in range(back.shape[0]):
        s = which[p]
        order = 0
        for f in range(threads):
            t = back[p, f]
            node = get(row, fields, t)
            if s >= 0:
                node = nodes[s, node + offset[t]] - offset[f]
            if node != first[f]:
                order = -1 if node < first[f] else 1
                break
        if order > 0:
            continue
        image(row, words, fields, offset, group, memory, p, other)
        if less(other, best, words) < 0:
            best[:] = other
            for t in range(threads):
                first[t] = get(best, fields, t)
    row[:words] = best


@compiled()
def orbits(states: Any, n: int, fields: Fields, offset: Any, group: Group, memory: int, sizes: Any) -> None:
    """The number of different images of each state, itself among them."""
    words = states.shape[1]
    size = group.perms.shape[0] + 1
    all_of = np.empty((size, words), np.uint64)
    for i in range(n):
        all_of[0] = states[i]
        count = 1
        for p in range(size - 1):
            image(states[i], words, fields, offset, group, memory, p, all_of[count])
            fresh = 1
            for k in range(count):
                if less(all_of[k], all_of[count], words) == 0:
                    fresh = 0
                    break
            count += fresh
        sizes[i] = count
