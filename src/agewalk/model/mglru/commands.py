"""What the '+' and '-' commands of /sys/kernel/debug/lru_gen do (mm/vmscan.c: run_aging(), run_eviction())."""

from __future__ import annotations

from agewalk.core.effects import Again, Load, Step
from agewalk.model.mglru.aging.generations import (
    EEXIST,
    EINVAL,
    ERANGE,
    MAX_LRU_BATCH,
    MAX_NR_GENS,
    MAX_SWAPPINESS,
    MIN_NR_GENS,
    SWAPPINESS_ANON_ONLY,
    oldest_seq,
)
from agewalk.model.mglru.aging.inc_max_seq import try_to_inc_max_seq
from agewalk.model.mglru.eviction.evict_folios import evict_folios
from agewalk.model.mglru.eviction.scan_control import ReclaimOps, ScanControl, get_swappiness
from agewalk.model.mglru.state import LruGen, MmWalk, load_min_seq


def run_aging(lruvec: LruGen, seq: int, swappiness: int, *, force_scan: bool) -> Step[int]:
    """run_aging(): a new generation if max_seq is still `seq`; 0 or a negative errno. `swappiness` is can_swap up to 6.14."""
    features = lruvec.features
    max_seq: int = yield Load(lruvec.max_seq)
    if seq < max_seq and not features.age_reports_lost_race:
        return 0
    if seq > max_seq:
        return EINVAL
    min_seq = yield from load_min_seq(lruvec)
    oldest = oldest_seq(min_seq, swappiness, by_evictable_type=features.by_evictable_type)
    if features.age_refuses_full and not force_scan and oldest + MAX_NR_GENS - 1 <= max_seq:
        return ERANGE
    aged = yield from try_to_inc_max_seq(lruvec, max_seq, swappiness, MmWalk(), force_scan=force_scan)
    return EEXIST if features.age_reports_lost_race and not aged else 0


def run_eviction(
    lruvec: LruGen,
    ops: ReclaimOps,
    seq: int,
    swappiness: int | None,
    nr_to_reclaim: int,
    *,
    default_swappiness: int = 60,
) -> Step[tuple[int, ScanControl]]:
    """run_eviction(): evict generations up to `seq`, at most `nr_to_reclaim` pages. Answers (0 or a negative errno, what
    was done). swappiness: None for the memcg's own."""
    features = lruvec.features
    sc = ScanControl(ops, swappiness=default_swappiness, nr_to_reclaim=0, proactive=True, mm_walk=MmWalk())
    if swappiness is None:
        swappiness = yield from get_swappiness(sc)
    elif not 0 <= swappiness <= (SWAPPINESS_ANON_ONLY if features.anon_only_swappiness else MAX_SWAPPINESS):
        return EINVAL, sc
    max_seq: int = yield Load(lruvec.max_seq)
    if seq + MIN_NR_GENS > max_seq:
        return EINVAL, sc
    while True:
        min_seq = yield from load_min_seq(lruvec)
        if seq < oldest_seq(min_seq, swappiness, by_evictable_type=features.by_evictable_type):
            return 0, sc
        if sc.nr_reclaimed >= nr_to_reclaim:
            return 0, sc
        budget = min(nr_to_reclaim - sc.nr_reclaimed, MAX_LRU_BATCH)
        if not (yield from evict_folios(lruvec, sc, swappiness, budget)):
            return 0, sc
        yield Again("run_eviction", lruvec.label, seq, swappiness, nr_to_reclaim, sc.nr_reclaimed)
