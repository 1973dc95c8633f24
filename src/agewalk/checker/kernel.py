"""The compiled part of the search.

A state is a row of 64-bit words, its fields packed at (word, shift, mask): first the node of each thread, then who runs
on each CPU, then the variables. The top bit of word 0 is always set, so that an all-zero slot of the hash set is free.
Transitions are two table look-ups: field -> edge -> (next node, value left behind).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agewalk.checker.fold import canonical, get, put
from agewalk.checker.jit import compiled

STEP, CHOICE, END, ERROR = 0, 1, 2, 3
UNKNOWN, BLOCKED = -1, -2
# ctl: what a call was told and what it tells
POS, COUNT, STOP, TRANSITIONS, MISSING, CODE, CANDIDATES, SPARE = range(8)
DONE, GROW, LEARN, FULL = range(4)  # ctl[CODE]
F_TERMINAL, F_DEADLOCK, F_ERROR = 1, 2, 4  # flags of a state
OCCUPIED = np.uint64(1 << 63)
_K1 = np.uint64(0x9E3779B97F4A7C15)
_K2 = np.uint64(0xD6E8FEB86659FD93)
_S32 = np.uint64(32)


@compiled(inline="always")
def hash_row(row: Any, words: int) -> Any:
    """Mixes all words of a state."""
    h = row[0] * _K1
    for w in range(1, words):
        h = (h ^ (h >> _S32) ^ row[w]) * _K2
    h ^= h >> _S32
    h *= _K1
    return h ^ (h >> _S32)


@compiled()
def take(row: Any, lay: Any, aut: Any, t: int, choice: int, missing: Any, ctl: Any) -> int:
    """Let thread t take its next step in `row`, and its ghost steps with it. 1 done, 0 it cannot, -1 not known yet."""
    kind, var, base, stride, ghost, mortal, uaf, edge_next, edge_value, freed, offset, memory = aut
    node = get(row, lay, t) + offset[t]
    first = True
    while True:
        if kind[node] == CHOICE:
            value = np.int64(choice)
            edge = base[node] + value
            target = edge_next[edge]
        else:
            value = get(row, lay, var[node])
            edge = base[node] + t * stride[node] + value
            if mortal[node] >= 0 and (freed[get(row, lay, memory)] >> np.uint64(mortal[node])) & np.uint64(1):
                put(row, lay, t, uaf[node] - offset[t])
                return 1
            target = edge_next[edge]
        if target == UNKNOWN:
            if ctl[MISSING] < missing.shape[0]:
                missing[ctl[MISSING], 0] = node
                missing[ctl[MISSING], 1] = t
                missing[ctl[MISSING], 2] = value
                ctl[MISSING] += 1
            return -1
        if target == BLOCKED:
            return 0 if first else -1
        if kind[node] != CHOICE and edge_value[edge] != value:
            put(row, lay, var[node], edge_value[edge])
        put(row, lay, t, target - offset[t])
        node = target
        first = False
        if not ghost[node] or kind[node] != STEP:
            return 1


@compiled()
def may_run(row: Any, lay: Any, aut: Any, cpu: Any, t: int) -> bool:
    """Does the scheduler let thread t run? On a shared CPU only if the running thread can be preempted now."""
    cpu_of, firm, cpu_field = cpu
    if cpu_of[t] < 0:
        return True
    current = get(row, lay, cpu_field + cpu_of[t]) - 1
    if current < 0 or current == t:
        return True
    node = get(row, lay, current) + aut[10][current]
    if firm[node] == 0 or aut[0][node] == END:
        return True
    if firm[node] == 1:
        return False
    return bool(aut[7][aut[2][node] + get(row, lay, aut[1][node])] != BLOCKED)  # spins with preemption off


@compiled()
def insert(row: Any, words: int, table: Any) -> bool:
    """Add a state to the hash set; was it new?"""
    mask = np.uint64(table.shape[0] - 1)
    slot = hash_row(row, words) & mask
    while True:
        if table[slot, 0] == 0:
            for w in range(words):
                table[slot, w] = row[w]
            return True
        same = True
        for w in range(words):
            if table[slot, w] != row[w]:
                same = False
                break
        if same:
            return False
        slot = (slot + np.uint64(1)) & mask


@compiled()
def rehash(states: Any, n: int, table: Any) -> None:
    """Fill an empty hash set with the first n states."""
    for i in range(n):
        insert(states[i], states.shape[1], table)


@compiled()
def keep(row: Any, words: int, parent: int, move: int, store: Any, aut: Any, lay: Any, threads: int, ctl: Any) -> None:
    """Append a new state."""
    states, parents, moves, flags, first_error = store
    n = ctl[COUNT]
    for w in range(words):
        states[n, w] = row[w]
    parents[n] = parent
    moves[n] = move
    flags[n] = 0
    for t in range(threads):
        node = get(row, lay, t) + aut[10][t]
        if aut[0][node] == ERROR:
            flags[n] |= F_ERROR
            if first_error[node] < 0:
                first_error[node] = n
    ctl[COUNT] = n + 1


@compiled()
def ended(row: Any, lay: Any, aut: Any, threads: int, daemons: Any) -> bool:
    """Have all threads ended that ever do?"""
    for t in range(threads):  # noqa: SIM110  (compiled)
        if not daemons[t] and aut[0][get(row, lay, t) + aut[10][t]] != END:
            return False
    return True


@compiled()
def independent(row: Any, lay: Any, aut: Any, foot: Any, threads: int, t: int) -> bool:
    """Is thread t's next step invisible, and independent of all that the others may ever still do?"""
    step_reads, step_writes, later_reads, later_writes, visible = foot
    node = get(row, lay, t) + aut[10][t]
    if visible[node] or aut[0][node] != STEP:
        return False
    for u in range(threads):
        if u != t:
            other = get(row, lay, u) + aut[10][u]
            touches = later_reads[other] | later_writes[other]
            if step_writes[node] & touches or step_reads[node] & later_writes[other]:
                return False
    return True


