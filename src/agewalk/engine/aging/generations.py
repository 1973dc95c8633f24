"""Generations of one lruvec: entering, promoting, moving on, retiring (mm/vmscan.c and include/linux/mm_inline.h)."""

from typing import Final

from agewalk.engine.aging.tiers import lru_refs, lru_tier, nr_pages, reset_ctrl_pos
from agewalk.engine.classic_lru.lists import classic_add, classic_del
from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    ACTIVE,
    ANON,
    BY_CARRY,
    BY_MASK,
    FEATURES,
    GEN_MASK,
    GEN_SHIFT,
    HEADS,
    HUGE,
    MAX_BATCH,
    MAX_SEQ,
    META,
    MIN_GENS,
    MIN_SEQ,
    N_GENS,
    NOW,
    NR_PAGES,
    OPENED,
    PROTECTED_IN,
    REFERENCED,
    REFS_FLAGS,
    REFS_FLAGS_OLD,
    REFS_MASK,
    REFS_SHIFT,
    SWAPCACHE,
    SWAPPINESS,
    TAILS,
    WALK_SEQ,
    WORKINGSET,
)
from agewalk.engine.state.lru_lists import list_add_tail, list_del, list_empty, list_tail, push, take

ENTRY_BITS: Final = ACTIVE | SWAPCACHE | WORKINGSET | REFERENCED | HUGE  # what decides how a folio enters


@njit
def gen_of(meta: Int) -> Int:
    """folio_lru_gen(): generation index, -1 while on no list."""
    return ((meta & GEN_MASK) >> GEN_SHIFT) - 1


@njit
def folio_seq(word: Array, meta: Int) -> Int:
    """Where an anonymous folio enters: lru_gen_add_folio() up to 6.13, lru_gen_folio_seq() since 6.14."""
    max_seq, min_seq = word[MAX_SEQ], word[MIN_SEQ + ANON]
    protects = word[FEATURES] & f.WORKINGSET_PROTECTION
    if meta & ACTIVE and not protects:
        return max_seq
    waits = not meta & SWAPCACHE  # it must be written before it can go
    if protects:
        if meta & ACTIVE:
            back = i64(1 if meta & WORKINGSET else 2)
        elif waits:
            back = i64(2)
        else:
            old = meta & WORKINGSET or (meta & REFERENCED and word[FEATURES] & f.REFERENCED_ENTERS_OLDER)
            back = i64(3 if old else 4)
        return max(max_seq - back + 1, min_seq)
    if waits:
        return max_seq - 1
    if min_seq + MIN_GENS >= max_seq:
        return min_seq
    return min_seq + 1


@njit
def entry_of(word: Array, meta: Int) -> tuple[Int, Int]:
    """lru_gen_add_folio(): index of the generation that a folio enters, and what of META (ENTRY_BITS) it loses there."""
    gone = GEN_MASK | ACTIVE
    if word[FEATURES] & f.ACTIVE_CLEARS_REFS and meta & ACTIVE:
        gone |= REFS_MASK | REFERENCED
    return folio_seq(word, meta) % N_GENS, i64(gone)


@njit
def add_folios(s: State, first: Int, count: Int) -> None:
    """lru_gen_add_folio() for those in word[first], word[first + 1] ..., to the heads of their lists. Mostly one enters as the
    one before did: what is the same for both is done once."""
    word, folios = s.word, s.folios
    if word[FEATURES] & f.TWO_LIST:
        for i in range(first, first + count):
            classic_add(s, i64(word[i]))
        return
    alike = number = i64(-1)
    mark = gone = place = since = i64(0)
    for i in range(first, first + count):
        folio = i64(word[i])
        meta = i64(folios[folio, META])
        if meta & ENTRY_BITS != alike:
            if number >= 0:
                word[HEADS + number] = place
                word[NR_PAGES + number] += (i - since) * nr_pages(alike)
            alike, since = meta & ENTRY_BITS, i64(i)
            gen, gone = entry_of(word, meta)
            mark, number = (gen + 1) << GEN_SHIFT, gen * 2 + ANON
            place = i64(word[HEADS + number])
        folios[folio, META] = meta & ~gone | mark
        place = push(s, place, folio)
    if number >= 0:
        word[HEADS + number] = place
        word[NR_PAGES + number] += (first + count - since) * nr_pages(alike)


