"""The compiled part of the breadth-first search.

A state is a row of 64-bit words. Its fields are packed at (word, shift, mask): first the node of each thread, then the
thread that runs on each CPU, then the variables. A step is two table look-ups, field -> edge -> (next node, new value),
and adds the differences to the fields.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from agewalk.checker.jit import compiled
from agewalk.checker.reduction.canonical_numba import Fields, Group, canonical, get, put

STEP, CHOICE, END, ERROR = 0, 1, 2, 3
UNKNOWN, BLOCKED, REQUESTED = -1, -2, -3  # an edge's next node: not unfolded, the thread waits, unfolding was asked for
# The slots of `ctl`: what a call is told and what it answers.
POS, COUNT, STOP, TRANSITIONS, MISSING, CODE, PREFETCHED = range(7)
DONE, GROW, UNFOLD = range(3)  # ctl[CODE]
F_TERMINAL, F_DEADLOCK, F_ERROR = 1, 2, 4  # flags of a state
_LOOK_AHEAD = 4096  # states that are searched for more unknown edges
_K1 = np.uint64(0x9E3779B97F4A7C15)
_K2 = np.uint64(0xD6E8FEB86659FD93)
_S32 = np.uint64(32)
_ONE = np.uint64(1)
_LOW = np.uint64(0xFFFFFFFF)


class Nodes(NamedTuple):
    """The automata. One entry for each node, but for the last five.

    kind: STEP, CHOICE, END, ERROR. var: the field that a step reads, or -1. base: the node's first edge. stride: edges of
    each thread, for steps on the memory, else 0. choices: answers of a choice, else 1. ghost: is the step taken together
    with the one before? warned: has the thread just broken a rule? mortal: number of the object that the variable lives
    in, or -1. uaf: the error node that stands for using it after it was freed.
    next, value: of each edge, the next node (or UNKNOWN ...) and the new value. freed: of each value of the memory, a mask
    of freed objects. offset: of each thread, the node that its field counts from. memory: the field of the memory.
    """

    kind: Any
    var: Any
    base: Any
    stride: Any
    choices: Any
    ghost: Any
    warned: Any
    mortal: Any
    uaf: Any
    next: Any
    value: Any
    freed: Any
    offset: Any
    memory: int


class Cpus(NamedTuple):
    """Shared CPUs. of: the CPU of each thread, or -1. firm: of each node, can the thread be preempted there (0), not (1),
    or not unless it spins (2)? field: the field of the first CPU."""

    of: Any
    firm: Any
    field: int


class Dependence(NamedTuple):
    """Masks of each node for partial-order reduction (`agewalk.checker.reduction.partial_order`)."""

    reads: Any
    writes: Any
    later_reads: Any
    later_writes: Any
    visible: Any


class Model(NamedTuple):
    """What the transitions of a system depend on. daemons: of each thread, may it go on when all others have ended?
    fan: the most successors that a state can have."""

    fields: Fields
    nodes: Nodes
    cpus: Cpus
    group: Group
    daemons: Any
    fan: int


class States(NamedTuple):
    """The states found so far, in order, and the hash table of them.

    parents, moves: the state that each was found from, and thread * 16 + choice. first_error: of each node, the first state
    with a thread there, if a rule is broken. table: (upper half of the hash) << 32 | index + 1, or 0 for a free slot.
    """

    rows: Any
    parents: Any
    moves: Any
    flags: Any
    first_error: Any
    table: Any


class SuccessorBuffer(NamedTuple):
    """Successors on their way into the table."""

    rows: Any
    moves: Any
    parents: Any
    hashes: Any


@compiled(inline="always")
def hash_row(rows: Any, i: int) -> Any:
    """Mixes all words of a state."""
    h = rows[i, 0] * _K1
    for w in range(1, rows.shape[1]):
        h = (h ^ (h >> _S32) ^ rows[i, w]) * _K2
    h ^= h >> _S32
    h *= _K1
    return h ^ (h >> _S32)


@compiled()
def look_up(states: Any, table: Any, rows: Any, i: int, h: Any) -> Any:
    """The index of the state rows[i], whose hash is h; or -1 - slot, where slot is free for it."""
    mask = np.uint64(table.shape[0] - 1)
    slot = h & mask
    while True:
        entry = table[slot]
        if entry == 0:
            return -1 - np.int64(slot)
        if (entry ^ h) >> _S32 == 0:
            index = np.int64(entry & _LOW) - 1
            same = True
            for w in range(rows.shape[1]):
                if states[index, w] != rows[i, w]:
                    same = False
                    break
            if same:
                return index
        slot = (slot + _ONE) & mask


@compiled()
def prefetch(states: States, batch: SuccessorBuffer, filled: int) -> Any:
    """Load the slots of the first `filled` successors, and the states that these name. The sum makes the loads needed."""
    slots = np.uint64(states.table.shape[0] - 1)
    total = np.uint64(0)
    for k in range(filled):
        total += states.table[batch.hashes[k] & slots]
    for k in range(filled):
        entry = states.table[batch.hashes[k] & slots]
        if entry != 0:
            total += states.rows[np.int64(entry & _LOW) - 1, 0]
    return np.int64(total & _ONE)


@compiled()
def fill_table(states: Any, n: int, table: Any) -> None:
    """Fill an empty hash table with the first n states, which differ from each other."""
    mask = np.uint64(table.shape[0] - 1)
    for i in range(n):
        h = hash_row(states, i)
        slot = h & mask
        while table[slot] != 0:
            slot = (slot + _ONE) & mask
        table[slot] = (h >> _S32 << _S32) | np.uint64(i + 1)


@compiled()
def repack(old: Any, n: int, now: Fields, new: Any, wanted: Fields) -> None:
    """Write the first n states in another layout, which may have more fields."""
    for i in range(n):
        new[i, 0] = 1 << 63
        for f in range(now.word.shape[0]):
            value = (old[i, now.word[f]] >> now.shift[f]) & now.mask[f]
            new[i, wanted.word[f]] |= value << wanted.shift[f]


@compiled()
def may_run(row: Any, fields: Fields, nodes: Nodes, cpus: Cpus, t: int) -> bool:
    """Does the scheduler let thread t run? On a shared CPU only if the running thread can be preempted now."""
    if cpus.of[t] < 0:
        return True
    current = get(row, fields, cpus.field + cpus.of[t]) - 1
    if current < 0 or current == t:
        return True
    node = get(row, fields, current) + nodes.offset[current]
    if cpus.firm[node] == 0 or nodes.kind[node] == END:
        return True
    if cpus.firm[node] == 1:
        return False
    return bool(
        nodes.next[nodes.base[node] + get(row, fields, nodes.var[node])] != BLOCKED
    )  # spins with preemption off


@compiled()
def successors(
    model: Model, states: Any, flags: Any, pos: int, stop: int, only: int, fold: bool, batch: SuccessorBuffer, filled: int,
    missing: Any, ctl: Any,
) -> tuple[int, int]:  # fmt: skip
    """Write the successors of states pos .. stop - 1 to the batch, from place `filled` on, as long as there is room.

    only: the one thread that takes a step, or -1 for all. fold: keep the representative of each successor's orbit. Returns
    the first state that was not treated and the next free place. It ends before a state that needs an unknown edge, which
    is then in `missing` (node, thread, value), with ctl[MISSING] counting them.
    """
    word, shift, mask = model.fields
    kind, var, base, stride, choices, ghost, _, mortal, uaf, next_, value_of, freed, offset, memory = model.nodes
    cpu_of, daemons = model.cpus.of, model.daemons
    rows, moves, parents, hashes = batch
    threads = offset.shape[0]
    words = rows.shape[1]
    fold = fold and model.group.back.shape[0] > 0
    while pos < stop and filled + model.fan <= rows.shape[0]:
        if flags[pos] & F_ERROR:
            pos += 1
            continue
        before = filled
        unknown = False
        running = False
        for t in range(threads):
            first_node = np.int64((states[pos, word[t]] >> shift[t]) & mask[t]) + offset[t]
            if kind[first_node] >= END:
                running = running or (kind[first_node] != END and not daemons[t])
                continue
            running = running or not daemons[t]
            if only >= 0 and t != only:
                continue
            if cpu_of[t] >= 0 and not may_run(states[pos], model.fields, model.nodes, model.cpus, t):
                continue
            for choice in range(choices[first_node]):
                for w in range(words):
                    rows[filled, w] = states[pos, w]
                node = first_node
                first = True
                done = 0
                while True:  # a step, and the ghost steps behind it
                    if kind[node] == CHOICE:
                        value = np.int64(choice)
                        edge = base[node] + value
                    else:
                        f = var[node]
                        if mortal[node] >= 0:
                            m = np.int64((rows[filled, word[memory]] >> shift[memory]) & mask[memory])
                            if (freed[m] >> np.uint64(mortal[node])) & _ONE:
                                rows[filled, word[t]] += np.uint64(uaf[node] - node) << shift[t]
                                done = 1
                                break
                        value = np.int64((rows[filled, word[f]] >> shift[f]) & mask[f])
                        edge = base[node] + t * stride[node] + value
                    target = np.int64(next_[edge])
                    if target < 0:
                        if target == BLOCKED:
                            done = 0 if first else -1
                            break
                        done = -1
                        if target == UNKNOWN and ctl[MISSING] < missing.shape[0]:
                            next_[edge] = REQUESTED
                            missing[ctl[MISSING], 0] = node
                            missing[ctl[MISSING], 1] = t
                            missing[ctl[MISSING], 2] = value
                            ctl[MISSING] += 1
                        break
                    if kind[node] != CHOICE:
                        rows[filled, word[f]] += np.uint64(value_of[edge] - value) << shift[f]
                    rows[filled, word[t]] += np.uint64(target - node) << shift[t]
                    node = target
                    first = False
                    if not ghost[node] or kind[node] != STEP:
                        done = 1
                        break
                if done > 0:
                    if cpu_of[t] >= 0:
                        put(rows[filled], model.fields, model.cpus.field + cpu_of[t], t + 1)
                    if fold:
                        canonical(rows[filled], words, model.fields, offset, model.group, memory)
                    moves[filled] = t * 16 + choice
                    parents[filled] = pos
                    hashes[filled] = hash_row(rows, filled)
                    filled += 1
                elif done < 0:
                    unknown = True
        if unknown:
            return pos, before
        if filled == before and only < 0:
            flags[pos] |= F_DEADLOCK if running else F_TERMINAL
        pos += 1
    return pos, filled


@compiled()
def independent(model: Model, row: Any, masks: Dependence, t: int) -> bool:
    """Is thread t's next step invisible, and independent of all that the others may still do?"""
    fields, nodes = model.fields, model.nodes
    node = get(row, fields, t) + nodes.offset[t]
    if masks.visible[node] or nodes.kind[node] != STEP:
        return False
    for u in range(nodes.offset.shape[0]):
        if u != t:
            other = get(row, fields, u) + nodes.offset[u]
            touches = masks.later_reads[other] | masks.later_writes[other]
            if masks.writes[node] & touches or masks.reads[node] & masks.later_writes[other]:
                return False
    return True


