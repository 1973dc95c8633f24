"""Reclaim from the classic lists, and the accesses that lead to it (mm/vmscan.c, 6.12, lru_gen off).

Compiled on its own: hosts under MGLRU do not wait for it.
"""

from agewalk.engine.access.batch import EncodedAccesses, encode_accesses, end_of_tick, has_many, note_all, note_used
from agewalk.engine.access.folio_batches import is_queued, lru_add_drain
from agewalk.engine.access.hit_path import run_hits
from agewalk.engine.access.kvm_fault import mark_running, memoising_access
from agewalk.engine.access.mm_fault import needs_frame
from agewalk.engine.aging.page_table_walk import ask_huge, clear_bits
from agewalk.engine.aging.tiers import nr_pages
from agewalk.engine.classic_lru.lists import SWAP_CLUSTER_MAX, classic_add, classic_shadow, note_cost, shadow_rest
from agewalk.engine.compiler.jit import Array, Int, entry, i64, njit, njit_inline, njit_merge
from agewalk.engine.compiler.state_types import fetch_row
from agewalk.engine.eviction.reclaim import DEF_PRIORITY, DIRECT, KSWAPD_RUN, MAX_RECLAIM_RETRIES, next_priority
from agewalk.engine.eviction.shrink_folio_list import free_folio, unmap
from agewalk.engine.eviction.uniform_batch import common_bits, count_scanned, free_old, unmapped
from agewalk.engine.state import counters as c
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    A_ANY,
    A_PRIMARY,
    ACTIVE,
    ASK_HUGE_TARGET,
    ASK_TARGET,
    BY_MASK,
    DIRTY,
    EXHAUSTED,
    FEATURES,
    FRAMES,
    GEN_MASK,
    HEADS,
    HELD,
    HIGH,
    HOLE,
    HUGE,
    ISOLATED,
    KEPT,
    KSWAPD,
    LIST_ACTIVE,
    LIST_INACTIVE,
    LOOKED_AT,
    LOW,
    M_SPACE,
    MAPPED,
    META,
    MINIMUM,
    NOTED,
    NOW,
    NR_ACTIVE,
    NR_INACTIVE,
    PRIORITY,
    PTES,
    RECLAIMED,
    REFERENCED,
    S_AD,
    S_INVALIDATED,
    S_MODE,
    S_NOTIFIERS,
    SOME_UNUSED,
    SWAPCACHE,
    SWAPPINESS,
    T_ACTIVATIONS,
    T_AGE,
    T_COST,
    T_REFAULTS,
    TAILS,
    WORKINGSET,
    WRITTEN,
    YOUNG,
)
from agewalk.engine.state.lru_lists import take

GIB_PAGES_SHIFT = 18


@njit
def inactive_is_low(word: Array) -> bool:
    """inactive_is_low(): may the active list be cut? By size alone below 1 GiB, above it may be sqrt(10 * GiB) times larger."""
    inactive, active = word[NR_INACTIVE], word[NR_ACTIVE]
    gib = (inactive + active) >> GIB_PAGES_SHIFT
    ratio = i64(1)
    if gib:
        while (ratio + 1) * (ratio + 1) <= 10 * gib:
            ratio += 1
    return bool(inactive * ratio < active)


