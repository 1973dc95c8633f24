"""folio_referenced() (mm/rmap.c) and lru_gen_look_around() (mm/vmscan.c)."""

from typing import Final

from agewalk.engine.access.folio_batches import queue_activate, seen_young
from agewalk.engine.aging.generations import gen_of, update_gen
from agewalk.engine.aging.page_table_walk import ask_huge, bloom_add, clear_bits, suitable_to_scan, without_old
from agewalk.engine.aging.young_bitmap import count_bitmaps
from agewalk.engine.compiler.jit import Int, i64, njit, njit_merge
from agewalk.engine.compiler.state_types import lowest_bit, rarely, which_of, window
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    A_ANY,
    A_PRIMARY,
    ASK_HUGE_TARGET,
    ASK_NEIGHBOUR,
    ASK_TARGET,
    BATCH,
    BY_LOOK,
    FEATURES,
    GEN_MASK,
    HAS_WALK,
    HUGE,
    LATER,
    LISTED,
    LOOK_AROUND,
    M_LOOK,
    MAPPED,
    MAX_SEQ,
    META,
    N_GENS,
    NOW,
    PTES,
    REFERENCED,
    S_AD,
    S_ASKED,
    S_FIRST,
    S_MODE,
    S_NOTIFIERS,
    S_PAGES,
    YOUNG,
)

PAGEVEC_SIZE: Final = 15


@njit
def list_block(s: State, block: Int, slot: Int) -> None:
    """listed_of(), looked up."""
    rarely()
    s.word[LISTED + slot] = block
    s.listed[slot] = which_of(s.folios, block * 64, 64, MAPPED) & which_of(s.folios, block * 64, 64, GEN_MASK)


@njit_merge
def listed_of(s: State, block: Int) -> Int:
    """Which of the 64 pages from 64 * block on are mapped and on a list. Remembered for a batch of eviction: what it isolated is
    on none until its end, and nothing else comes or goes."""
    slot = block % 2
    if s.word[LISTED + slot] != block:
        list_block(s, block, slot)
    return s.listed[slot]


