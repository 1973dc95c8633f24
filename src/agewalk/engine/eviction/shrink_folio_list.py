"""Eviction: sort the oldest generation, isolate a batch, ask each page once more, take it or keep it (mm/vmscan.c)."""

from agewalk.engine.access.folio_batches import is_queued, mark_accessed
from agewalk.engine.aging.generations import add_folios, kept_flags, set_refs, try_to_inc_min_seq
from agewalk.engine.aging.look_around import referenced
from agewalk.engine.aging.tiers import flags_of, nr_pages
from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_inline, njit_merge
from agewalk.engine.compiler.state_types import rarely
from agewalk.engine.eviction.isolate import isolate_folios
from agewalk.engine.eviction.uniform_batch import count_scanned, entry_is_dirty, free_page, shrink_uniform
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.huge import accessed
from agewalk.engine.state.layout import (
    A_SHADOW,
    A_TDP,
    ACTIVE,
    ANON,
    BY_KEPT,
    D_PRIMARY,
    DIRTY,
    EVICTED_IN,
    FEATURES,
    HUGE,
    ISOLATED,
    KEPT,
    LISTED,
    LOST_W_SHADOW,
    M_SPACE,
    M_STATE,
    M_YOUNG,
    MAPPED,
    MAX_BATCH,
    MAX_SEQ,
    META,
    MIN_GENS,
    MIN_SEQ,
    NOW,
    P_SHADOW,
    PTES,
    REFERENCED,
    RW_PRIMARY,
    S_INVALIDATED,
    S_NOTIFIERS,
    S_RSS,
    S_SMALL,
    SHADOW_OF,
    SPTE_BITS,
    SWAPCACHE,
    SWAPPINESS,
    TABLE,
    TIER_OF,
    USED_NOW,
    W_SHADOW,
)


