"""How much to scan and when to age: get_nr_to_scan() and should_run_aging() (mm/vmscan.c)."""

from __future__ import annotations

from agewalk.core.effects import Load, Step
from agewalk.model.mglru.aging.generations import (
    DEF_PRIORITY,
    MIN_NR_GENS,
    SWAP_CLUSTER_MAX,
    evictable_types,
    lru_gen_from_seq,
    oldest_seq,
)
from agewalk.model.mglru.aging.inc_max_seq import try_to_inc_max_seq
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.state import LruGen, load_min_seq


def lruvec_sizes(lruvec: LruGen, swappiness: int) -> Step[tuple[int, int, int]]:
    """(total, young, old) pages of the types that may be evicted: the youngest generation, and the one two before it."""
    max_seq: int = yield Load(lruvec.max_seq)
    min_seq = yield from load_min_seq(lruvec)
    total = young = old = 0
    types = evictable_types(swappiness) if lruvec.features.by_evictable_type else range(int(not swappiness), 2)
    for type_ in types:
        for seq in range(min_seq[type_], max_seq + 1):
            size = max((yield Load(lruvec.nr_pages[lru_gen_from_seq(seq)][type_])), 0)
            total += size
            young += size if seq == max_seq else 0
            old += size if seq + MIN_NR_GENS == max_seq else 0
    return total, young, old


def should_run_aging(lruvec: LruGen, sc: ScanControl, swappiness: int) -> Step[bool]:
    """should_run_aging(): is the lruvec out of cold folios, or will it soon be?

    Up to 6.13 with the ideal of MIN_NR_GENS + 1 generations of equal size; from 6.14 by their number alone; in 7.3 not
    as long as reclaim goes gently.
    """
    features = lruvec.features
    max_seq: int = yield Load(lruvec.max_seq)
    min_seq = yield from load_min_seq(lruvec)
    oldest = oldest_seq(min_seq, swappiness, by_evictable_type=features.by_evictable_type)
    if oldest + MIN_NR_GENS > max_seq:
        return True
    if features.shrink_loop == "fixed_budget" and sc.priority == DEF_PRIORITY:
        return False
    if oldest + MIN_NR_GENS < max_seq:
        return False
    if features.by_evictable_type:
        return True
    total, young, old = yield from lruvec_sizes(lruvec, swappiness)
    return young * MIN_NR_GENS > total or old * (MIN_NR_GENS + 2) < total


def apply_proportional_protection(sc: ScanControl, scan: int, protection: tuple[int, int, int]) -> int:
    """apply_proportional_protection(): scan less of a memcg, the more of it lies under memory.min or memory.low."""
    minimum, low, usage = protection
    if not (minimum or low):
        return scan
    protected = minimum
    if not sc.memcg_low_reclaim and low > minimum:
        protected = low
        sc.memcg_low_skipped = True
    return max(scan - scan * protected // (max(usage, protected) + 1), SWAP_CLUSTER_MAX)


def get_nr_to_scan(lruvec: LruGen, sc: ScanControl, swappiness: int) -> Step[int]:
    """get_nr_to_scan(): pages to scan at this priority; 0 or less = stop. Ages on the way, except in 7.3."""
    features = lruvec.features
    if (yield from sc.ops.below_min()):
        return -1
    if features.shrink_loop == "need_aging" and not sc.memcg_low_reclaim and (yield from sc.ops.below_low()):
        return 0
    max_seq: int = yield Load(lruvec.max_seq)
    min_seq = yield from load_min_seq(lruvec)
    oldest = oldest_seq(min_seq, swappiness, by_evictable_type=features.by_evictable_type)
    evictable = oldest + MIN_NR_GENS <= max_seq
    total, _, _ = yield from lruvec_sizes(lruvec, swappiness)
    if features.proportional_protection:
        total = apply_proportional_protection(sc, total, (yield from sc.ops.protection()))
    nr_to_scan = total >> sc.priority
    if features.shrink_loop == "fixed_budget":
        return nr_to_scan
    sc.need_aging = yield from should_run_aging(lruvec, sc, swappiness)
    if not sc.need_aging:
        return nr_to_scan
    if features.shrink_loop == "need_aging":
        if sc.priority == DEF_PRIORITY:
            return nr_to_scan if evictable else 0
        if sc.kswapd:  # leave the work to lru_gen_age_node()
            return 0
        aged = yield from try_to_inc_max_seq(lruvec, max_seq, swappiness, sc.set_mm_walk(), force_scan=False)
        return nr_to_scan if aged or evictable else 0
    if sc.priority == DEF_PRIORITY:
        return nr_to_scan if evictable else 0
    aged = yield from try_to_inc_max_seq(lruvec, max_seq, swappiness, sc.set_mm_walk(), force_scan=False)
    return -1 if aged else 0
