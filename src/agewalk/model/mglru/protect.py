"""kswapd's part before it evicts: thrashing protection (min_ttl_ms), 6.1's aging, the first priority (mm/vmscan.c)."""

from __future__ import annotations

from agewalk.core.effects import Count, Load, Step
from agewalk.core.units import Ns
from agewalk.model.mglru.aging import try_to_inc_max_seq
from agewalk.model.mglru.gens import DEF_PRIORITY, MIN_LRU_BATCH, MIN_NR_GENS, lru_gen_from_seq, oldest_seq
from agewalk.model.mglru.scan_control import ScanControl, get_swappiness
from agewalk.model.mglru.shrink import lruvec_sizes, should_run_aging
from agewalk.model.mglru.state import LruGen, load_min_seq
from agewalk.model.mm.folio import FILE


def initial_priority(reclaimable: int, nr_to_reclaim: int) -> int:
    """set_initial_priority() (6.12): the priority at which the inactive share of a scan would be what is wanted, 6 to 12."""
    if nr_to_reclaim < MIN_LRU_BATCH:
        return DEF_PRIORITY
    priority = reclaimable.bit_length() - 1 - (nr_to_reclaim - 1).bit_length()
    return min(max(priority, DEF_PRIORITY // 2), DEF_PRIORITY)


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

    Up to 6.2 it is also where kswapd ages, unless it just reclaimed enough without.
    """
    yield Count("lru_gen_age_node")
    if lruvec.features.shrink_loop != "need_aging":
        return bool(min_ttl) and not (yield from lruvec_is_reclaimable(lruvec, sc, min_ttl))
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


def inactive_pages(lruvec: LruGen, swappiness: int) -> Step[int]:
    """NR_INACTIVE_*: evictable pages outside the two youngest generations."""
    total, _, _ = yield from lruvec_sizes(lruvec, swappiness)
    max_seq: int = yield Load(lruvec.max_seq)
    for seq in range(max_seq - MIN_NR_GENS + 1, max_seq + 1):
        for type_, size in enumerate(lruvec.nr_pages[lru_gen_from_seq(seq)]):
            if swappiness or type_ == FILE:
                total -= max((yield Load(size)), 0)
    return max(total, 0)
