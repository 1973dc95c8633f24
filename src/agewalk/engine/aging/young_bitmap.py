"""Calls of walks that ask about many pages at once (v2, v3): answers are those about single pages, calls are fewer."""

from agewalk.engine.compiler.jit import Int, i64, njit
from agewalk.engine.compiler.state_types import rarely
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    A_ANY,
    A_TDP,
    ASK_WALK,
    BATCH,
    FEATURES,
    GEN_MASK,
    MAPPED,
    META,
    S_AD,
    S_MODE,
    S_TDP,
    YOUNG,
)
from agewalk.engine.state.truth_table import M_RMAPS


@njit
def count_bitmaps(s: State, first: Int, end: Int, space: Int, walk: Int, takes: Int) -> None:
    """Calls about pages [first, end) of a VM, before any of their bits is cleared: a test at each mapped page beyond the last
    window of up to 64, a clear at the end of a window in which a page is aged. takes: may pages be aged at all? walk: it is the
    walk, which counts old entries."""
    rarely()
    pte_bits, folios, features = s.pte_bits, s.folios, s.word[FEATURES]
    mode = s.space[space, S_MODE]
    listed = i64(GEN_MASK if features & f.WORKINGSET_PROTECTION else MAPPED)
    calls, at = i64(0), first
    while at < end:
        if not folios[at, META] & MAPPED:
            at += 1
            continue
        last = min(at + BATCH, end)
        aged = False
        for near in range(at, last):
            if not folios[near, META] & MAPPED:
                continue
            bits = i64(pte_bits[near]) & A_ANY
            answer = i64(s.ask[ASK_WALK, mode * 8 + bits])
            if walk and not answer & YOUNG:
                s.counts[c.LEAF_OLD] += 1
            if folios[near, META] & listed and answer & bits & A_TDP:
                aged = True
        calls += 2 if aged and takes else 1
        at = last
    s.counts[c.BITMAP_CALLS] += calls
    if s.space[space, S_TDP] and s.space[space, S_AD]:
        s.counts[c.BITMAP_AGE_GFN] += calls
        if not mode & M_RMAPS:
            s.counts[c.BITMAP_TDP_WALKS] += calls
