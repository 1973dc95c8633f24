"""Which folios eviction takes off their list: the oldest generation, from its tail, but for those that move on (mm/vmscan.c)."""

from typing import Final

from agewalk.engine.aging.generations import gen_of, inc_gen
from agewalk.engine.aging.tiers import flags_of, is_saturated, learn_flags, lru_refs, nr_pages, tier_idx, type_to_scan
from agewalk.engine.compiler.jit import Int, i64, njit
from agewalk.engine.compiler.state_types import fetch_row, rarely
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    BATCH,
    BY_MASK,
    FEATURES,
    GEN_MASK,
    GEN_SHIFT,
    HEADS,
    HOLE,
    HUGE,
    ISOLATED,
    MAX_SEQ,
    META,
    MIN_GENS,
    MIN_SEQ,
    MOVING,
    N_GENS,
    NR_PAGES,
    PROTECTED,
    PROTECTED_IN,
    REFERENCED,
    REFS_FLAGS_OLD,
    REFS_MASK,
    SWAPPINESS,
    TAILS,
    TIER_OF,
    WORKINGSET,
)
from agewalk.engine.state.lru_lists import list_add, list_add_tail, push, take

SORT_BITS: Final = GEN_MASK | REFERENCED | WORKINGSET | REFS_MASK | HUGE  # what decides whether a folio moves on


@njit
def protect(s: State, folio: Int, meta: Int, kind: Int) -> None:
    """sort_folio() of one whose tier is protected: it goes on to the next generation."""
    word, folios = s.word, s.folios
    protects = word[FEATURES] & f.WORKINGSET_PROTECTION
    gen = inc_gen(word, folios, folio)
    if protects:
        list_add(s, gen * 2 + kind, folio)
    else:
        list_add_tail(s, gen * 2 + kind, folio)
    flags = flags_of(meta)
    if not (protects and is_saturated(word, lru_refs(word, meta), flags >> 1 & 1)):
        word[PROTECTED_IN + kind * 4 + (word[TIER_OF] >> 2 * flags & 3)] += nr_pages(meta)


@njit
def sort_folios(s: State, count: Int, kind: Int, oldest: Int) -> None:
    """sort_folio() for the first folios of MOVING, in their order: they were promoted by their flags, mostly to where the one
    before was, or their tier is protected. oldest: index of the generation that they leave."""
    word, folios = s.word, s.folios
    rarely()
    number, place = i64(-1), i64(0)
    for i in range(count):
        folio = i64(word[MOVING + i])
        meta = i64(folios[folio, META])
        to = gen_of(meta) * 2 + kind
        if to != number:
            if number >= 0:
                word[HEADS + number] = place
                number = i64(-1)
            if to == oldest * 2 + kind:
                protect(s, folio, meta, kind)
                continue
            number = to
            place = i64(word[HEADS + number])
        place = push(s, place, folio)
    if number >= 0:
        word[HEADS + number] = place


@njit
def scan_folios(s: State, budget: Int, kind: Int, last_tier: Int) -> tuple[Int, Int]:
    """scan_folios(): pages (looked at, isolated) of the oldest generation of a type; the isolated go to ISOLATED. Before
    7.3 nothing counts as looked at if nothing was isolated and the budget, in folios, is not used up.

    What is looked at leaves its list, one way or the other, so that is cut once at the end. What eviction reads next of an
    isolated page is asked for here. Mostly a folio is like the one before: what is the same for both is decided once.
    """
    word, folios = s.word, s.folios
    if word[MAX_SEQ] - word[MIN_SEQ + kind] + 1 == MIN_GENS:
        return i64(0), i64(0)
    if not word[TIER_OF]:
        learn_flags(word)
    oldest = word[MIN_SEQ + kind] % N_GENS
    number = oldest * 2 + kind
    here, protected = (oldest + 1) << GEN_SHIFT, word[PROTECTED + last_tier]
    unused, used = (
        ~(GEN_MASK | BY_MASK | REFS_MASK),
        ~(GEN_MASK | BY_MASK),
    )  # what stays of META, without PG_referenced or with it
    if not word[FEATURES] & f.WORKINGSET_PROTECTION:
        unused &= ~REFS_FLAGS_OLD
        used &= ~REFERENCED
    scanned = isolated = moving = i64(0)
    budget_left, taken = i64(budget), i64(word[ISOLATED])
    alike, pages, stays, moves = i64(-1), i64(0), i64(0), False
    place, head = i64(word[TAILS + number]), word[HEADS + number]
    while budget_left and isolated < BATCH and place != head:
        folio, place = take(s, place)
        if folio == HOLE:
            continue
        meta = i64(folios[folio, META])
        if meta & SORT_BITS != alike:
            alike = meta & SORT_BITS
            pages = nr_pages(meta)
            moves = bool(meta & GEN_MASK != here or protected >> flags_of(meta) & 1)
            stays = used if meta & REFERENCED else unused
        scanned += pages
        budget_left -= 1
        if moves:
            word[MOVING + moving] = folio
            moving += 1
            if moving == BATCH:
                sort_folios(s, moving, kind, oldest)
                moving = i64(0)
        else:
            fetch_row(s.pte_bits, folio)
            fetch_row(s.used_at, folio)
            fetch_row(s.evicted_at, folio)
            folios[folio, META] = meta & stays
            taken += 1
            word[ISOLATED + taken] = folio
            isolated += pages
    if moving:
        sort_folios(s, moving, kind, oldest)
    word[TAILS + number] = place
    word[ISOLATED] = taken
    word[NR_PAGES + number] -= isolated
    if budget_left and not isolated and not word[FEATURES] & f.LOOP_FIXED_BUDGET:
        scanned = i64(0)
    return scanned, isolated


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
            if isolated or scanned:
                return scanned
            kind = 1 - kind
        tier = i64(-1)
    return total