@compiled()
def successors(
    row: Any,
    words: int,
    lay: Any,
    aut: Any,
    cpu: Any,
    sym: Any,
    folded: bool,
    only: int,
    cand: Any,
    moves: Any,
    at: int,
    missing: Any,
    ctl: Any,
) -> int:
    """Write the successors of a state (those by thread `only`, or all if -1) behind `at`; how many, or -1: not known yet.

    folded: write what stands for each instead, where anything is exchanged.
    """
    choices = aut[3]
    threads = aut[10].shape[0]
    made = 0
    memory = aut[11]
    unknown = False
    for t in range(threads):
        if only >= 0 and t != only:
            continue
        node = get(row, lay, t) + aut[10][t]
        if aut[0][node] >= END or not may_run(row, lay, aut, cpu, t):
            continue
        n = -choices[node] if choices[node] < 0 else 1
        for c in range(n):
            new = cand[at + made]
            for w in range(words):
                new[w] = row[w]
            done = take(new, lay, aut, t, c, missing, ctl)
            if done > 0:
                if cpu[0][t] >= 0:
                    put(new, lay, cpu[2] + cpu[0][t], t + 1)
                if folded and sym[0].shape[0] > 0:
                    canonical(new, words, lay, aut[10], sym, memory)
                moves[at + made] = t * 16 + c
                made += 1
            elif done < 0:
                unknown = True
    return -1 if unknown else made