@compiled()
def reduced(
    model: Model, states: States, pos: int, batch: SuccessorBuffer, filled: int,
    masks: Dependence, proviso: bool, missing: Any, ctl: Any
) -> int:  # fmt: skip
    """Write the successors by one thread that suffice for all (docs/check.md proves when). Returns the next free place;
    `filled` if no thread suffices, -1 if an edge is unknown.

    proviso: threads can come round, so one of the successors must be new.
    """
    for t in range(model.nodes.offset.shape[0]):
        if not independent(model, states.rows[pos], masks, t):
            continue
        end: int
        _, end = successors(model, states.rows, states.flags, pos, pos + 1, t, True, batch, filled, missing, ctl)
        if ctl[MISSING] > 0:
            return -1
        for k in range(filled, end):
            if not proviso or look_up(states.rows, states.table, batch.rows, k, batch.hashes[k]) < 0:
                return end
    return filled


@compiled()
def search(
    model: Model, states: States, batch: SuccessorBuffer, masks: Dependence, reduce: bool, proviso: bool, missing: Any, ctl: Any
) -> None:  # fmt: skip
    """Expand states ctl[POS] .. ctl[STOP] - 1 in order, until all are done, memory must grow, or an edge is unknown."""
    rows, parents, moves, flags, first_error, table = states
    words = rows.shape[1]
    kind, warned, offset = model.nodes.kind, model.nodes.warned, model.nodes.offset
    word, shift, mask = model.fields
    ctl[CODE] = DONE
    ctl[MISSING] = 0
    while ctl[POS] < ctl[STOP]:
        room = batch.rows.shape[0]
        if ctl[COUNT] + room >= rows.shape[0] or 2 * (ctl[COUNT] + room) >= table.shape[0]:
            ctl[CODE] = GROW
            return
        # 1. The successors of a batch of states.
        pos, filled = ctl[POS], 0
        if reduce:
            while pos < ctl[STOP] and filled + model.fan <= room:
                end = filled if flags[pos] & F_ERROR else reduced(
                    model, states, pos, batch, filled, masks, proviso, missing, ctl
                )  # fmt: skip
                if end == filled:
                    _, end = successors(model, rows, flags, pos, pos + 1, -1, True, batch, filled, missing, ctl)
                if ctl[MISSING] > 0:
                    break
                filled = end
                pos += 1
                if proviso:
                    break
        else:
            pos, filled = successors(model, rows, flags, pos, ctl[STOP], -1, True, batch, 0, missing, ctl)
        # 2. Bring what they are compared with into the caches, all at once.
        ctl[PREFETCHED] = prefetch(states, batch, filled)
        # 3. Keep the new ones.
        for k in range(filled):
            h = batch.hashes[k]
            found = look_up(rows, table, batch.rows, k, h)
            if found >= 0:
                continue
            n = ctl[COUNT]
            table[-1 - found] = (h >> _S32 << _S32) | np.uint64(n + 1)
            for w in range(words):
                rows[n, w] = batch.rows[k, w]
            parents[n] = batch.parents[k]
            moves[n] = batch.moves[k]
            flags[n] = 0
            for t in range(offset.shape[0]):
                node = np.int64((rows[n, word[t]] >> shift[t]) & mask[t]) + offset[t]
                if kind[node] == ERROR:
                    flags[n] |= F_ERROR
                if (kind[node] == ERROR or warned[node]) and first_error[node] < 0:
                    first_error[node] = n
            ctl[COUNT] = n + 1
        ctl[TRANSITIONS] += filled
        ctl[POS] = pos
        if ctl[MISSING] > 0:
            ctl[CODE] = UNFOLD
            last = min(ctl[STOP], pos + _LOOK_AHEAD)
            while (
                pos < last and ctl[MISSING] < missing.shape[0]
            ):  # more unknown edges, so that they are unfolded together
                pos, _ = successors(model, rows, flags, pos, last, -1, False, batch, 0, missing, ctl)
                if ctl[MISSING] > 0:
                    pos += 1
            return
