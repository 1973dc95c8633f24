"""From a request to batches: memory.reclaim, memcg limits, and reclaim for the node (mm/vmscan.c, mm/memcontrol.c).

One memcg per lruvec and one node, so shrink_zones(), shrink_node() and shrink_node_memcgs() are one call here.
"""

from __future__ import annotations

from agewalk.core.effects import Again, Count, Load, Step
from agewalk.core.units import PAGE_SHIFT
from agewalk.model.mglru.aging.generations import (
    DEF_PRIORITY,
    EAGAIN,
    MAX_RECLAIM_RETRIES,
    MIN_LRU_BATCH,
    SWAP_CLUSTER_MAX,
)
from agewalk.model.mglru.aging.inc_max_seq import try_to_inc_max_seq
from agewalk.model.mglru.eviction.evict_folios import evict_folios
from agewalk.model.mglru.eviction.nr_to_scan import get_nr_to_scan, should_run_aging
from agewalk.model.mglru.eviction.protect import set_initial_priority
from agewalk.model.mglru.eviction.scan_control import ReclaimOps, ScanControl, get_swappiness
from agewalk.model.mglru.state import LruGen


def should_abort_scan(lruvec: LruGen, sc: ScanControl, seq: int) -> Step[bool]:
    """should_abort_scan(): `seq` is max_seq at the start of this lruvec's turn.

    6.1 ages each memcg at most once and does not swap more than asked; 6.3 to 6.18 let memcg reclaim finish its scan for
    the sake of fairness; 7.3 stops when enough is reclaimed. kswapd stops when a batch more than its watermark is free.
    """
    features = lruvec.features
    if features.shrink_loop == "need_aging":
        return (yield from _should_abort_scan_need_aging(lruvec, sc, seq))
    if sc.target_memcg and not features.abort_when_done:
        return False
    if sc.nr_reclaimed >= sc.nr_to_reclaim:
        return True
    if not sc.kswapd:
        return False
    free, _, high = yield from sc.ops.watermarks()
    return free > high + MIN_LRU_BATCH  # zone_watermark_ok()


def _should_abort_scan_need_aging(lruvec: LruGen, sc: ScanControl, seq: int) -> Step[bool]:
    """6.1: reclaim for the node also stops where an allocation may succeed, or kswapd may sleep, and counts that as a batch."""
    if not sc.kswapd:
        max_seq: int = yield Load(lruvec.max_seq)
        if max_seq - seq > 1 or sc.nr_reclaimed >= sc.nr_to_reclaim:
            return True
        if sc.target_memcg:
            return False
    elif sc.nr_reclaimed - sc.last_reclaimed < sc.nr_to_reclaim:
        return False
    if sc.priority > DEF_PRIORITY - 2:
        return False
    free, low, high = yield from sc.ops.watermarks()
    if free < (high if sc.kswapd else low):
        return False
    sc.nr_reclaimed += MIN_LRU_BATCH
    return True


def try_to_shrink_lruvec(lruvec: LruGen, sc: ScanControl) -> Step[None]:
    """try_to_shrink_lruvec(), the loop of lru_gen_shrink_lruvec() in 6.1: batches until this priority's share is scanned."""
    if lruvec.features.shrink_loop == "fixed_budget":
        yield from _shrink_by_budget(lruvec, sc)
        return
    seq: int = yield Load(lruvec.max_seq)
    scanned = 0
    before = sc.nr_reclaimed
    swappiness = yield from get_swappiness(sc)
    while not sc.done():
        if lruvec.features.shrink_loop == "need_aging":
            swappiness = yield from get_swappiness(sc)
        nr_to_scan = yield from get_nr_to_scan(lruvec, sc, swappiness)
        if nr_to_scan <= 0:
            break
        delta = yield from evict_folios(lruvec, sc, swappiness, nr_to_scan)
        if not delta:
            break
        scanned += delta
        if scanned >= nr_to_scan or (yield from should_abort_scan(lruvec, sc, seq)):
            if sc.nr_reclaimed - before >= MIN_LRU_BATCH and not sc.need_aging:
                sc.memcgs_need_aging = False  # 6.1: lru_gen_age_node() need not look
            break
        yield Again("try_to_shrink_lruvec", lruvec.label, scanned, sc.nr_reclaimed, sc.priority, seq)