@compiled()
def search(
    store: Any, table: Any, lay: Any, aut: Any, cpu: Any, sym: Any, foot: Any, daemons: Any, cand: Any, cand_moves: Any,
    cand_parents: Any, slots: Any, missing: Any, reduce: bool, proviso: bool, fan: int, ctl: Any,
) -> None:  # fmt: skip
    """Expand states ctl[POS] .. ctl[STOP] - 1 in order, until a level is done, memory must grow, or an edge is unknown."""
    states, flags = store[0], store[3]
    words = states.shape[1]
    threads = aut[10].shape[0]
    ctl[CODE] = DONE
    ctl[MISSING] = 0
    mask = np.uint64(table.shape[0] - 1)
    while ctl[POS] < ctl[STOP]:
        if ctl[COUNT] + cand.shape[0] >= states.shape[0] or 2 * (ctl[COUNT] + cand.shape[0]) >= table.shape[0]:
            ctl[CODE] = GROW
            return
        pos = ctl[POS]
        filled = 0
        # 1. successors of a batch of states, side by side
        while pos < ctl[STOP] and filled + fan <= cand.shape[0]:
            row = states[pos]
            if flags[pos] & F_ERROR:
                pos += 1
                continue
            made = -2
            if reduce:
                made = reduced(
                    row,
                    words,
                    lay,
                    aut,
                    cpu,
                    sym,
                    foot,
                    threads,
                    cand,
                    cand_moves,
                    filled,
                    missing,
                    table,
                    proviso,
                    ctl,
                )
            if made == -2:
                made = successors(row, words, lay, aut, cpu, sym, True, -1, cand, cand_moves, filled, missing, ctl)
            if made < 0:
                ctl[CODE] = LEARN
                break
            if made == 0:
                flags[pos] |= F_TERMINAL if ended(row, lay, aut, threads, daemons) else F_DEADLOCK
            for k in range(made):
                cand_parents[filled + k] = pos
            filled += made
            pos += 1
            if reduce and proviso:
                break
        # 2. bring their places in the hash set near
        near = np.uint64(0)
        for k in range(filled):
            slots[k] = hash_row(cand[k], words) & mask
            near += table[slots[k], 0]
        ctl[SPARE] = np.int64(near & np.uint64(1))
        # 3. keep the new ones
        for k in range(filled):
            row = cand[k]
            slot = slots[k]
            while True:
                if table[slot, 0] == 0:
                    for w in range(words):
                        table[slot, w] = row[w]
                    keep(row, words, cand_parents[k], cand_moves[k], store, aut, lay, threads, ctl)
                    break
                same = True
                for w in range(words):
                    if table[slot, w] != row[w]:
                        same = False
                        break
                if same:
                    break
                slot = (slot + np.uint64(1)) & mask
        ctl[TRANSITIONS] += filled
        ctl[POS] = pos
        if ctl[CODE] == LEARN:
            look_ahead(store, lay, aut, cpu, sym, cand, cand_moves, missing, ctl)
            return


@compiled()
def look_ahead(
    store: Any, lay: Any, aut: Any, cpu: Any, sym: Any, cand: Any, cand_moves: Any, missing: Any, ctl: Any
) -> None:
    """Collect more unknown edges from the states that wait, so that they are unfolded together."""
    states, _, _, flags, _ = store
    last = min(ctl[STOP], ctl[POS] + 4096)
    for i in range(ctl[POS], last):
        if not flags[i] & F_ERROR:
            successors(states[i], states.shape[1], lay, aut, cpu, sym, False, -1, cand, cand_moves, 0, missing, ctl)
        if ctl[MISSING] >= missing.shape[0]:
            return


@compiled()
def known(row: Any, words: int, table: Any) -> bool:
    """Is a state in the hash set?"""
    mask = np.uint64(table.shape[0] - 1)
    slot = hash_row(row, words) & mask
    while table[slot, 0] != 0:
        same = True
        for w in range(words):
            if table[slot, w] != row[w]:
                same = False
                break
        if same:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False


@compiled()
def reduced(
    row: Any, words: int, lay: Any, aut: Any, cpu: Any, sym: Any, foot: Any, threads: int, cand: Any, cand_moves: Any, at: int,
    missing: Any, table: Any, proviso: bool, ctl: Any,
) -> int:  # fmt: skip
    """Successors by one thread that suffice for all (docs/check.md proves when); -2: there is no such thread here."""
    for t in range(threads):
        if not independent(row, lay, aut, foot, threads, t):
            continue
        made: int = successors(row, words, lay, aut, cpu, sym, True, t, cand, cand_moves, at, missing, ctl)
        if made < 0:
            return -1
        if made == 0:
            continue
        if not proviso:
            return made
        for k in range(made):
            if not known(cand[at + k], words, table):
                return made
    return -2
