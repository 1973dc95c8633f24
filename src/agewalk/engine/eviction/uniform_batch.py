"""Fast path for uniform eviction batches: all folios are small, from one address space, and either all young or all old.

The decision is made once and applied to the whole batch in one loop without a call.
"""

from typing import Final

from agewalk.engine.aging.generations import add_folios, kept_flags, set_refs
from agewalk.engine.aging.look_around import look_around
from agewalk.engine.aging.tiers import flags_of
from agewalk.engine.compiler.jit import Int, i64, njit, njit_merge
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    A_ANY,
    A_PRIMARY,
    ACTIVE,
    ANON,
    ASK_TARGET,
    BY_KEPT,
    D_PRIMARY,
    DIRTY,
    EVICTED,
    EVICTED_IN,
    FEATURES,
    GUEST_BITS,
    HELD,
    HOT_AFTER,
    HUGE,
    ISOLATED,
    LISTED,
    LOOK_AROUND,
    LOOKED_AT,
    LOST_W_SHADOW,
    LOST_W_TDP,
    M_SPACE,
    MAPPED,
    META,
    MIN_SEQ,
    N_TIERS,
    NOW,
    P_SHADOW,
    P_TDP,
    PTES,
    Q_ACTIVATE,
    Q_ADD,
    RECLAIMED,
    REFERENCED,
    REFS_MASK,
    S_AD,
    S_FIRST,
    S_INVALIDATED,
    S_MODE,
    S_NOTIFIERS,
    S_PAGES,
    S_RSS,
    SHADOW,
    SHADOW_OF,
    SWAPCACHE,
    TIER_OF,
    USED_NOW,
    W_SHADOW,
    W_TDP,
    WORKINGSET,
    YOUNG,
)
from agewalk.engine.state.lru_lists import region_of

USE_BITS: Final = REFERENCED | WORKINGSET | REFS_MASK | ACTIVE | SWAPCACHE  # what decides how a used folio stays


@njit_merge
def entry_is_dirty(s: State, space: Int, meta: Int, bits: Int) -> bool:
    """Does an entry say that a small page was written: its PTE, or one of KVM's SPTEs, where a kernel asks those? meta, bits: its
    META and its byte of `pte_bits`, before it is unmapped."""
    if meta & D_PRIMARY:
        return True
    writable = meta & (W_TDP | LOST_W_TDP) == W_TDP and bits & P_TDP
    writable = writable or (meta & (W_SHADOW | LOST_W_SHADOW) == W_SHADOW and bits & P_SHADOW)
    return bool(writable and s.space[space, S_NOTIFIERS] and s.word[FEATURES] & f.ZAP_PROPAGATES_DIRTY)


@njit
def count_scanned(s: State, freed: Int, seen: Int) -> None:
    """What a batch brought: pages that are free, and pages that were looked at."""
    s.counts[c.EVICTIONS] += freed
    s.word[HELD] -= freed
    s.word[RECLAIMED] += freed
    s.counts[c.SCANNED] += seen
    s.word[LOOKED_AT] += seen


@njit
def common_bits(s: State, space: Int, spared: Int) -> Int:
    """The accessed bits that each page of ISOLATED has, if they all have the same, are small, mapped and of this address space,
    and no batch of a CPU can hold them; else -1, as if one has a flag of `spared`."""
    word, folios, pte_bits = s.word, s.folios, s.pte_bits
    if word[Q_ADD] | word[Q_ACTIVATE]:
        return i64(-1)
    first, end = s.space[space, S_FIRST], s.space[space, S_FIRST] + s.space[space, S_PAGES]
    bits = i64(pte_bits[i64(word[ISOLATED + 1])]) & A_ANY
    for i in range(1, word[ISOLATED] + 1):
        folio = i64(word[ISOLATED + i])
        meta = i64(folios[folio, META])
        if meta & (MAPPED | HUGE | spared) != MAPPED or pte_bits[folio] & A_ANY != bits or not first <= folio < end:
            return i64(-1)
    return bits


