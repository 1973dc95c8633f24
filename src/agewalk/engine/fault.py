"""What happens when an access finds no usable entry, or must set a dirty bit: the slow path of a touch."""

from agewalk.engine import counters as c
from agewalk.engine import features as f
from agewalk.engine.gens import add_folio, inc_refs
from agewalk.engine.jit import Array, Int, i64, njit
from agewalk.engine.layout import (
    A_PRIMARY,
    ACTIVE,
    D_PRIMARY,
    D_SHADOW,
    D_TDP,
    EVICTED,
    FEATURES,
    HELD,
    LIMIT,
    M_SPACE,
    M_STATE,
    MAX_SEQ,
    META,
    MIN_SEQ,
    N_GENS,
    NEXT,
    P_ANY,
    P_PRIMARY,
    P_SHADOW,
    P_TDP,
    PTES,
    REFAULTED_IN,
    REFERENCED,
    REFS_MASK,
    REFS_SHIFT,
    RESIDENT,
    S_NOTIFIERS,
    S_RSS,
    USED_NOW,
    WORKINGSET,
    WRITTEN,
)
from agewalk.engine.reclaim import memcg_reclaim
from agewalk.engine.state import State
from agewalk.engine.tiers import lru_tier


@njit
def refault(word: Array, meta: Int, shadow: Int) -> Int:
    """lru_gen_refault(): flags of a page that comes back by a fault and finds its shadow."""
    token, workingset = shadow >> 1, shadow & 1
    seq = token >> 2
    if word[FEATURES] & f.REFAULT_WINDOW:
        recent = abs(word[MAX_SEQ] - seq) < N_GENS
    else:
        recent = seq == word[MIN_SEQ]
    if not recent:
        return meta
    protects = word[FEATURES] & f.WORKINGSET_PROTECTION
    refs = (token & 3) + (1 if protects else workingset)
    word[REFAULTED_IN + lru_tier(word, refs, workingset)] += 1
    if not protects:
        return meta | REFS_MASK | WORKINGSET
    if workingset:
        return meta | WORKINGSET
    return (meta & ~REFS_MASK) | (refs - 1) << REFS_SHIFT


@njit
def fault_in(s: State, folio: Int, space: Int) -> None:
    """do_anonymous_page() or do_swap_page(): charge (reclaiming if memory is full), put on the lists, map."""
    word, page = s.word, s.page
    tries = 0
    while word[HELD] >= word[LIMIT] and tries < 16:
        memcg_reclaim(s, i64(1), i64(0))
        tries += 1
    old = i64(page[folio, META])
    meta = i64(RESIDENT | (old & EVICTED))
    s.counts[c.FAULTS] += 1
    if old & EVICTED:
        s.counts[c.REFAULTS] += 1
        meta = refault(word, meta, i64(page[folio, NEXT]))
    if not word[FEATURES] & f.FAULT_ADDS_WORKINGSET or meta & WORKINGSET:
        meta |= ACTIVE
        page[folio, META] = meta
    else:
        page[folio, META] = meta
        if not meta & REFERENCED:
            inc_refs(word, page, folio)
    add_folio(word, page, folio)
    word[HELD] += 1
    s.space[space, S_RSS] += 1
    s.pmd[folio // PTES, M_STATE] = 1
    s.touch[folio] = A_PRIMARY | P_PRIMARY


@njit
def slow(s: State, folio: Int, kind: Int) -> None:
    """An access of `kind` (the bits it needs and sets, as in `touch`) that `touch[folio]` does not satisfy."""
    page = s.page
    space = i64(s.pmd[folio // PTES, M_SPACE])
    if not page[folio, META] & RESIDENT:
        fault_in(s, folio, space)
        if s.space[space, S_NOTIFIERS]:
            inc_refs(s.word, page, folio)
            inc_refs(s.word, page, folio)
    bits = i64(s.touch[folio])
    needs = kind & P_ANY
    if not bits & needs:
        s.counts[c.SPTE_FAULTS] += 1
    bits |= (kind & 0x7F) | USED_NOW
    if kind & WRITTEN:
        dirty = D_TDP if kind & P_TDP else D_SHADOW if kind & P_SHADOW else D_PRIMARY
        meta = i64(page[folio, META]) | dirty
        page[folio, META] = meta
        all_dirty = not ((bits & P_TDP and not meta & D_TDP) or (bits & P_SHADOW and not meta & D_SHADOW))
        if all_dirty:
            bits |= WRITTEN
    s.touch[folio] = bits


@njit
def hits(touch: Array, pages: Array, kinds: Array) -> Int:
    """Run accesses as long as they find what they need; returns how many did. The hot loop."""
    for i in range(pages.shape[0]):
        kind = kinds[i]
        missing = kind & ~touch[pages[i]]
        if missing:
            if missing & 0xF0:
                return i64(i)
            touch[pages[i]] |= kind
    return i64(pages.shape[0])


@njit
def run_rows(s: State, pages: Array, kinds: Array) -> None:
    """All accesses of one tick, in order."""
    i, n = i64(0), i64(pages.shape[0])
    while i < n:
        i += hits(s.touch, pages[i:], kinds[i:])
        if i < n:
            slow(s, i64(pages[i]), i64(kinds[i]))
            i += 1
    s.counts[c.ACCESSES] += n
