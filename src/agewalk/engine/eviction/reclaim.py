"""How hard reclaim tries: the loops around evict_folios() (mm/vmscan.c), for the one lruvec of a host."""

from typing import Final

from agewalk.engine.access.folio_batches import lru_add_drain
from agewalk.engine.aging.page_table_walk import try_to_inc_max_seq
from agewalk.engine.aging.tiers import order_base_2
from agewalk.engine.compiler.jit import Array, Int, entry, i64, njit, njit_inline
from agewalk.engine.eviction.shrink_folio_list import evict_folios, oldest_seq
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    AGE_NODE,
    BATCH,
    FEATURES,
    FRAMES,
    HAS_WALK,
    HELD,
    HIGH,
    KSWAPD,
    LAST_RECLAIMED,
    LOOKED_AT,
    LOW,
    MAX_BATCH,
    MAX_SEQ,
    MIN_GENS,
    MIN_SEQ,
    N_GENS,
    NEED_AGING,
    NR_PAGES,
    PRIORITY,
    RECLAIMED,
    SWAPPINESS,
    TARGET_MEMCG,
)

DEF_PRIORITY: Final = 12
SWAP_CLUSTER_MAX: Final = 32
MAX_RECLAIM_RETRIES: Final = 16

# Why reclaim runs.
DIRECT, KSWAPD_RUN, PROACTIVE, COMMAND = range(4)


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
    if word[FEATURES] & f.LOOP_FIXED_BUDGET:
        return share
    word[NEED_AGING] = should_run_aging(word)
    if not word[NEED_AGING]:
        return share
    if word[PRIORITY] == DEF_PRIORITY:
        return share if evictable else i64(0)
    if word[FEATURES] & f.LOOP_NEED_AGING and word[KSWAPD]:
        return i64(0)
    word[HAS_WALK] = max(word[HAS_WALK], i64(1))
    aged = try_to_inc_max_seq(s, i64(0))
    if word[FEATURES] & f.LOOP_NEED_AGING:
        return share if aged or evictable else i64(0)
    return i64(-1) if aged else i64(0)


@njit
def should_abort(word: Array, goal: Int, seq: Int) -> bool:
    """should_abort_scan(): `seq` is max_seq at the start of this lruvec's turn. 6.1 counts a stop at a watermark as a batch."""
    free, kswapd = word[FRAMES] - word[HELD], word[KSWAPD]
    enough = bool(word[RECLAIMED] - word[LAST_RECLAIMED] >= goal)
    if word[FEATURES] & f.LOOP_NEED_AGING:
        if not kswapd and (enough or word[MAX_SEQ] - seq > 1):
            return True
        if word[TARGET_MEMCG] or (kswapd and not enough):
            return False
        if word[PRIORITY] > DEF_PRIORITY - 2 or free < word[HIGH if kswapd else LOW]:
            return False
        word[RECLAIMED] += BATCH
        return True
    if word[TARGET_MEMCG] and not word[FEATURES] & f.ABORT_WHEN_DONE:
        return False
    return bool(enough or (kswapd and free > word[HIGH] + BATCH))


@njit
def set_initial_priority(word: Array, goal: Int) -> None:
    """set_initial_priority(): where a scan should bring the pages that kswapd wants, if it brings the share of inactive ones."""
    if not word[FEATURES] & f.ESTIMATES_PRIORITY or word[PRIORITY] != DEF_PRIORITY or goal < BATCH:
        return
    inactive = i64(0)
    for seq in range(word[MAX_SEQ] + 1, word[MAX_SEQ] + 1 + N_GENS - MIN_GENS):  # all but the two youngest, by index
        inactive += word[NR_PAGES + seq % N_GENS * 2]
    least = DEF_PRIORITY // 2 if word[FEATURES] & f.ESTIMATES_GENTLY else 0
    word[PRIORITY] = min(max(order_base_2(inactive + 1) - 1 - order_base_2(goal), least), DEF_PRIORITY)


@njit
def age_node(s: State, goal: Int) -> None:
    """lru_gen_age_node(): 6.1's kswapd ages here, unless the pass before took a batch and did not lack cold pages; later ones
    may estimate their priority. goal: what the pass before wanted, if there was one."""
    word = s.word
    if word[FEATURES] & f.ESTIMATES_GENTLY and word[RECLAIMED]:
        set_initial_priority(word, goal)
    if not word[FEATURES] & f.LOOP_NEED_AGING:
        return
    if word[AGE_NODE] and should_run_aging(word):
        try_to_inc_max_seq(s, i64(0))
    word[AGE_NODE] = 1


@njit
def shrink_lruvec(s: State, goal: Int, proactive: Int) -> None:
    """lru_gen_shrink_lruvec(): try_to_shrink_lruvec() at word[PRIORITY]."""
    word = s.word
    features = word[FEATURES]
    lru_add_drain(s)
    word[HAS_WALK] = 1 if word[KSWAPD] or (proactive and features & f.PROACTIVE_WALK) else 0
    if word[KSWAPD]:
        set_initial_priority(word, goal)
    seq = i64(word[MAX_SEQ])
    if features & f.LOOP_FIXED_BUDGET:
        budget_left, aged = nr_to_scan(s), False
        while budget_left > 0:
            seq = i64(word[MAX_SEQ])
            if should_run_aging(word):
                word[HAS_WALK] = max(word[HAS_WALK], i64(1))
                try_to_inc_max_seq(s, i64(0))
                aged = True
            done = evict_folios(s, min(budget_left, i64(BATCH)))
            if not done or should_abort(word, goal, seq) or (aged and not word[TARGET_MEMCG]):
                break
            budget_left -= done
    else:
        scanned, before = i64(0), i64(word[RECLAIMED])
        while True:
            share = nr_to_scan(s)
            if share <= 0:
                break
            done = evict_folios(s, share)
            scanned += done
            if not done:
                break
            if scanned >= share or should_abort(word, goal, seq):
                if word[RECLAIMED] - before >= BATCH and not word[NEED_AGING]:
                    word[AGE_NODE] = 0
                break
    word[HAS_WALK] = 0


