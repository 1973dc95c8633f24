"""Reclaim because memory is short: by the task that allocates, and by kswapd (mm/vmscan.c)."""

from __future__ import annotations

from typing import Final

from agewalk.core.effects import Again, Count, Load, Step
from agewalk.core.units import Ns
from agewalk.model.machine.ops import HostOps
from agewalk.model.mglru.aging.generations import SWAP_CLUSTER_MAX
from agewalk.model.mglru.eviction.protect import lru_gen_age_node
from agewalk.model.mglru.eviction.reclaim import do_try_to_free_pages, shrink_lruvec
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm.mm_types import Memory

NO_TTL: Final = Ns(0)


def direct_reclaim(lruvec: LruGen, ops: HostOps, pages: int, swappiness: int) -> Step[int]:
    """try_to_free_pages(): the allocating task reclaims for itself. Pages reclaimed."""
    yield Count("try_to_free_pages")
    sc = ScanControl(ops, swappiness=swappiness, nr_to_reclaim=max(pages, SWAP_CLUSTER_MAX), target_memcg=False)
    return (yield from do_try_to_free_pages(lruvec, sc))


def balance_pgdat(lruvec: LruGen, ops: HostOps, memory: Memory, swappiness: int, min_ttl: Ns = NO_TTL) -> Step[None]:
    """balance_pgdat(): kswapd, pass by pass until more frames are free than the high watermark asks for, or it cannot get
    further.

    min_ttl: nothing younger is taken (min_ttl_ms). The kernel kills a process instead; here that is counted
    (`out_of_memory`), and kswapd goes back to sleep.
    """
    yield Count("balance_pgdat")

    def start() -> ScanControl:
        return ScanControl(ops, swappiness=swappiness, nr_to_reclaim=0, target_memcg=False, kswapd=True)

    sc = start()
    while sc.priority > 0 and (yield Load(memory.free)) <= memory.high:  # pgdat_balanced()
        before = sc.nr_reclaimed
        if (yield from lru_gen_age_node(lruvec, sc, min_ttl)):
            yield Count("out_of_memory")
            return
        sc.nr_to_reclaim = max(memory.high, SWAP_CLUSTER_MAX)
        sc.nr_scanned = 0
        yield from shrink_lruvec(lruvec, sc)
        raise_priority = sc.nr_scanned < sc.nr_to_reclaim  # kswapd_shrink_node()
        if raise_priority or sc.nr_reclaimed == before:
            sc.priority -= 1
        if sc.priority < 1 and sc.nr_reclaimed and (yield Load(memory.free)) <= memory.high:
            sc = start()  # kswapd() finds that it may not sleep
        yield Again("balance_pgdat", sc.priority, sc.nr_reclaimed)
