"""Eviction: sort the oldest generation, isolate a batch, ask each page once more, take it or keep it (mm/vmscan.c)."""

from typing import Final

from agewalk.engine import counters as c
from agewalk.engine import features as f
from agewalk.engine.gens import (
    activate,
    add_folio,
    del_folio,
    folio_seq,
    gen_of,
    inc_gen,
    inc_refs,
    seen_young,
    set_refs,
    try_to_inc_min_seq,
    type_of,
    update_gen,
)
from agewalk.engine.jit import Array, Int, i64, njit
from agewalk.engine.layout import (
    A_ANY,
    A_PRIMARY,
    A_SHADOW,
    A_TDP,
    ACTIVE,
    ASK_NEIGHBOUR,
    ASK_TARGET,
    BATCH,
    D_PRIMARY,
    D_SHADOW,
    D_TDP,
    DIRTY,
    EVICTED,
    EVICTED_IN,
    FEATURES,
    GEN_MASK,
    HAS_WALK,
    HELD,
    HOT_AFTER,
    LATER,
    LIST_ISOLATED,
    LIST_KEPT,
    LOOK_AROUND,
    M_SPACE,
    MAX_BATCH,
    MAX_SEQ,
    META,
    MIN_GENS,
    MIN_SEQ,
    N_GENS,
    N_PAGES,
    NEXT,
    NOW,
    PREV,
    PROTECTED_IN,
    PTES,
    RECLAIMED,
    REFERENCED,
    REFS_FLAGS,
    REFS_FLAGS_OLD,
    REFS_MASK,
    RESIDENT,
    S_AD,
    S_FIRST,
    S_MODE,
    S_NOTIFIERS,
    S_PAGES,
    S_RSS,
    SWAPPINESS,
    USED,
    USED_NOW,
    WORKINGSET,
    YOUNG,
)
from agewalk.engine.lists import list_add, list_add_tail, list_del, list_empty, list_tail
from agewalk.engine.state import State
from agewalk.engine.tiers import lru_refs, lru_tier, tier_idx, type_to_scan
from agewalk.engine.walk import bloom_add, clear_bits, suitable_to_scan

PAGEVEC_SIZE: Final = 15