@njit_inline
def do_try_to_free_pages(s: State, goal: Int, proactive: Int) -> Int:
    """do_try_to_free_pages(): ever larger shares, 1/4096 first, until enough is reclaimed; returns how many went."""
    word = s.word
    word[RECLAIMED] = 0
    for _ in range(2 if word[FEATURES] & f.FULL_WALK_RETRY else 1):
        for step in range(DEF_PRIORITY + 1):
            word[PRIORITY] = DEF_PRIORITY - step
            shrink_lruvec(s, goal, proactive)
            if word[RECLAIMED] >= goal:
                break
        if word[RECLAIMED]:
            break
    return i64(word[RECLAIMED])


@njit
def next_priority(word: Array, priority: Int, goal: Int, before: Int) -> Int:
    """How hard kswapd looks next: harder if it did not see or get enough; from the start again after a round that got something.

    balance_pgdat() and kswapd_shrink_node(). goal: pages to look at; before: pages reclaimed before this step.
    """
    if word[LOOKED_AT] < goal or word[RECLAIMED] == before:
        priority -= 1
    if priority < 1 and word[RECLAIMED] and word[FRAMES] - word[HELD] <= word[HIGH]:
        priority = i64(DEF_PRIORITY)
        word[RECLAIMED] = 0
        word[AGE_NODE] = 0
    return priority


@entry
def reclaim(s: State, why: Int, first: Int, second: Int) -> Int:
    """Every way into reclaim behind one door, so that what lies behind is compiled into its callers once.

    DIRECT: try_to_free_pages() of `first` pages, by the task that allocates, from the whole node.
    KSWAPD_RUN: balance_pgdat(), until free pages are above the high watermark or it cannot get further.
    PROACTIVE: memory.reclaim of `first` pages.
    COMMAND: the '-' of lru_gen (run_eviction()) for generations up to `first`, at most `second` pages.
    Returns how many pages went; -1 if a command is refused (EINVAL).
    """
    word = s.word
    word[KSWAPD] = 0
    word[TARGET_MEMCG] = 1 if why >= PROACTIVE else 0
    word[RECLAIMED] = 0
    word[LAST_RECLAIMED] = 0
    word[AGE_NODE] = 0
    if why == DIRECT:
        return do_try_to_free_pages(s, max(first, i64(SWAP_CLUSTER_MAX)), i64(0))
    if why == PROACTIVE:
        done, retries = i64(0), i64(MAX_RECLAIM_RETRIES)
        while done < first:
            budget_left = first - done
            goal = budget_left // 4 if word[FEATURES] & f.RECLAIM_QUARTERS else budget_left
            if not retries:
                lru_add_drain(s)
            freed = do_try_to_free_pages(s, max(goal, i64(SWAP_CLUSTER_MAX)), i64(1))
            done += freed
            if not freed:
                if not retries:
                    break
                retries -= 1
        return done
    if why == COMMAND:
        if first + MIN_GENS > word[MAX_SEQ]:
            return i64(-1)
        word[HAS_WALK] = 1
        word[PRIORITY] = DEF_PRIORITY
        while first >= oldest_seq(word) and word[RECLAIMED] < second:
            if not evict_folios(s, min(second - word[RECLAIMED], i64(MAX_BATCH))):
                break
        word[HAS_WALK] = 0
        return i64(word[RECLAIMED])
    priority = i64(DEF_PRIORITY)
    goal = max(word[HIGH], i64(SWAP_CLUSTER_MAX))
    s.counts[c.KSWAPD_RUNS] += 1
    while priority > 0 and word[FRAMES] - word[HELD] <= word[HIGH]:
        word[PRIORITY] = priority
        word[LAST_RECLAIMED] = word[RECLAIMED]
        age_node(s, goal)
        word[KSWAPD] = 1
        word[LOOKED_AT] = 0
        shrink_lruvec(s, goal, i64(0))
        priority = next_priority(word, i64(word[PRIORITY]), goal, i64(word[LAST_RECLAIMED]))
    word[KSWAPD] = 0
    return i64(word[RECLAIMED])


@entry
def run_aging(s: State, force_scan: Int) -> bool:
    """The '+' command (run_aging()) for the present max_seq, with can_swap 1. False: refused (ERANGE)."""
    word = s.word
    usual = i64(word[SWAPPINESS])
    word[SWAPPINESS] = 1
    refused = word[FEATURES] & f.AGE_REFUSES_FULL and not force_scan and oldest_seq(word) + N_GENS - 1 <= word[MAX_SEQ]
    if not refused:
        try_to_inc_max_seq(s, force_scan)
    word[SWAPPINESS] = usual
    return not refused