@njit_merge
def del_folio(s: State, folio: Int) -> None:
    """lru_gen_del_folio(reclaiming)."""
    word, folios = s.word, s.folios
    if word[FEATURES] & f.TWO_LIST:
        classic_del(s, folio)
        return
    meta = i64(folios[folio, META])
    word[NR_PAGES + gen_of(meta) * 2 + ANON] -= nr_pages(meta)
    folios[folio, META] = meta & ~(GEN_MASK | BY_MASK)
    list_del(s, folio)


@njit
def update_gen(word: Array, folios: Array, folio: Int, by: Int) -> None:
    """folio_update_gen() to max_seq: the folio was seen young. Its place in the list stays; sort_folio() moves it later.

    Up to 6.13 at once; since 6.14 the first sight only sets PG_referenced. by: BY_WALK or BY_LOOK.
    """
    meta = i64(folios[folio, META])
    gen = gen_of(meta)
    new_gen = word[MAX_SEQ] % N_GENS
    if word[FEATURES] & f.WORKINGSET_PROTECTION:
        if not meta & (REFERENCED | WORKINGSET):
            folios[folio, META] = (meta & ~REFS_MASK) | REFERENCED
            return
        if gen < 0:
            return
        meta = (meta & ~(GEN_MASK | REFS_FLAGS | BY_MASK)) | (new_gen + 1) << GEN_SHIFT | WORKINGSET | by
    else:
        if gen < 0:
            folios[folio, META] = meta | REFERENCED
            return
        meta = (meta & ~(GEN_MASK | REFS_FLAGS_OLD | BY_MASK)) | (new_gen + 1) << GEN_SHIFT | by
    folios[folio, META] = meta
    if gen != new_gen:
        pages = nr_pages(meta)
        word[NR_PAGES + gen * 2 + ANON] -= pages
        word[NR_PAGES + new_gen * 2 + ANON] += pages


@njit
def inc_gen(word: Array, folios: Array, folio: Int) -> Int:
    """folio_inc_gen(): out of the oldest generation into the next; a folio promoted meanwhile stays. Returns its index."""
    meta = i64(folios[folio, META])
    old = word[MIN_SEQ + ANON] % N_GENS
    gen = gen_of(meta)
    if gen not in (-1, old):
        return gen
    gen = (old + 1) % N_GENS
    cleared = REFS_FLAGS if word[FEATURES] & f.WORKINGSET_PROTECTION else REFS_FLAGS_OLD
    folios[folio, META] = (meta & ~(GEN_MASK | cleared | BY_MASK)) | (gen + 1) << GEN_SHIFT | BY_CARRY
    pages = nr_pages(meta)
    word[NR_PAGES + old * 2 + ANON] -= pages
    word[NR_PAGES + gen * 2 + ANON] += pages
    return gen


@njit
def inc_min_seq(s: State, kind: Int) -> bool:
    """inc_min_seq(): empty the oldest generation into the next, tail to tail; False if more than MAX_LRU_BATCH are left."""
    word, folios = s.word, s.folios
    swappiness = word[SWAPPINESS]
    if not (kind == ANON and swappiness == 0) and not (kind == 1 and swappiness > 200):
        number = word[MIN_SEQ + kind] % N_GENS * 2 + kind
        rework = word[FEATURES] & f.WORKINGSET_PROTECTION
        for _ in range(MAX_BATCH):
            place = list_tail(s, number)
            if place == word[HEADS + number]:
                break
            folio, word[TAILS + number] = take(s, place)
            meta = i64(folios[folio, META])
            gen = inc_gen(word, folios, folio)
            list_add_tail(s, gen * 2 + kind, folio)
            if rework:
                refs, workingset = lru_refs(word, meta), i64(1 if meta & WORKINGSET else 0)
                if refs + workingset != 5:
                    word[PROTECTED_IN + kind * 4 + lru_tier(word, refs, workingset)] += nr_pages(meta)
        else:
            return False  # the budget ran out, whether or not the list did
    reset_ctrl_pos(word, kind)
    word[MIN_SEQ + kind] += 1
    return True


