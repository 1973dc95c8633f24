"""The feedback loop over tiers: how often pages of a tier came back, and which tiers are therefore protected.

A tier is the logarithm of the number of uses that flags counted. `positive_ctrl_err()` compares refaults per page that left
(evicted or protected), now and in a moving average; there is a proportional and an integral term, none for the derivative.
"""

from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.compiler.state_types import bit_length, rarely
from agewalk.engine.state import features as f
from agewalk.engine.state.layout import (
    AVG_REFAULTED,
    AVG_TOTAL,
    BATCH,
    EVICTED_IN,
    FEATURES,
    HUGE_SHIFT,
    MIN_SEQ,
    N_TIERS,
    PROTECTED,
    PROTECTED_IN,
    PTES,
    REFAULTED_IN,
    REFERENCED,
    REFS_MASK,
    REFS_SHIFT,
    SHADOW_OF,
    SWAPPINESS,
    TIER_OF,
    WORKINGSET,
)


@njit
def order_base_2(n: Int) -> Int:
    """ceil(log2(n)); 0 for 0 and 1 (include/linux/log2.h)."""
    return i64(bit_length(max(n - 1, i64(0))))


@njit
def nr_pages(meta: Int) -> Int:
    """folio_nr_pages(): 1 or 512."""
    return 1 + (meta >> HUGE_SHIFT & 1) * (PTES - 1)


@njit
def lru_refs(word: Array, meta: Int) -> Int:
    """folio_lru_refs(): up to 6.13 accesses beyond PG_referenced, PG_workingset counted as one; since 6.14 all, or 0."""
    field = (meta & REFS_MASK) >> REFS_SHIFT
    if word[FEATURES] & f.WORKINGSET_PROTECTION:
        return field + 1 if meta & REFERENCED else i64(0)
    return field + (1 if meta & WORKINGSET else 0)


@njit
def lru_tier(word: Array, refs: Int, workingset: Int) -> Int:
    """lru_tier_from_refs()."""
    if word[FEATURES] & f.WORKINGSET_PROTECTION:
        return i64(N_TIERS - 1) if workingset else order_base_2(refs)
    return order_base_2(refs + 1)


@njit_merge
def flags_of(meta: Int) -> Int:
    """The flags that tell how often a folio was used, as one of 16 combinations: PG_referenced, PG_workingset, LRU_REFS_MASK."""
    return meta & (REFERENCED | WORKINGSET) | meta >> (REFS_SHIFT - 2) & 12


@njit
def learn_flags(word: Array) -> None:
    """What each combination of flags means to eviction on this kernel, worked out once."""
    rarely()
    protects = word[FEATURES] & f.WORKINGSET_PROTECTION
    for flags in range(16):
        workingset = i64(flags >> 1 & 1)
        refs = lru_refs(word, flags & (REFERENCED | WORKINGSET) | (flags & 12) << (REFS_SHIFT - 2))
        tier = lru_tier(word, refs, workingset)
        known = workingset if protects else i64(1 if refs else 0)
        word[TIER_OF] |= tier << 2 * flags
        word[SHADOW_OF] |= (max(refs - 1, i64(0)) << 1 | known) << 3 * flags
        for last in range(N_TIERS):
            if tier > last or is_saturated(word, refs, workingset):
                word[PROTECTED + last] |= i64(1) << flags


@njit
def is_saturated(word: Array, refs: Int, workingset: Int) -> bool:
    """sort_folio(): have the flags counted as far as they can?"""
    return bool(refs + workingset == 5) if word[FEATURES] & f.WORKINGSET_PROTECTION else bool(refs == 4)


@njit
def ctrl_pos(word: Array, kind: Int, tier: Int) -> tuple[Int, Int]:
    """read_ctrl_pos(): (refaulted, total) of a tier, of all of them if `tier` is MAX_NR_TIERS."""
    refaulted = total = i64(0)
    first, last = (tier, tier) if tier < N_TIERS else (i64(0), i64(N_TIERS - 1))
    for at in range(kind * 4 + first, kind * 4 + last + 1):
        refaulted += word[AVG_REFAULTED + at] + word[REFAULTED_IN + at]
        total += word[AVG_TOTAL + at] + word[PROTECTED_IN + at] + word[EVICTED_IN + at]
    return refaulted, total


@njit
def reset_ctrl_pos(word: Array, kind: Int) -> None:
    """reset_ctrl_pos(carryover): the oldest generation is gone; averages take half of what it did, and counts restart."""
    for at in range(kind * 4, kind * 4 + N_TIERS):
        word[AVG_REFAULTED + at] = (word[AVG_REFAULTED + at] + word[REFAULTED_IN + at]) // 2
        word[AVG_TOTAL + at] = (word[AVG_TOTAL + at] + word[PROTECTED_IN + at] + word[EVICTED_IN + at]) // 2
        word[REFAULTED_IN + at] = 0
        word[EVICTED_IN + at] = 0
        word[PROTECTED_IN + at] = 0


@njit
def positive_ctrl_err(sp: tuple[Int, Int], sp_gain: Int, pv: tuple[Int, Int], pv_gain: Int) -> bool:
    """Does `pv` refault little, or at a lower rate than `sp`?"""
    return bool(pv[0] < BATCH or pv[0] * (sp[1] + BATCH) * sp_gain <= (sp[0] + 1) * pv[1] * pv_gain)


@njit
def tier_idx(word: Array, kind: Int) -> Int:
    """get_tier_idx(): the last tier of a type that is not protected against its first; gains 1:2, since 6.14 2:3."""
    base = ctrl_pos(word, kind, i64(0))
    rework = word[FEATURES] & f.SUMS_TIERS
    for tier in range(1, N_TIERS):
        if not positive_ctrl_err(base, 2 if rework else 1, ctrl_pos(word, kind, i64(tier)), 3 if rework else 2):
            return i64(tier - 1)
    return i64(N_TIERS - 1)


@njit
def type_to_scan(word: Array) -> tuple[Int, Int]:
    """isolate_folios() and get_type_to_scan(): (type, last unprotected tier or -1 if it is to be asked for)."""
    swappiness = word[SWAPPINESS]
    if word[FEATURES] & f.SUMS_TIERS:
        if swappiness <= 1:
            return i64(1), i64(-1)
        if swappiness >= 200:
            return i64(0), i64(-1)
        anon, file = ctrl_pos(word, i64(0), i64(N_TIERS)), ctrl_pos(word, i64(1), i64(N_TIERS))
        return i64(positive_ctrl_err(anon, swappiness, file, 200 - swappiness)), i64(-1)
    if swappiness == 0:
        return i64(1), i64(-1)
    if word[MIN_SEQ] < word[MIN_SEQ + 1]:
        return i64(0), i64(-1)
    if swappiness == 1:
        return i64(1), i64(-1)
    if swappiness == 200:
        return i64(0), i64(-1)
    anon, file = ctrl_pos(word, i64(0), i64(0)), ctrl_pos(word, i64(1), i64(0))
    kind = i64(positive_ctrl_err(anon, swappiness, file, 200 - swappiness))
    other = file if kind == 0 else anon
    gain = 200 - swappiness if kind == 0 else swappiness
    own_gain = 200 - gain
    for tier in range(1, N_TIERS):
        if not positive_ctrl_err(other, gain, ctrl_pos(word, kind, i64(tier)), own_gain):
            return kind, i64(tier - 1)
    return kind, i64(N_TIERS - 1)
