"""Was the page that eviction wants used meanwhile, and if so, are its neighbours young, too? (mm/rmap.c, mm/vmscan.c)"""

from typing import Final

from agewalk.engine import counters as c
from agewalk.engine import features as f
from agewalk.engine.cells import lowest_bit, which_of, window
from agewalk.engine.gens import gen_of, update_gen
from agewalk.engine.jit import Int, i64, njit, njit_merge
from agewalk.engine.layout import (
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
    S_FIRST,
    S_MODE,
    S_NOTIFIERS,
    S_PAGES,
    YOUNG,
)
from agewalk.engine.queues import queue_activate, seen_young
from agewalk.engine.state import State
from agewalk.engine.walk import ask_huge, bloom_add, clear_bits, suitable_to_scan, without_idle

PAGEVEC_SIZE: Final = 15


@njit_merge
def listed_of(s: State, block: Int) -> Int:
    """Which of the 64 pages from 64 * block on are mapped and on a list. Remembered for a batch of eviction: what it isolated is
    on none until its end, and nothing else comes or goes."""
    slot = block % 2
    if s.word[LISTED + slot] != block:
        s.word[LISTED + slot] = block
        s.listed[slot] = which_of(s.page, block * 64, 64, MAPPED) & which_of(s.page, block * 64, 64, GEN_MASK)
    return s.listed[slot]


@njit
def look_around(s: State, folio: Int, space: Int, young: Int, cleared: Int) -> None:
    """lru_gen_look_around() behind its test: up to 64 pages around a young one are aged too, and its table remembered.

    `young`: 1 if the target is counted already, 0 if it is met among its neighbours (up to 6.12). cleared: its accessed bits that
    are to be cleared first.
    """
    touch, page, word = s.touch, s.page, s.word
    features, ad = word[FEATURES], s.space[space, S_AD]
    seen = i64(A_ANY if s.space[space, S_NOTIFIERS] else A_PRIMARY)
    first = max(folio // PTES * PTES, s.space[space, S_FIRST])
    end = min(folio // PTES * PTES + PTES, s.space[space, S_FIRST] + s.space[space, S_PAGES])
    if end - first > BATCH:
        if folio - first < BATCH // 2:
            end = first + BATCH
        elif end - folio < BATCH // 2:
            first = end - BATCH
        else:
            first = folio - BATCH // 2
            end = folio + BATCH // 2
    mode = s.space[space, S_MODE]
    everyone = s.space[space, S_NOTIFIERS] and features & f.WALK_NOTIFIES
    ask, asked = s.ask[ASK_NEIGHBOUR], s.asked[ASK_NEIGHBOUR]
    count = end - first
    accessed = which_of(touch, first, count, seen)  # before the target's byte is written: these 64 would wait for it
    if cleared:
        clear_bits(touch, page, folio, cleared, ad, features)
    if count == 1 and features & f.LOOK_AROUND_TESTS_TARGET:
        return
    if features & f.WORKINGSET_PROTECTION:
        block, shift = first // 64, first % 64
        beyond = listed_of(s, block + 1) if shift + count > 64 else s.listed[0]
        which = window(listed_of(s, block), beyond, shift, count)
    else:
        which = which_of(page, first, count, MAPPED)
    if not everyone:
        which &= which_of(touch, first, count, A_PRIMARY)
    if not features & f.LOOK_AROUND_AT_ONCE and word[HAS_WALK] == 1:  # up to 6.3: a walk without a swappiness yet
        which &= 0  # which can then promote file pages alone
    which = without_idle(s, i64(ASK_NEIGHBOUR), mode, which, ~accessed)
    later = i64(0)
    while which:
        near = first + lowest_bit(which)
        which &= which - 1
        bits, meta = i64(touch[near]), i64(page[near, META])
        row = mode * 8 + (bits & seen)
        asked[row] += 1
        answer = i64(ask[row])
        if answer & bits & A_ANY:
            clear_bits(touch, page, near, answer & A_ANY, ad, features)
        if not answer & YOUNG:
            continue
        young += 1
        if features & f.LOOK_AROUND_AT_ONCE:
            seen_young(word, page, near, word[HAS_WALK])
        elif not meta & GEN_MASK:
            page[near, META] = page[near, META] | REFERENCED
        elif gen_of(meta) != word[MAX_SEQ] % N_GENS:
            word[LATER + later] = near
            later += 1
    s.counts[c.LOOK_AROUND_PTES] += end - first
    s.pmd[folio // PTES, M_LOOK] = word[NOW]
    if suitable_to_scan(end - first, young):
        bloom_add(word, s.bloom, s.pmd, word[MAX_SEQ], folio // PTES)
    for i in range(later):  # few folios are activated one by one, many (PAGEVEC_SIZE) promoted under the lock
        if word[HAS_WALK] or later >= PAGEVEC_SIZE:
            update_gen(word, page, i64(word[LATER + i]), i64(BY_LOOK))
        else:
            queue_activate(word, page, i64(word[LATER + i]))


@njit_merge
def referenced(s: State, folio: Int, space: Int, meta: Int) -> Int:
    """folio_referenced(): was it used since somebody last looked? Clears what the protocol clears, and looks around."""
    if meta & HUGE:
        return i64(1 if ask_huge(s, folio, space, i64(ASK_HUGE_TARGET)) & YOUNG else 0)  # no look-around
    found = i64(0)
    tests_target = s.word[FEATURES] & f.LOOK_AROUND_TESTS_TARGET
    if not tests_target and s.touch[folio] & A_PRIMARY:
        s.counts[c.LOOK_AROUNDS] += 1
        look_around(s, folio, space, i64(0), i64(0))
        found = i64(1)
    bits = i64(s.touch[folio])
    seen = A_ANY if s.space[space, S_NOTIFIERS] else A_PRIMARY
    row = s.space[space, S_MODE] * 8 + (bits & seen)
    s.asked[ASK_TARGET, row] += 1
    answer = i64(s.ask[ASK_TARGET, row])
    cleared = answer & bits & A_ANY
    if tests_target:
        s.counts[c.LOOK_AROUNDS] += 1
    if tests_target and answer & LOOK_AROUND:
        look_around(s, folio, space, i64(1), cleared)
    elif cleared:
        clear_bits(s.touch, s.page, folio, cleared, s.space[space, S_AD], s.word[FEATURES])
    return i64(1) if answer & YOUNG else found