@njit
def try_to_inc_min_seq(s: State) -> bool:
    """try_to_inc_min_seq(): pass over empty oldest generations, MIN_NR_GENS stay. Did any type move on?"""
    word = s.word
    swappiness = word[SWAPPINESS]
    rework = word[FEATURES] & f.BY_EVICTABLE_TYPE
    max_seq = word[MAX_SEQ]
    first, last = 0 if swappiness else 1, 1 if swappiness <= 200 else 0
    anon, file = i64(word[MIN_SEQ]), i64(word[MIN_SEQ + 1])
    if first == 0:
        while anon + MIN_GENS <= max_seq and list_empty(s, anon % N_GENS * 2):
            anon += 1
    while last == 1 and file + MIN_GENS <= max_seq and list_empty(s, file % N_GENS * 2 + 1):
        file += 1
    if rework:
        if anon == word[MIN_SEQ] and file == word[MIN_SEQ + 1]:
            return False
        if first == 0 and last == 1:
            limit = max_seq - MIN_GENS
            if anon > limit and file < limit:
                anon = limit
            elif file > limit and anon < limit:
                file = limit
    elif swappiness:
        anon = min(anon, file)
        file = max(anon, i64(word[MIN_SEQ + 1]))
    moved = False
    for kind in range(first, last + 1):
        seq = anon if kind == 0 else file
        if seq == word[MIN_SEQ + kind] or (rework and seq < word[MIN_SEQ + kind]):
            continue
        reset_ctrl_pos(word, i64(kind))
        word[MIN_SEQ + kind] = seq
        moved = True
    return moved


@njit
def inc_max_seq(s: State) -> None:
    """inc_max_seq(): a new youngest generation; if there are four already, the oldest is merged into the next first."""
    word = s.word
    for i in range(2):
        kind = i if word[FEATURES] & f.BY_EVICTABLE_TYPE else 1 - i
        while word[MAX_SEQ] - word[MIN_SEQ + kind] + 1 == N_GENS:
            inc_min_seq(s, i64(kind))
    word[MAX_SEQ] += 1
    word[OPENED + word[MAX_SEQ] % N_GENS] = word[NOW]


@njit
def walk_is_due(word: Array) -> bool:
    """try_to_inc_max_seq(): does this max_seq still need its walk?"""
    return bool(word[MAX_SEQ] > word[WALK_SEQ])


@njit_merge
def inc_refs(word: Array, meta: Int) -> Int:
    """lru_gen_inc_refs(): folio_mark_accessed() under MGLRU, from META to META. The last bit to fill is PG_workingset from 6.14
    on, refs before."""
    late = word[FEATURES] & f.WORKINGSET_PROTECTION
    if not meta & REFERENCED:
        return ((meta & ~REFS_MASK) if late else meta) | REFERENCED
    if not late and not meta & WORKINGSET:
        return meta | WORKINGSET
    if meta & REFS_MASK != REFS_MASK:
        return meta + (1 << REFS_SHIFT)
    return meta | WORKINGSET


@njit_merge
def set_refs(word: Array, meta: Int) -> Int:
    """lru_gen_set_refs() (6.14): eviction saw a use, which activates all but a first one. From META to META."""
    if not meta & (REFERENCED | WORKINGSET):
        return (meta & ~REFS_MASK) | REFERENCED
    if word[FEATURES] & f.RMAP_SECOND_ACCESS_MARKS and lru_refs(word, meta) <= 1:
        return inc_refs(word, meta) | ACTIVE
    return (meta & ~REFS_FLAGS) | WORKINGSET | ACTIVE


@njit_merge
def kept_flags(word: Array, meta: Int) -> Int:
    """move_folios_to_lru(): a folio that reclaim keeps does not go back to the oldest generation. From META to META."""
    if not word[FEATURES] & f.WORKINGSET_PROTECTION:
        return (meta & ~REFS_FLAGS_OLD) | ACTIVE
    if folio_seq(word, meta) == word[MIN_SEQ + ANON]:
        return (meta & ~REFS_FLAGS) | ACTIVE
    return meta
