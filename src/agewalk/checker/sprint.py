"""The search over minimal automata again, for speed: states of one or two words, each step one addition.

A state is a sum of its fields, each shifted to its place. So what an edge does to it is the addition of a constant that
is known beforehand: (new value - old) << shift of the variable, plus the same for the thread's node. Same order and same
counts as `kernel.search`, without symmetry, reduction, shared CPUs, or unknown edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agewalk.checker.jit import compiled

POS, COUNT, STOP, TRANSITIONS, CODE, SPARE = range(6)  # ctl
DONE, GROW = range(2)
# columns of `info`, one row for each node of each thread
WORD, SHIFT, MASK, BASE, KIND, CHOICES, MORTAL, UAF = range(8)
STEP, CHOICE, END, ERROR = range(4)
# of an edge
WAITS, GOES, GHOST_FOLLOWS, FAILS = range(4)
F_TERMINAL, F_DEADLOCK, F_ERROR = 1, 2, 4
_K1 = np.uint64(0x9E3779B97F4A7C15)
_K2 = np.uint64(0xD6E8FEB86659FD93)
_S32 = np.uint64(32)
_ONE = np.uint64(1)


@compiled(inline="always")
def _hash(a: Any, b: Any) -> Any:
    h = a * _K1
    h = (h ^ (h >> _S32) ^ b) * _K2
    h ^= h >> _S32
    h *= _K1
    return h ^ (h >> _S32)


@compiled()
def refill(states: Any, n: int, table: Any) -> None:
    """Fill an empty hash set with the first n states."""
    mask = np.uint64(table.shape[0] - 1)
    for i in range(n):
        slot = _hash(states[i, 0], states[i, 1]) & mask
        while table[slot, 0] != 0:
            slot = (slot + _ONE) & mask
        table[slot, 0] = states[i, 0]
        table[slot, 1] = states[i, 1]


@compiled()
def sprint(
    states: Any, parents: Any, moves: Any, flags: Any, first_error: Any, table: Any, node_word: Any, node_shift: Any,
    node_mask: Any, first_row: Any, offset: Any, daemon: Any, info: Any, effect: Any, add: Any, freed: Any, memory: Any,
    cand: Any, cand_slot: Any, cand_parent: Any, cand_move: Any, cand_fails: Any, fan: int, ctl: Any,
) -> None:  # fmt: skip
    """Expand states ctl[POS] .. ctl[STOP] - 1 in order."""
    threads = node_word.shape[0]
    size = cand.shape[0]
    mask = np.uint64(table.shape[0] - 1)
    m_word, m_shift, m_mask = memory[0], np.uint64(memory[1]), np.uint64(memory[2])
    pos, count, stop = ctl[POS], ctl[COUNT], ctl[STOP]
    transitions = 0
    ctl[CODE] = DONE
    while pos < stop:
        if count + size >= states.shape[0] or 2 * (count + size) >= table.shape[0]:
            ctl[CODE] = GROW
            break
        filled = 0
        near = np.uint64(0)
        while pos < stop and filled + fan <= size:
            s0 = states[pos, 0]
            s1 = states[pos, 1]
            before = filled
            failed = flags[pos] & F_ERROR
            running = 0
            for t in range(threads):
                if failed:
                    break
                node = np.int64(((s1 if node_word[t] else s0) >> node_shift[t]) & node_mask[t])
                row = first_row[t] + node
                kind = info[row, KIND]
                if kind == END:
                    continue
                if not daemon[t]:
                    running = 1
                n = info[row, CHOICES]
                for c in range(n):
                    a = s0
                    b = s1
                    at = row
                    outcome = WAITS
                    while True:
                        mortal = info[at, MORTAL]
                        if (
                            mortal >= 0
                            and (freed[np.int64(((b if m_word else a) >> m_shift) & m_mask)] >> np.uint64(mortal))
                            & _ONE
                        ):
                            jump = np.uint64(info[at, UAF]) << node_shift[t]
                            if node_word[t]:
                                b += jump
                            else:
                                a += jump
                            outcome = FAILS
                            break
                        if info[at, KIND] == CHOICE:
                            edge = info[at, BASE] + c
                        else:
                            value = ((b if info[at, WORD] else a) >> np.uint64(info[at, SHIFT])) & np.uint64(
                                info[at, MASK]
                            )
                            edge = info[at, BASE] + np.int64(value)
                        step = effect[edge]
                        if step == WAITS:
                            break
                        a += add[edge, 0]
                        b += add[edge, 1]
                        outcome = step
                        if step != GHOST_FOLLOWS:
                            break
                        at = first_row[t] + np.int64(((b if node_word[t] else a) >> node_shift[t]) & node_mask[t])
                    if outcome == WAITS:
                        continue
                    slot = _hash(a, b) & mask
                    near += table[slot, 0]
                    cand[filled, 0] = a
                    cand[filled, 1] = b
                    cand_slot[filled] = slot
                    cand_parent[filled] = pos
                    cand_move[filled] = t * 16 + c
                    cand_fails[filled] = outcome == FAILS
                    filled += 1
            if filled == before and not failed:
                flags[pos] |= F_DEADLOCK if running else F_TERMINAL
            pos += 1
        ctl[SPARE] = np.int64(near & _ONE)
        transitions += filled
        for k in range(filled):
            a = cand[k, 0]
            b = cand[k, 1]
            slot = cand_slot[k]
            while True:
                found = table[slot, 0]
                if found == 0:
                    table[slot, 0] = a
                    table[slot, 1] = b
                    states[count, 0] = a
                    states[count, 1] = b
                    parents[count] = cand_parent[k]
                    moves[count] = cand_move[k]
                    flags[count] = 0
                    if cand_fails[k]:
                        flags[count] = F_ERROR
                        t = cand_move[k] >> 4
                        block = np.int64(((b if node_word[t] else a) >> node_shift[t]) & node_mask[t]) + offset[t]
                        if first_error[block] < 0:
                            first_error[block] = count
                    count += 1
                    break
                if found == a and table[slot, 1] == b:
                    break
                slot = (slot + _ONE) & mask
    ctl[POS] = pos
    ctl[COUNT] = count
    ctl[TRANSITIONS] += transitions