def _shrink_by_budget(lruvec: LruGen, sc: ScanControl) -> Step[None]:
    """try_to_shrink_lruvec() of 7.3."""
    swappiness = yield from get_swappiness(sc)
    nr_to_scan = yield from get_nr_to_scan(lruvec, sc, swappiness)
    aged = False
    while nr_to_scan > 0 and not sc.done():
        if (yield from sc.ops.below_min()):
            break
        max_seq: int = yield Load(lruvec.max_seq)
        if (yield from should_run_aging(lruvec, sc, swappiness)):
            yield from try_to_inc_max_seq(lruvec, max_seq, swappiness, sc.set_mm_walk(), force_scan=False)
            aged = True
        delta = yield from evict_folios(lruvec, sc, swappiness, min(nr_to_scan, MIN_LRU_BATCH))
        if not delta or (yield from should_abort_scan(lruvec, sc, max_seq)):
            break
        if not sc.target_memcg and aged:
            break  # root reclaim: the next memcg's turn
        nr_to_scan -= delta
        yield Again("try_to_shrink_lruvec", lruvec.label, nr_to_scan, sc.nr_reclaimed, sc.priority, aged)


def shrink_lruvec(lruvec: LruGen, sc: ScanControl) -> Step[None]:
    """lru_gen_shrink_lruvec(), with the checks of shrink_node_memcgs() in front of it. For the node it is lru_gen_shrink_node()
    since 6.3: kswapd first estimates its priority, and its pass counts what it reclaims from 0."""
    if (yield from sc.ops.below_min()):
        return
    if (yield from sc.ops.below_low()) and not sc.memcg_low_reclaim:
        sc.memcg_low_skipped = True
        return
    yield from sc.ops.lru_add_drain()
    if sc.kswapd or (sc.proactive and lruvec.features.proactive_walk):
        sc.set_mm_walk()
    before = 0
    if not sc.target_memcg:
        yield from set_initial_priority(lruvec, sc)
        if sc.kswapd and lruvec.features.shrink_loop != "need_aging":
            before, sc.nr_reclaimed = sc.nr_reclaimed, 0
    yield from try_to_shrink_lruvec(lruvec, sc)
    sc.nr_reclaimed += before
    sc.mm_walk = None  # clear_mm_walk()


def do_try_to_free_pages(lruvec: LruGen, sc: ScanControl) -> Step[int]:
    """do_try_to_free_pages(): ever larger shares, 1/4096 of the memcg first, until enough is reclaimed."""
    initial_priority = sc.priority
    while True:
        while sc.priority >= 0 and not sc.done():
            sc.nr_scanned = 0
            yield from shrink_lruvec(lruvec, sc)
            if sc.nr_reclaimed >= sc.nr_to_reclaim:
                break
            sc.priority -= 1
        if sc.nr_reclaimed or sc.done():
            return sc.nr_reclaimed
        sc.priority = initial_priority
        if lruvec.features.full_walk_retry and not sc.memcg_full_walk:
            sc.memcg_full_walk = True
        elif sc.memcg_low_skipped:
            sc.memcg_low_reclaim = True
            sc.memcg_low_skipped = False
        else:
            return 0


def memory_reclaim(
    lruvec: LruGen, ops: ReclaimOps, size: int, *, swappiness: int = 60, exactly: int | None = None
) -> Step[tuple[int, ScanControl]]:
    """memory_reclaim(): `size` bytes written to memory.reclaim. Answers (0 or -EAGAIN, what was done).

    exactly: take this many pages, whatever the kernel's loop would have settled for.
    """
    wanted = size >> PAGE_SHIFT
    retries = MAX_RECLAIM_RETRIES
    done = ScanControl(ops, stop_at=exactly)
    while (done.nr_reclaimed < wanted or exactly is not None) and not done.done():
        left = wanted - done.nr_reclaimed
        batch = left // 4 if lruvec.features.reclaim_quarters else left
        if not retries:
            yield from ops.lru_add_drain_all()
        reclaimed = yield from try_to_free_mem_cgroup_pages(lruvec, done, batch, swappiness, proactive=True)
        if not reclaimed:
            if not retries:
                return EAGAIN, done
            retries -= 1
        yield Again("memory_reclaim", lruvec.label, size, done.nr_reclaimed, retries)
    return 0, done


def try_to_free_mem_cgroup_pages(
    lruvec: LruGen, done: ScanControl, pages: int, swappiness: int, *, proactive: bool
) -> Step[int]:
    """try_to_free_mem_cgroup_pages(): one request; pages reclaimed. Its victims are added to `done`."""
    yield Count("try_to_free_mem_cgroup_pages")
    sc = ScanControl(
        done.ops,
        swappiness=swappiness,
        nr_to_reclaim=max(pages, SWAP_CLUSTER_MAX),
        proactive=proactive,
        stop_at=done.stop_at,
        taken=done.taken,
    )
    reclaimed = yield from do_try_to_free_pages(lruvec, sc)
    done.nr_reclaimed += reclaimed
    return reclaimed
