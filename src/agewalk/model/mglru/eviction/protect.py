"""What kswapd does before it evicts: thrashing protection (min_ttl_ms), 6.1's aging, the first priority (mm/vmscan.c)."""

from __future__ import annotations

from agewalk.core.effects import Count, Load, Step
from agewalk.core.units import Ns
from agewalk.model.mglru.aging.generations import (
    DEF_PRIORITY,
    MAX_NR_GENS,
    MIN_LRU_BATCH,
    MIN_NR_GENS,
    lru_gen_from_seq,
    oldest_seq,
)
from agewalk.model.mglru.aging.inc_max_seq import try_to_inc_max_seq
from agewalk.model.mglru.eviction.nr_to_scan import lruvec_sizes, should_run_aging
from agewalk.model.mglru.eviction.scan_control import ScanControl, get_swappiness
from agewalk.model.mglru.state import LruGen, load_min_seq
from agewalk.model.mm.folio import ANON, FILE


def initial_priority(reclaimable: int, nr_to_reclaim: int, least: int = DEF_PRIORITY // 2) -> int:
    """The priority, `least` to 12, at which a scan would bring `nr_to_reclaim`, if it brings the inactive share of what it
    scans: 2^priority = reclaimable / nr_to_reclaim, one rounded down and the other up to a power of two."""
    priority = reclaimable.bit_length() - 1 - (nr_to_reclaim - 1).bit_length()
    return min(max(priority, least), DEF_PRIORITY)


def set_initial_priority(lruvec: LruGen, sc: ScanControl) -> Step[None]:
    """set_initial_priority() (6.3): at the default priority, and if more than a batch is wanted; so not for direct reclaim."""
    features = lruvec.features
    if features.initial_priority == "default" or sc.priority != DEF_PRIORITY or sc.nr_to_reclaim < MIN_LRU_BATCH:
        return
    gently = features.initial_priority == "estimated_gently"
    reclaimable = yield from inactive_pages(lruvec, FILE)
    if (yield from sc.ops.free_swap_pages()) > 0 if gently else (yield from get_swappiness(sc)):
        reclaimable += yield from inactive_pages(lruvec, ANON)
    sc.priority = initial_priority(reclaimable, sc.nr_to_reclaim, DEF_PRIORITY // 2 if gently else 0)


def lruvec_is_sizable(lruvec: LruGen, sc: ScanControl, swappiness: int) -> Step[bool]:
    """lruvec_is_sizable(): would a scan at this priority find anything?"""
    total, _, _ = yield from lruvec_sizes(lruvec, swappiness)
    return bool(total >> sc.priority)


def lruvec_is_reclaimable(lruvec: LruGen, sc: ScanControl, min_ttl: Ns) -> Step[bool]:
    """lruvec_is_reclaimable(): is the oldest generation older than `min_ttl`, and the lruvec worth a scan?"""
    if (yield from sc.ops.below_min()):
        return False
    swappiness = yield from get_swappiness(sc)
    if not (yield from lruvec_is_sizable(lruvec, sc, swappiness)):
        return False
    min_seq = yield from load_min_seq(lruvec)
    by_type = lruvec.features.by_evictable_type
    oldest = oldest_seq(min_seq, swappiness, by_evictable_type=True) if by_type else min_seq[FILE]
    birth: int = yield Load(lruvec.timestamps[lru_gen_from_seq(oldest)])
    now: int = yield Load(lruvec.clock)
    return birth + min_ttl < now


def lru_gen_age_node(lruvec: LruGen, sc: ScanControl, min_ttl: Ns) -> Step[bool]:
    """lru_gen_age_node(), kswapd's first step. True: all generations are younger than `min_ttl` (or there is too little to
    reclaim), so the kernel would kill a process rather than evict its working set.

    Up to 6.2 it is also where kswapd ages: not in its first pass, nor after one that took a batch and did not lack cold pages.
    """
    yield Count("lru_gen_age_node")
    if lruvec.features.shrink_loop != "need_aging":
        if lruvec.features.initial_priority == "estimated_gently":
            yield from set_initial_priority(lruvec, sc)
        return bool(min_ttl) and not (yield from lruvec_is_reclaimable(lruvec, sc, min_ttl))
    sc.last_reclaimed = sc.nr_reclaimed
    if not sc.memcgs_need_aging:
        sc.memcgs_need_aging = True
        return False
    if (yield from sc.ops.below_min()):
        return bool(min_ttl)
    swappiness = yield from get_swappiness(sc)
    if min_ttl:
        min_seq = yield from load_min_seq(lruvec)
        birth: int = yield Load(lruvec.timestamps[lru_gen_from_seq(min_seq[FILE])])
        if birth + min_ttl > (yield Load(lruvec.clock)):
            return True
        sizable = yield from lruvec_is_sizable(lruvec, sc, swappiness)
        if not sizable and sc.priority != DEF_PRIORITY:
            return True
    if (yield from should_run_aging(lruvec, sc, swappiness)):
        max_seq: int = yield Load(lruvec.max_seq)
        yield from try_to_inc_max_seq(lruvec, max_seq, swappiness, sc.set_mm_walk(), force_scan=False)
        sc.mm_walk = None
    return False


def inactive_pages(lruvec: LruGen, type_: int) -> Step[int]:
    """NR_INACTIVE_ANON or NR_INACTIVE_FILE: pages outside the two youngest generations (lru_gen_is_active())."""
    max_seq: int = yield Load(lruvec.max_seq)
    total = 0
    for seq in range(max_seq + 1, max_seq + 1 + MAX_NR_GENS - MIN_NR_GENS):  # the other generations, by index
        total += yield Load(lruvec.nr_pages[lru_gen_from_seq(seq)][type_])
    return max(total, 0)