@njit_merge
def asked(s: State, folio: Int, meta: Int) -> bool:
    """folio_referenced(): was it used? Clears what the protocol clears. Nobody looks around."""
    space = i64(s.pmd[folio // PTES, M_SPACE])
    if meta & HUGE:
        return bool(ask_huge(s, folio, space, i64(ASK_HUGE_TARGET)) & YOUNG)
    bits = i64(s.pte_bits[folio])
    row = s.space[space, S_MODE] * 8 + (bits & (A_ANY if s.space[space, S_NOTIFIERS] else A_PRIMARY))
    s.asked[ASK_TARGET, row] += 1
    answer = i64(s.ask[ASK_TARGET, row])
    if answer & bits & A_ANY:
        clear_bits(s.pte_bits, s.folios, folio, answer & A_ANY, s.space[space, S_AD], s.word[FEATURES])
    return bool(answer & YOUNG)


@njit
def isolate(s: State, active: Int, nr_to_scan: Int) -> Int:
    """isolate_lru_folios(): from the tail of a list, which is cut once at the end, to ISOLATED. How many pages."""
    word, folios = s.word, s.folios
    number = LIST_ACTIVE if active else LIST_INACTIVE
    taken, isolated = i64(0), i64(0)
    place, head = i64(word[TAILS + number]), word[HEADS + number]
    while taken < nr_to_scan and place != head:
        folio, place = take(s, place)
        if folio == HOLE:
            continue
        fetch_row(s.pte_bits, folio)
        fetch_row(s.used_at, folio)
        fetch_row(s.evicted_at, folio)
        fetch_row(s.shadow_rest, folio)
        meta = i64(folios[folio, META])
        taken += nr_pages(meta)
        folios[folio, META] = meta & ~(GEN_MASK | BY_MASK)
        isolated += 1
        word[ISOLATED + isolated] = folio
    word[TAILS + number] = place
    word[ISOLATED] = isolated
    word[NR_ACTIVE if active else NR_INACTIVE] -= taken
    return taken


@njit_inline
def shrink_one(s: State, folio: Int, meta: Int, pages: Int) -> bool:
    """shrink_folio_list() for one folio: was it freed? The first use that is seen marks it, the second activates it."""
    word, folios = s.word, s.folios
    used = bool(meta & MAPPED) and asked(s, folio, meta)
    meta = i64(folios[folio, META])
    if used:
        folios[folio, META] = meta | ACTIVE | REFERENCED if meta & REFERENCED else meta | REFERENCED
        return False
    meta &= ~REFERENCED
    if not meta & SWAPCACHE:
        meta |= SWAPCACHE | DIRTY
    space = i64(s.pmd[folio // PTES, M_SPACE])
    if meta & MAPPED:
        meta = unmap(s, folio, space, meta)
    if meta & DIRTY:
        meta &= ~DIRTY
        s.counts[c.SWAP_WRITES] += pages
    if is_queued(word, folio):
        folios[folio, META] = meta
        return False
    free_folio(s, folio, pages, space, word[T_AGE] & 0x7FFFFFFF, meta)
    classic_shadow(s, folio, meta)
    return True


@njit
def free_all_old(s: State, space: Int) -> None:
    """shrink_one() for all of ISOLATED, small mapped pages of this space without accessed bits, which the protocol calls old."""
    word, folios = s.word, s.folios
    count, now, clock = word[ISOLATED], word[NOW], word[T_AGE]
    s.asked[ASK_TARGET, s.space[space, S_MODE] * 8] += count
    written = i64(0)
    for i in range(1, count + 1):
        folio = i64(word[ISOLATED + i])
        meta = i64(folios[folio, META])
        written += free_old(s, folio, space, meta, clock & 0x7FFFFFFF, now)
        s.shadow_rest[folio] = shadow_rest(clock, meta)
        clock += 1
    word[T_AGE] = clock
    unmapped(s, space, count, written)


@njit
def shrink_inactive(s: State, nr_to_scan: Int) -> Int:
    """shrink_inactive_list(): pages reclaimed."""
    word, folios = s.word, s.folios
    lru_add_drain(s)
    taken = isolate(s, i64(0), nr_to_scan)
    if not taken:
        return i64(0)
    reclaimed = activated = kept = i64(0)
    space = i64(s.pmd[i64(word[ISOLATED + 1]) // PTES, M_SPACE])
    if not s.ask[ASK_TARGET, s.space[space, S_MODE] * 8] and not common_bits(s, space, i64(0)):
        free_all_old(s, space)
        reclaimed = taken
        word[ISOLATED] = 0
    for i in range(1, word[ISOLATED] + 1):
        folio = i64(word[ISOLATED + i])
        meta = i64(folios[folio, META])
        pages = nr_pages(meta)
        if shrink_one(s, folio, meta, pages):
            reclaimed += pages
        else:
            word[KEPT + kept] = folio
            kept += 1
    count_scanned(s, reclaimed, taken)
    for i in range(kept):  # move_folios_to_lru()
        folio = i64(word[KEPT + i])
        if folios[folio, META] & ACTIVE:
            activated += nr_pages(i64(folios[folio, META]))
        classic_add(s, folio)
    word[T_AGE] += activated
    note_cost(word, reclaimed * SWAP_CLUSTER_MAX + taken - reclaimed)
    return reclaimed


@njit
def shrink_active(s: State, nr_to_scan: Int) -> None:
    """shrink_active_list(): back to the inactive list, accessed bits cleared on the way, whatever they say."""
    word, folios = s.word, s.folios
    lru_add_drain(s)
    isolate(s, i64(1), nr_to_scan)
    for i in range(1, word[ISOLATED] + 1):
        folio = i64(word[ISOLATED + i])
        meta = i64(folios[folio, META])
        if meta & MAPPED:
            asked(s, folio, meta)
        folios[folio, META] = (folios[folio, META] & ~ACTIVE) | WORKINGSET
        classic_add(s, folio)


@njit
def share_of(word: Array, size: Int) -> Int:
    """get_scan_count() for one list of anonymous folios, calculate_pressure_balance() for their part against file pages."""
    scan = size >> word[PRIORITY]
    swappiness, cost = word[SWAPPINESS], word[T_COST]
    if not word[PRIORITY] and swappiness:
        return scan
    anon = swappiness * (3 * cost + 1) // (2 * cost + 1)
    file = (200 - swappiness) * (3 * cost + 1) // (cost + 1)
    return scan * anon // (anon + file)


@njit
def shrink_lists(s: State, goal: Int, force: Int) -> bool:
    """prepare_scan_control() and shrink_lruvec(): each list its share, 32 pages at a time. Was an active list spared?"""
    word = s.word
    may_deactivate = bool(force) or word[T_ACTIVATIONS] != word[T_REFAULTS] or inactive_is_low(word)
    inactive, active = share_of(word, word[NR_INACTIVE]), share_of(word, word[NR_ACTIVE])
    proportional = not word[KSWAPD] and word[PRIORITY] == DEF_PRIORITY
    reclaimed, skipped = i64(0), False
    while inactive:
        batch = min(inactive, i64(SWAP_CLUSTER_MAX))
        inactive -= batch
        reclaimed += shrink_inactive(s, batch)
        batch = min(active, i64(SWAP_CLUSTER_MAX))
        active -= batch
        if batch and may_deactivate:
            shrink_active(s, batch)
        elif batch:
            skipped = True
        if reclaimed >= goal and not proportional:
            break
    if inactive_is_low(word) and may_deactivate:
        shrink_active(s, i64(SWAP_CLUSTER_MAX))
    return skipped


@njit
def reclaim_lists(s: State, why: Int) -> Int:
    """Pages reclaimed. DIRECT: try_to_free_pages(), SWAP_CLUSTER_MAX pages; active lists that were spared are opened if nothing
    else could be had. KSWAPD_RUN: balance_pgdat(), as `reclaim.reclaim` does it for MGLRU."""
    word = s.word
    word[RECLAIMED] = 0
    word[KSWAPD] = 1 if why == KSWAPD_RUN else 0
    if why == DIRECT:
        for force in range(2):
            spared = False
            for step in range(DEF_PRIORITY + 1):
                word[PRIORITY] = DEF_PRIORITY - step
                spared |= shrink_lists(s, i64(SWAP_CLUSTER_MAX), i64(force))
                if word[RECLAIMED] >= SWAP_CLUSTER_MAX:
                    break
            word[T_REFAULTS] = word[T_ACTIVATIONS]  # snapshot_refaults()
            if word[RECLAIMED] or not spared:
                break
        return i64(word[RECLAIMED])
    s.counts[c.KSWAPD_RUNS] += 1
    priority, goal = i64(DEF_PRIORITY), max(word[HIGH], i64(SWAP_CLUSTER_MAX))
    while priority > 0 and word[FRAMES] - word[HELD] <= word[HIGH]:
        word[PRIORITY] = priority
        if inactive_is_low(word):  # kswapd_age_node()
            shrink_active(s, i64(SWAP_CLUSTER_MAX))
        word[LOOKED_AT] = 0
        before = i64(word[RECLAIMED])
        shrink_lists(s, goal, i64(0))
        priority = next_priority(word, priority, goal, before)
    word[KSWAPD] = 0
    return i64(word[RECLAIMED])


@njit
def run_tick_two_list(s: State, r: EncodedAccesses, n: Int) -> None:
    """kvm_fault.run_tick() with the classic lists behind it."""
    word = s.word
    word[NOTED] = 0
    i = run_hits(s, r, i64(0), n)
    while i < n:
        if word[SOME_UNUSED]:
            mark_running(s, r, i + 1)
        word[NOTED] = i + 1
        folio, kind = i64(r.host_pages[i]), i64(r.kinds[i])
        space = i64(s.pmd[folio // PTES, M_SPACE])
        seq = i64(s.space[space, S_INVALIDATED])
        wakes = False
        if needs_frame(s, folio, space, kind & WRITTEN):
            wakes = bool(word[FRAMES] - word[HELD] <= word[LOW])
            retries = 0
            while word[FRAMES] - word[HELD] - 1 < word[MINIMUM] and retries <= MAX_RECLAIM_RETRIES:
                retries = 0 if reclaim_lists(s, i64(DIRECT)) else retries + 1
            if word[HELD] >= word[FRAMES]:
                word[EXHAUSTED] = 1
        memoising_access(s, folio, space, kind, seq)
        if wakes:
            reclaim_lists(s, i64(KSWAPD_RUN))
        i = run_hits(s, r, i + 1, n)
    if word[SOME_UNUSED]:
        mark_running(s, r, n)
    word[NOTED] = n
    s.counts[c.ACCESSES] += n


@entry
def run_batch_two_list(s: State, r: EncodedAccesses, start: Int, end: Int, tick_ns: Int) -> Int:
    """kvm_fault.run_batch() with the classic lists behind it."""
    refused = False
    while start < end and not refused:
        tick = r.time_ns[start] // tick_ns
        s.word[NOW] = tick
        until = (tick + 1) * tick_ns
        many = has_many(s, r, start, end, until)
        while start < end and r.time_ns[start] < until and not refused:
            wanted = end_of_tick(r, start, end, until) - start
            n = encode_accesses(s, r, start, start + wanted)
            run_tick_two_list(s, r, n)
            if not many:
                note_used(s, r, n)
            start += n
            refused = n < wanted
        if many:
            note_all(s)
    return start