@njit_merge
def window_of(s: State, page: Int, space: Int) -> tuple[Int, Int]:
    """(first page, how many) that a look-around visits: 64 around `folio`, as far as its page table and its memory go."""
    table = page // PTES * PTES
    first = max(table, s.space[space, S_FIRST])
    end = min(table + PTES, s.space[space, S_FIRST] + s.space[space, S_PAGES])
    if end - first <= BATCH:
        return first, end - first
    return min(max(first, page - BATCH // 2), end - BATCH), i64(BATCH)


@njit
def promote_neighbours(s: State, first: Int, which: Int, mode: Int, seen: Int, ad: Int) -> Int:
    """Ask about neighbours one by one; how many are young. which: bits, as of `which_of` from page `first` on."""
    rarely()
    pte_bits, folios, word = s.pte_bits, s.folios, s.word
    features = word[FEATURES]
    ask, asked = s.ask[ASK_NEIGHBOUR], s.asked[ASK_NEIGHBOUR]
    young = later = i64(0)
    while which:
        near = first + lowest_bit(which)
        which &= which - 1
        bits, meta = i64(pte_bits[near]), i64(folios[near, META])
        row = mode * 8 + (bits & seen)
        asked[row] += 1
        answer = i64(ask[row])
        if answer & bits & A_ANY:
            clear_bits(pte_bits, folios, near, answer & A_ANY, ad, features)
        if not answer & YOUNG:
            continue
        young += 1
        if features & f.LOOK_AROUND_AT_ONCE:
            seen_young(s, near, word[HAS_WALK])
        elif not meta & GEN_MASK:
            folios[near, META] = folios[near, META] | REFERENCED
        elif gen_of(meta) != word[MAX_SEQ] % N_GENS:
            word[LATER + later] = near
            later += 1
    for i in range(later):  # few folios are activated one by one, many (PAGEVEC_SIZE) promoted under the lock
        if word[HAS_WALK] or later >= PAGEVEC_SIZE:
            update_gen(word, folios, i64(word[LATER + i]), i64(BY_LOOK))
        else:
            queue_activate(s, i64(word[LATER + i]))
    return young


@njit_merge
def look_around(s: State, page: Int, space: Int, young: Int, cleared: Int) -> None:
    """lru_gen_look_around() behind its test: up to 64 pages around a young one are aged too, and its table remembered.

    `young`: 1 if the target is counted already, 0 if it is met among its neighbours (up to 6.12). cleared: its accessed bits that
    are to be cleared first.
    """
    pte_bits, folios, word = s.pte_bits, s.folios, s.word
    features, ad = word[FEATURES], s.space[space, S_AD]
    mode, notifiers = s.space[space, S_MODE], s.space[space, S_NOTIFIERS]
    seen = i64(A_ANY if notifiers else A_PRIMARY)
    first, count = window_of(s, page, space)
    accessed = which_of(pte_bits, first, count, seen)  # before the target's byte is written: these 64 would wait for it
    if cleared:
        clear_bits(pte_bits, folios, page, cleared, ad, features)
    if count == 1 and features & f.LOOK_AROUND_TESTS_TARGET:
        return
    if features & f.ASKS_BY_BITMAP and s.space[space, S_ASKED]:
        takes = i64(features & f.LOOK_AROUND_AT_ONCE != 0 or word[HAS_WALK] != 1)
        count_bitmaps(s, first, first + count, space, i64(0), takes)
    if features & f.WORKINGSET_PROTECTION:
        block, shift = first // 64, first % 64
        beyond = listed_of(s, block + 1) if shift + count > 64 else s.listed[0]
        which = window(listed_of(s, block), beyond, shift, count)
    else:
        which = which_of(folios, first, count, MAPPED)
    if not s.space[space, S_ASKED]:
        which &= which_of(pte_bits, first, count, A_PRIMARY)
    if not features & f.LOOK_AROUND_AT_ONCE and word[HAS_WALK] == 1:  # up to 6.3: a walk without a swappiness yet
        which &= 0  # which can then promote file pages alone
    which = without_old(s, i64(ASK_NEIGHBOUR), mode, which, ~accessed)
    if which:
        young += promote_neighbours(s, first, which, mode, seen, ad)
    s.counts[c.LOOK_AROUND_PTES] += count
    s.pmd[page // PTES, M_LOOK] = word[NOW]
    if suitable_to_scan(count, young):
        bloom_add(word, s.bloom, s.pmd, word[MAX_SEQ], page // PTES)


@njit
def look_around_first(s: State, page: Int, space: Int) -> None:
    """look_around() of a target that is asked about afterwards (up to 6.12)."""
    rarely()
    look_around(s, page, space, i64(0), i64(0))


@njit_merge
def referenced(s: State, folio: Int, space: Int, meta: Int) -> tuple[bool, Int]:
    """folio_referenced(): was the folio used since its accessed bits were last cleared? Clears what the protocol clears, and
    looks around. META of the folio, which that may change, comes back with the answer."""
    folios = s.folios
    if meta & HUGE:  # no look-around
        used = bool(ask_huge(s, folio, space, i64(ASK_HUGE_TARGET)) & YOUNG)
        return used, i64(folios[folio, META])
    found = False
    tests_target = s.word[FEATURES] & f.LOOK_AROUND_TESTS_TARGET
    if tests_target:
        s.counts[c.LOOK_AROUNDS] += 1
    elif s.pte_bits[folio] & A_PRIMARY:
        s.counts[c.LOOK_AROUNDS] += 1
        look_around_first(s, folio, space)
        found = True
    bits = i64(s.pte_bits[folio])
    seen = A_ANY if s.space[space, S_NOTIFIERS] else A_PRIMARY
    row = s.space[space, S_MODE] * 8 + (bits & seen)
    s.asked[ASK_TARGET, row] += 1
    answer = i64(s.ask[ASK_TARGET, row])
    if not answer and not found:  # as for most
        return False, meta
    cleared = answer & bits & A_ANY
    if tests_target and answer & LOOK_AROUND:
        look_around(s, folio, space, i64(1), cleared)
    elif cleared:
        clear_bits(s.pte_bits, folios, folio, cleared, s.space[space, S_AD], s.word[FEATURES])
    return found or bool(answer & YOUNG), i64(folios[folio, META])