@njit
def unmap_huge(s: State, folio: Int, space: Int) -> None:
    """try_to_unmap() of 2 MiB: KVM's tables first, in which the shadow MMU may map its pages one by one; then the entry is split
    into a page table (TTU_SPLIT_HUGE_PMD), whose entries go."""
    rarely()
    word, folios, pte_bits = s.word, s.folios, s.pte_bits
    bits = accessed(pte_bits, folio)
    used, written = i64(0), False
    for shift in range(2):  # the shadow MMU's bits, the TDP MMU's beside them
        mine, lost = A_SHADOW >> shift, (W_SHADOW | LOST_W_SHADOW) >> shift
        one = not s.space[space, S_SMALL] & mine
        for each in range(folio, folio + (1 if one else PTES)):
            used += 1 if (bits if one else pte_bits[each]) & mine else 0
            written = written or bool(
                pte_bits[each] & (P_SHADOW >> shift) and folios[each, META] & lost == W_SHADOW >> shift
            )
    for each in range(folio, folio + PTES):
        if pte_bits[each] & USED_NOW:
            s.used_at[each] = word[NOW]
        pte_bits[each] = 0
    if s.space[space, S_NOTIFIERS]:
        if word[FEATURES] & f.ZAP_PROPAGATES_ACCESSED:
            for _ in range(used):
                folios[folio, META] = mark_accessed(s, folio, i64(folios[folio, META]))
        if written and word[FEATURES] & f.ZAP_PROPAGATES_DIRTY:
            folios[folio, META] = folios[folio, META] | DIRTY
    if folios[folio, META] & D_PRIMARY:
        folios[folio, META] = folios[folio, META] | DIRTY
    for each in range(folio, folio + PTES):
        folios[each, META] = folios[each, META] & ~(MAPPED | RW_PRIMARY | D_PRIMARY | SPTE_BITS)
    s.pmd[folio // PTES, M_STATE] = TABLE
    s.pmd[folio // PTES, M_YOUNG] = 1
    s.space[space, S_RSS] -= PTES
    s.space[space, S_INVALIDATED] += 1


@njit_merge
def unmap(s: State, folio: Int, space: Int, meta: Int) -> Int:
    """try_to_unmap(): KVM's tables first, then the entry; its dirty bit goes to the folio. The last use is written down.
    meta: its META, which need not be written yet; returns what to write."""
    word, folios = s.word, s.folios
    if meta & HUGE:
        folios[folio, META] = meta
        unmap_huge(s, folio, space)
        return i64(folios[folio, META])
    bits = i64(s.pte_bits[folio])
    if not s.space[space, S_NOTIFIERS]:
        if bits & A_TDP:
            s.pmd[folio // PTES, M_YOUNG] = 1
    elif bits & (A_TDP | A_SHADOW) and word[FEATURES] & f.ZAP_PROPAGATES_ACCESSED:
        if bits & A_SHADOW:  # kvm_set_pfn_accessed() for each accessed SPTE
            meta = mark_accessed(s, folio, meta)
        if bits & A_TDP:
            meta = mark_accessed(s, folio, meta)
    if not meta & DIRTY and entry_is_dirty(s, space, meta, bits):
        meta |= DIRTY
    if bits & USED_NOW:
        s.used_at[folio] = word[NOW]
    s.pte_bits[folio] = 0
    s.space[space, S_RSS] -= 1
    s.space[space, S_INVALIDATED] += 1
    return meta & ~(MAPPED | RW_PRIMARY | D_PRIMARY | SPTE_BITS)


@njit_merge
def free_folio(s: State, folio: Int, pages: Int, space: Int, shadow: Int, meta: Int) -> None:
    """The folio is to be free; its pages remember when, and have a shadow entry each. meta: its META."""
    if pages == 1:
        free_page(s, folio, space, shadow, meta, s.word[NOW])
    else:
        for each in range(folio, folio + pages):
            free_page(s, i64(each), space, shadow, i64(s.folios[each, META]), s.word[NOW])


@njit_merge
def remove_mapping(s: State, folio: Int, pages: Int, space: Int, meta: Int) -> bool:
    """__remove_mapping(): out of the swap cache, a shadow entry in its place. Not while a batch still holds it."""
    word = s.word
    if is_queued(word, folio):
        s.folios[folio, META] = meta
        return False
    flags = flags_of(meta)
    word[EVICTED_IN + ANON * 4 + (word[TIER_OF] >> 2 * flags & 3)] += pages
    shadow = (word[MIN_SEQ + ANON] << 3 | word[SHADOW_OF] >> 3 * flags & 7) & 0x7FFFFFFF
    free_folio(s, folio, pages, space, shadow, meta)
    return True


@njit_inline
def shrink_folio(s: State, folio: Int, meta: Int) -> Int:
    """shrink_folio_list() for one isolated folio: pages that are to be free. Was it used? If not, it is written to swap."""
    word, folios = s.word, s.folios
    if word[FEATURES] & f.KEEPS_REFERENCED_MAPPED and meta & MAPPED and meta & REFERENCED:
        return i64(0)  # a look-around found it young while it was isolated
    space = i64(s.pmd[folio // PTES, M_SPACE])
    protects = word[FEATURES] & f.WORKINGSET_PROTECTION
    if meta & MAPPED:
        used, meta = referenced(s, folio, space, meta)
        if used:
            if protects:
                folios[folio, META] = set_refs(word, meta)
            else:
                folios[folio, META] = meta | REFERENCED | (ACTIVE if meta & REFERENCED else 0)
            return i64(0)
    pages = nr_pages(meta)
    if not protects:
        meta &= ~REFERENCED
    if not meta & SWAPCACHE:
        meta |= SWAPCACHE | DIRTY
    if meta & MAPPED:
        meta = unmap(s, folio, space, meta)
    if meta & DIRTY:
        meta &= ~DIRTY
        s.counts[c.SWAP_WRITES] += pages
    return pages if remove_mapping(s, folio, pages, space, meta) else i64(0)


@njit
def put_back(s: State, kept: Int, retried: Int) -> None:
    """The end of evict_folios(), for the first folios of KEPT: those that stay are kept out of the oldest generation and go back
    to a list (move_folios_to_lru()); clean unmapped ones get one more try, in ISOLATED."""
    word, folios = s.word, s.folios
    protects = word[FEATURES] & f.WORKINGSET_PROTECTION
    back = i64(0)
    for i in range(kept):
        folio = i64(word[KEPT + i])
        meta = i64(folios[folio, META])
        if not retried and not meta & (MAPPED | ACTIVE | DIRTY) and (protects or not meta & REFERENCED):
            word[ISOLATED] += 1
            word[ISOLATED + word[ISOLATED]] = folio
            continue
        folios[folio, META] = kept_flags(word, meta) | BY_KEPT
        word[KEPT + back] = folio
        back += 1
    add_folios(s, i64(KEPT), back)


@njit_inline
def shrink_isolated(s: State) -> None:
    """shrink_folio_list() for all of ISOLATED, and what becomes of them."""
    word, folios = s.word, s.folios
    if word[ISOLATED] and shrink_uniform(s):
        word[ISOLATED] = 0
        return
    for retried in range(2):
        word[LISTED] = word[LISTED + 1] = -1
        kept = seen = freed = i64(0)
        for i in range(1, word[ISOLATED] + 1):
            folio = i64(word[ISOLATED + i])
            meta = i64(folios[folio, META])
            seen += nr_pages(meta)
            pages = shrink_folio(s, folio, meta)
            freed += pages
            if not pages:
                word[KEPT + kept] = folio
                kept += 1
        count_scanned(s, freed, seen)
        word[ISOLATED] = 0
        put_back(s, kept, i64(retried))


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
def evict_folios(s: State, nr_to_scan: Int) -> Int:
    """evict_folios(): one batch. Returns how much was looked at; 0 when there is nothing to be had."""
    word = s.word
    if word[FEATURES] & f.FLUSHES_EMPTY_FIRST:
        try_to_inc_min_seq(s)
    budget = min(nr_to_scan, i64(MAX_BATCH)) if word[FEATURES] & f.SCAN_LIMIT else i64(MAX_BATCH)
    scanned = isolate_folios(s, budget)
    if word[FEATURES] & f.FLUSHES_EMPTY_FIRST:
        if scanned:
            try_to_inc_min_seq(s)
    else:
        if try_to_inc_min_seq(s):
            scanned += 1
        if word[MAX_SEQ] - oldest_seq(word) + 1 == MIN_GENS:
            scanned = i64(0)
    shrink_isolated(s)
    return scanned