@njit
def shrink_uniform(s: State) -> bool:
    """shrink_folio_list() for ISOLATED, if that can be done for all alike. Was it? Which answer of the protocol means what, says
    `look.referenced`."""
    word, features = s.word, s.word[FEATURES]
    space = i64(s.pmd[i64(word[ISOLATED + 1]) // PTES, M_SPACE])
    spared = i64(REFERENCED if features & f.KEEPS_REFERENCED_MAPPED else 0)
    bits = common_bits(s, space, spared)
    if bits < 0:
        return False
    row = s.space[space, S_MODE] * 8 + (bits if s.space[space, S_NOTIFIERS] else bits & A_PRIMARY)
    answer = i64(s.ask[ASK_TARGET, row])
    if not bits and not answer:
        free_all_old(s, space)
        count_scanned(s, word[ISOLATED], word[ISOLATED])
    elif features & f.WORKINGSET_PROTECTION and features & f.LOOK_AROUND_TESTS_TARGET and answer & YOUNG:
        if not answer & LOOK_AROUND or not s.space[space, S_AD]:
            return False
        keep_all_young(s, space, answer & bits & A_ANY)
        count_scanned(s, i64(0), word[ISOLATED])
        add_folios(s, i64(ISOLATED + 1), i64(word[ISOLATED]))
    else:
        return False
    s.asked[ASK_TARGET, row] += word[ISOLATED]
    if features & f.LOOK_AROUND_TESTS_TARGET:
        s.counts[c.LOOK_AROUNDS] += word[ISOLATED]
    return True


@njit
def keep_all_young(s: State, space: Int, cleared: Int) -> None:
    """The folios of ISOLATED were all used: since 6.14 (isolated pages are no neighbours of another's look-around) they differ in
    flags only. They stay; `gens.add_folios` is left to do. cleared: their accessed bits that go."""
    word, folios = s.word, s.folios
    word[LISTED] = word[LISTED + 1] = -1
    alike, stays = i64(-1), i64(0)
    for i in range(1, word[ISOLATED] + 1):
        folio = i64(word[ISOLATED + i])
        look_around(s, folio, space, i64(1), i64(0))
        meta = i64(folios[folio, META])
        if meta & USE_BITS != alike:
            alike = meta & USE_BITS
            stays = kept_flags(word, set_refs(word, alike)) | BY_KEPT
        folios[folio, META] = meta & ~USE_BITS | stays
    for i in range(1, word[ISOLATED] + 1):  # not above: reading the 64 bytes around the next one would wait for it
        s.pte_bits[i64(word[ISOLATED + i])] &= 255 - cleared


@njit_merge
def free_page(s: State, page: Int, space: Int, shadow: Int, meta: Int, now: Int) -> None:
    """A page is to be free; it remembers when, and what its shadow entry is. meta: its META."""
    s.folios[page, META] = EVICTED | meta & GUEST_BITS
    s.folios[page, SHADOW] = shadow
    s.evicted_at[page] = now
    region = region_of(s.space, space, page)
    s.by_region[region, c.BY_EVICTIONS] += 1
    s.by_region[region, c.BY_HOT] += now - s.used_at[page] < s.word[HOT_AFTER]


@njit_merge
def free_old(s: State, folio: Int, space: Int, meta: Int, shadow: Int, now: Int) -> Int:
    """evict.unmap() of a small page without accessed bits, and free_page(); `unmapped` is left to do. Was it to be written? One
    that is new to the swap cache always is. meta: its META."""
    bits = i64(s.pte_bits[folio])
    s.pte_bits[folio] = 0
    if bits & USED_NOW:
        s.used_at[folio] = now
    free_page(s, folio, space, shadow, meta, now)
    return i64(1 if meta & DIRTY or not meta & SWAPCACHE or entry_is_dirty(s, space, meta, bits) else 0)


@njit_merge
def unmapped(s: State, space: Int, count: Int, written: Int) -> None:
    """So many pages of an address space were unmapped and freed, and so many of them written first."""
    s.space[space, S_RSS] -= count
    s.space[space, S_INVALIDATED] += count
    s.counts[c.SWAP_WRITES] += written


@njit
def free_all_old(s: State, space: Int) -> None:
    """The folios of ISOLATED have no accessed bit: unmapped, written, free."""
    word, folios = s.word, s.folios
    count, now = word[ISOLATED], word[NOW]
    unmarked = ~0 if word[FEATURES] & f.WORKINGSET_PROTECTION else ~REFERENCED
    tiers, shadows, seq = word[TIER_OF], word[SHADOW_OF], word[MIN_SEQ + ANON] << 3
    written = by_tier = i64(0)
    for i in range(1, count + 1):
        folio = i64(word[ISOLATED + i])
        meta = i64(folios[folio, META])
        flags = flags_of(meta & unmarked)
        by_tier += i64(1) << 16 * (tiers >> 2 * flags & 3)
        written += free_old(s, folio, space, meta, (seq | shadows >> 3 * flags & 7) & 0x7FFFFFFF, now)
    for tier in range(N_TIERS):
        word[EVICTED_IN + ANON * 4 + tier] += by_tier >> 16 * tier & 0xFFFF
    unmapped(s, space, count, written)
