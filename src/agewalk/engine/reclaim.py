"""How hard reclaim tries: the loops around evict_folios() (mm/vmscan.c), for the one lruvec of a host."""

from agewalk.engine import features as f
from agewalk.engine.evict import evict_folios, oldest_seq
from agewalk.engine.jit import Array, Int, i64, njit
from agewalk.engine.layout import (
    BATCH,
    FEATURES,
    HAS_WALK,
    MAX_BATCH,
    MAX_SEQ,
    MIN_GENS,
    MIN_SEQ,
    N_GENS,
    NR_PAGES,
    PRIORITY,
    RECLAIMED,
    SWAPPINESS,
)
from agewalk.engine.queues import lru_add_drain
from agewalk.engine.state import State
from agewalk.engine.walk import try_to_inc_max_seq

DEF_PRIORITY = 12
SWAP_CLUSTER_MAX = 32
MAX_RECLAIM_RETRIES = 16


@njit
def evictable_pages(word: Array) -> Int:
    """Pages of the types that swappiness allows, in all generations that exist."""
    total = i64(0)
    for kind in range(0 if word[SWAPPINESS] else 1, 2 if word[SWAPPINESS] <= 200 else 1):
        for seq in range(word[MIN_SEQ + kind], word[MAX_SEQ] + 1):
            total += max(word[NR_PAGES + seq % N_GENS * 2 + kind], i64(0))
    return total


@njit
def should_run_aging(word: Array) -> bool:
    """should_run_aging(): are there too few generations left to evict from?"""
    max_seq, oldest = word[MAX_SEQ], oldest_seq(word)
    if oldest + MIN_GENS > max_seq:
        return True
    if word[FEATURES] & f.BY_EVICTABLE_TYPE:
        if word[FEATURES] & f.LOOP_FIXED_BUDGET and word[PRIORITY] == DEF_PRIORITY:
            return False
        return bool(oldest + MIN_GENS == max_seq)
    if oldest + MIN_GENS < max_seq:
        return False
    young = old = total = i64(0)
    for kind in range(0 if word[SWAPPINESS] else 1, 2):
        for seq in range(word[MIN_SEQ + kind], max_seq + 1):
            size = max(word[NR_PAGES + seq % N_GENS * 2 + kind], i64(0))
            total += size
            if seq == max_seq:
                young += size
            elif seq + MIN_GENS == max_seq:
                old += size
    return bool(young * MIN_GENS > total or old * (MIN_GENS + 2) < total)


@njit
def nr_to_scan(s: State) -> Int:
    """get_nr_to_scan(): a share of all by priority; up to 6.18 it ages here, and from 6.3 on stops if it did."""
    word = s.word
    evictable = oldest_seq(word) + MIN_GENS <= word[MAX_SEQ]
    share = evictable_pages(word) >> word[PRIORITY]
    if word[FEATURES] & f.LOOP_FIXED_BUDGET or not should_run_aging(word):
        return share
    if word[PRIORITY] == DEF_PRIORITY:
        return share if evictable else i64(0)
    word[HAS_WALK] = 1
    aged = try_to_inc_max_seq(s, i64(0))
    if word[FEATURES] & f.LOOP_NEED_AGING:
        return share if aged or evictable else i64(0)
    return i64(-1) if aged else i64(0)


@njit
def shrink_lruvec(s: State, goal: Int) -> None:
    """try_to_shrink_lruvec() for memcg reclaim, at word[PRIORITY]."""
    word = s.word
    features = word[FEATURES]
    if features & f.LOOP_FIXED_BUDGET:
        left = nr_to_scan(s)
        while left > 0:
            if should_run_aging(word):
                word[HAS_WALK] = 1
                try_to_inc_max_seq(s, i64(0))
            done = evict_folios(s, min(left, i64(BATCH)))
            if not done or (features & f.ABORT_WHEN_DONE and word[RECLAIMED] >= goal):
                return
            left -= done
        return
    scanned = i64(0)
    seq = i64(word[MAX_SEQ])
    while True:
        share = nr_to_scan(s)
        if share <= 0:
            return
        done = evict_folios(s, share)
        if not done:
            return
        scanned += done
        if scanned >= share:
            return
        if features & f.LOOP_NEED_AGING:
            if word[MAX_SEQ] - seq > 1 or word[RECLAIMED] >= goal:
                return
        elif features & f.ABORT_WHEN_DONE and word[RECLAIMED] >= goal:
            return


@njit
def memcg_reclaim(s: State, goal: Int, proactive: Int) -> Int:
    """try_to_free_mem_cgroup_pages() of at least SWAP_CLUSTER_MAX pages, do_try_to_free_pages(); returns how many went."""
    word = s.word
    goal = max(goal, i64(SWAP_CLUSTER_MAX))
    word[RECLAIMED] = 0
    for _ in range(2 if word[FEATURES] & f.FULL_WALK_RETRY else 1):
        for step in range(DEF_PRIORITY + 1):
            word[PRIORITY] = DEF_PRIORITY - step
            word[HAS_WALK] = 1 if proactive and word[FEATURES] & f.PROACTIVE_WALK else 0
            lru_add_drain(word, s.page)
            shrink_lruvec(s, goal)
            word[HAS_WALK] = 0
            if word[RECLAIMED] >= goal:
                break
        if word[RECLAIMED]:
            break
    return i64(word[RECLAIMED])


@njit
def memory_reclaim(s: State, wanted: Int) -> Int:
    """memory.reclaim of `wanted` pages; returns how many went."""
    done, retries = i64(0), MAX_RECLAIM_RETRIES
    while done < wanted:
        left = wanted - done
        if not retries:
            lru_add_drain(s.word, s.page)
        freed = memcg_reclaim(s, left // 4 if s.word[FEATURES] & f.RECLAIM_QUARTERS else left, i64(1))
        done += freed
        if not freed:
            if not retries:
                break
            retries -= 1
    return done


@njit
def run_aging(s: State, force_scan: Int) -> bool:
    """The '+' command (run_aging()) for the present max_seq. False: refused (ERANGE)."""
    word = s.word
    if word[FEATURES] & f.AGE_REFUSES_FULL and not force_scan and oldest_seq(word) + N_GENS - 1 <= word[MAX_SEQ]:
        return False
    try_to_inc_max_seq(s, force_scan)
    return True


@njit
def run_eviction(s: State, seq: Int, wanted: Int) -> Int:
    """The '-' command (run_eviction()) for generations up to `seq`; returns pages taken, -1 if refused (EINVAL)."""
    word = s.word
    word[RECLAIMED] = 0
    if seq + MIN_GENS > word[MAX_SEQ]:
        return i64(-1)
    word[HAS_WALK] = 1
    word[PRIORITY] = DEF_PRIORITY
    while seq >= oldest_seq(word) and word[RECLAIMED] < wanted:
        if not evict_folios(s, min(wanted - word[RECLAIMED], i64(MAX_BATCH))):
            break
    word[HAS_WALK] = 0
    return i64(word[RECLAIMED])