@njit
def look_around(s: State, folio: Int, space: Int, young: Int) -> None:
    """lru_gen_look_around() behind its test: up to 64 pages around a young one are aged too, and its table remembered.

    `young`: 1 if the target is counted already, 0 if it is met among its neighbours (up to 6.12).
    """
    touch, page, word = s.touch, s.page, s.word
    features = word[FEATURES]
    first = max(folio // PTES * PTES, s.space[space, S_FIRST])
    end = min(folio // PTES * PTES + PTES, s.space[space, S_FIRST] + s.space[space, S_PAGES])
    if end - first == 1 and features & f.LOOK_AROUND_TESTS_TARGET:
        return
    if end - first > BATCH:
        if folio - first < BATCH // 2:
            end = first + BATCH
        elif end - folio < BATCH // 2:
            first = end - BATCH
        else:
            first = folio - BATCH // 2
            end = folio + BATCH // 2
    mode, ad = s.space[space, S_MODE], s.space[space, S_AD]
    everyone = s.space[space, S_NOTIFIERS] and features & f.WALK_NOTIFIES
    listed = features & f.WORKINGSET_PROTECTION
    ask, asked = s.ask[ASK_NEIGHBOUR], s.asked[ASK_NEIGHBOUR]
    later = i64(0)
    for near in range(first, end):
        meta = i64(page[near, META])
        bits = i64(touch[near])
        if not meta & RESIDENT or not (everyone or bits & A_PRIMARY) or (listed and not meta & GEN_MASK):
            continue
        row = mode * 8 + (bits & A_ANY)
        asked[row] += 1
        answer = i64(ask[row])
        if answer & bits & A_ANY:
            clear_bits(touch, near, answer & A_ANY, ad)
        if not answer & YOUNG:
            continue
        young += 1
        if features & f.LOOK_AROUND_AT_ONCE:
            seen_young(word, page, i64(near), word[HAS_WALK])
        elif not meta & GEN_MASK:
            page[near, META] = meta | REFERENCED
        elif gen_of(meta) != word[MAX_SEQ] % N_GENS:
            word[LATER + later] = near
            later += 1
    s.counts[c.LOOK_AROUND_PTES] += end - first
    if suitable_to_scan(end - first, young):
        bloom_add(word, s.bloom, s.pmd, word[MAX_SEQ], folio // PTES)
    for i in range(later):  # few folios are activated one by one, many (PAGEVEC_SIZE) promoted under the lock
        if word[HAS_WALK] or later >= PAGEVEC_SIZE:
            update_gen(word, page, i64(word[LATER + i]))
        else:
            activate(word, page, i64(word[LATER + i]))


@njit
def referenced(s: State, folio: Int) -> Int:
    """folio_referenced(): references found, and cleared as the protocol clears them. Its look-around comes along."""
    space = i64(s.pmd[folio // PTES, M_SPACE])
    found = i64(0)
    tests_target = s.word[FEATURES] & f.LOOK_AROUND_TESTS_TARGET
    if not tests_target and s.touch[folio] & A_PRIMARY:
        s.counts[c.LOOK_AROUNDS] += 1
        look_around(s, folio, space, i64(0))
        found = i64(1)
    bits = i64(s.touch[folio])
    row = s.space[space, S_MODE] * 8 + (bits & A_ANY)
    s.asked[ASK_TARGET, row] += 1
    answer = i64(s.ask[ASK_TARGET, row])
    if answer & bits & A_ANY:
        clear_bits(s.touch, folio, answer & A_ANY, s.space[space, S_AD])
    if tests_target:
        s.counts[c.LOOK_AROUNDS] += 1
        if answer & LOOK_AROUND:
            look_around(s, folio, space, i64(1))
    return found + i64(1 if answer & YOUNG else 0)


@njit
def take(s: State, folio: Int) -> None:
    """The end of a page: unmapped everywhere, written if it is dirty, a shadow entry left in its place."""
    word, page = s.word, s.page
    if word[FEATURES] & f.ZAP_PROPAGATES_ACCESSED:  # kvm_set_pfn_accessed() for each accessed SPTE
        for a_bit in (A_SHADOW, A_TDP):
            if s.touch[folio] & a_bit and s.space[i64(s.pmd[folio // PTES, M_SPACE]), S_NOTIFIERS]:
                inc_refs(word, page, folio)
    meta = i64(page[folio, META])
    kind = type_of(meta)
    refs, workingset = lru_refs(word, meta), i64(1 if meta & WORKINGSET else 0)
    tier = lru_tier(word, refs, workingset)
    word[EVICTED_IN + kind * 4 + tier] += 1
    token = word[MIN_SEQ + kind] << 2 | max(refs - 1, 0)
    if word[FEATURES] & f.WORKINGSET_PROTECTION:
        shadow = token << 1 | workingset
    else:
        shadow = token << 1 | i64(1 if refs else 0)
    space = i64(s.pmd[folio // PTES, M_SPACE])
    s.space[space, S_RSS] -= 1
    used = i64(word[NOW] if s.touch[folio] & USED_NOW else page[folio, USED])
    page[folio, USED] = used
    s.counts[c.EVICTIONS] += 1
    if word[NOW] - used < word[HOT_AFTER]:
        s.counts[c.HOT_EVICTIONS] += 1
    if meta & (DIRTY | D_TDP | D_SHADOW | D_PRIMARY):
        s.counts[c.SWAP_WRITES] += 1
    s.touch[folio] = 0
    page[folio, META] = EVICTED | (meta & 0)
    page[folio, NEXT] = shadow & 0x7FFFFFFF
    page[folio, PREV] = word[NOW]
    word[HELD] -= 1
    word[RECLAIMED] += 1


@njit
def sort_folio(word: Array, page: Array, folio: Int, meta: Int, last_tier: Int) -> bool:
    """sort_folio(): a folio that was promoted by its flags, or whose tier is protected, moves on. Did it?"""
    kind = type_of(meta)
    base = word[N_PAGES]
    gen = gen_of(meta)
    if gen != word[MIN_SEQ + kind] % N_GENS:
        list_del(page, folio)
        list_add(page, base + gen * 2 + kind, folio)
        return True
    protects = word[FEATURES] & f.WORKINGSET_PROTECTION
    refs, workingset = lru_refs(word, meta), i64(1 if meta & WORKINGSET else 0)
    tier = lru_tier(word, refs, workingset)
    saturated = refs + workingset == 5 if protects else refs == 4
    if tier > last_tier or saturated:
        gen = inc_gen(word, page, folio)
        list_del(page, folio)
        if protects:
            list_add(page, base + gen * 2 + kind, folio)
        else:
            list_add_tail(page, base + gen * 2 + kind, folio)
        if not (protects and saturated):
            word[PROTECTED_IN + kind * 4 + tier] += 1
        return True
    return False


@njit
def scan_folios(s: State, budget: Int, kind: Int, last_tier: Int) -> tuple[Int, Int]:
    """scan_folios(): (looked at, isolated) of the oldest generation of a type; the isolated go on LIST_ISOLATED."""
    word, page = s.word, s.page
    if word[MAX_SEQ] - word[MIN_SEQ + kind] + 1 == MIN_GENS:
        return i64(0), i64(0)
    head = word[N_PAGES] + word[MIN_SEQ + kind] % N_GENS * 2 + kind
    scanned = isolated = i64(0)
    while scanned < budget and isolated < BATCH and not list_empty(page, head):
        folio = list_tail(page, head)
        meta = i64(page[folio, META])
        scanned += 1
        if sort_folio(word, page, folio, meta, last_tier):
            continue
        if not meta & REFERENCED:
            meta &= ~(REFS_MASK if word[FEATURES] & f.WORKINGSET_PROTECTION else REFS_FLAGS_OLD)
        if not word[FEATURES] & f.WORKINGSET_PROTECTION:
            meta &= ~REFERENCED
        page[folio, META] = meta
        del_folio(word, page, folio)
        list_add(page, word[N_PAGES] + LIST_ISOLATED, folio)
        isolated += 1
    return scanned, isolated


@njit
def keep_or_take(s: State, folio: Int) -> None:
    """shrink_folio_list() for one isolated folio: ask whether it was used; if not, take it, else LIST_KEPT."""
    word, page = s.word, s.page
    meta = i64(page[folio, META])
    kept = word[N_PAGES] + LIST_KEPT
    s.counts[c.SCANNED] += 1
    if word[FEATURES] & f.KEEPS_REFERENCED_MAPPED and meta & REFERENCED:
        list_add(page, kept, folio)  # a look-around found it young while it was isolated
        return
    references = referenced(s, folio)
    if not references:
        take(s, folio)
        return
    if word[FEATURES] & f.WORKINGSET_PROTECTION:
        again = set_refs(word, page, folio)
    else:
        meta = i64(page[folio, META])
        again = bool(meta & REFERENCED) or references > 1
        page[folio, META] = meta | REFERENCED
    if again:
        page[folio, META] = page[folio, META] | ACTIVE
    list_add(page, kept, folio)


@njit
def put_back(s: State) -> None:
    """The end of evict_folios(): folios that stay do not go back into the oldest generation."""
    word, page = s.word, s.page
    kept = word[N_PAGES] + LIST_KEPT
    protects = word[FEATURES] & f.WORKINGSET_PROTECTION
    folio = list_tail(page, kept)
    while folio != kept:
        meta = i64(page[folio, META])
        if not protects:
            page[folio, META] = (meta & ~REFS_FLAGS_OLD) | ACTIVE
        elif folio_seq(word, meta, i64(0)) == word[MIN_SEQ + type_of(meta)]:
            page[folio, META] = (meta & ~REFS_FLAGS) | ACTIVE
        folio = i64(page[folio, PREV])
    while not list_empty(page, kept):
        folio = list_tail(page, kept)
        list_del(page, folio)
        add_folio(word, page, folio)


@njit
def oldest_seq(word: Array) -> Int:
    """The generation that bounds eviction: evictable_min_seq() since 6.14, min_seq[!can_swap] before."""
    if word[FEATURES] & f.BY_EVICTABLE_TYPE:
        anon, file = i64(word[MIN_SEQ]), i64(word[MIN_SEQ + 1])
        if word[SWAPPINESS] == 0:
            return file
        return anon if word[SWAPPINESS] > 200 else min(anon, file)
    return i64(word[MIN_SEQ + (0 if word[SWAPPINESS] else 1)])


@njit
def isolate_folios(s: State, budget: Int) -> Int:
    """isolate_folios(): from the type that refaults least; from the other one if that has nothing to give."""
    word = s.word
    kind, tier = type_to_scan(word)
    rounds = 2 if 0 < word[SWAPPINESS] <= 200 else 1
    total = i64(0)
    for _ in range(rounds):
        if tier < 0:
            tier = tier_idx(word, kind)
        scanned, isolated = scan_folios(s, budget, kind, tier)
        if word[FEATURES] & f.LOOP_FIXED_BUDGET:
            total += scanned
            if isolated:
                return total
            if not scanned:
                kind = 1 - kind
        else:
            if isolated or scanned == budget:
                return scanned
            kind = 1 - kind
        tier = i64(-1)
    return total


@njit
def evict_folios(s: State, nr_to_scan: Int) -> Int:
    """evict_folios(): one batch. Returns how much was looked at; 0 when there is nothing to be had."""
    word, page = s.word, s.page
    if word[FEATURES] & f.FLUSHES_EMPTY_FIRST:
        try_to_inc_min_seq(word, page)
    budget = min(nr_to_scan, i64(MAX_BATCH)) if word[FEATURES] & f.SCAN_LIMIT else i64(MAX_BATCH)
    scanned = isolate_folios(s, budget)
    if word[FEATURES] & f.FLUSHES_EMPTY_FIRST:
        if scanned:
            try_to_inc_min_seq(word, page)
    else:
        if try_to_inc_min_seq(word, page):
            scanned += 1
        if word[MAX_SEQ] - oldest_seq(word) + 1 == MIN_GENS:
            scanned = i64(0)
    isolated = word[N_PAGES] + LIST_ISOLATED
    while not list_empty(page, isolated):
        folio = list_tail(page, isolated)
        list_del(page, folio)
        keep_or_take(s, folio)
    put_back(s)
    return scanned
