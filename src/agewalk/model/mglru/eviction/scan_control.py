"""What a reclaim carries with it, private to its task (struct scan_control, struct reclaim_state), and what it needs from
the rest of mm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from agewalk.core.effects import Step
from agewalk.model.mglru.aging.generations import DEF_PRIORITY, MIN_LRU_BATCH, SWAP_CLUSTER_MAX
from agewalk.model.mglru.state import MmWalk
from agewalk.model.mm.mm_types import Folio


class ReclaimOps(Protocol):
    """mm/rmap.c, mm/swapfile.c, mm/swap.c and mm/memcontrol.c as reclaim uses them."""

    def folio_referenced(self, folio: Folio, mm_walk: Any) -> Step[tuple[int, bool]]:
        """folio_referenced(): (references found in page tables and cleared, -1 = ask later; is it in a locked VMA)."""

    def add_to_swap(self, folio: Folio) -> Step[bool]:
        """folio_alloc_swap(), add_to_swap() before 6.16: a slot and a place in the swap cache."""

    def try_to_unmap(self, folio: Folio) -> Step[bool]:
        """try_to_unmap(): is it unmapped everywhere now?"""

    def pageout(self, folio: Folio) -> Step[bool]:
        """pageout() to synchronous swap: is it clean now?"""

    def remove_mapping(self, folio: Folio) -> Step[bool]:
        """__remove_mapping() and the free that follows: out of the swap cache, leaving Lruvec.eviction_shadow()."""

    def free_swap_pages(self) -> Step[int]:
        """mem_cgroup_get_nr_swap_pages(): slots that the memcg may still use."""

    def lru_add_drain(self) -> Step[None]:
        """lru_add_drain(): this CPU's batches go to their lists."""

    def lru_add_drain_all(self) -> Step[None]:
        """lru_add_drain_all()."""

    def below_min(self) -> Step[bool]:
        """mem_cgroup_below_min()."""

    def below_low(self) -> Step[bool]:
        """mem_cgroup_below_low()."""

    def watermarks(self) -> Step[tuple[int, int, int]]:
        """(NR_FREE_PAGES, low_wmark_pages(), high_wmark_pages()) of the zone."""

    def protection(self) -> Step[tuple[int, int, int]]:
        """mem_cgroup_protection(): effective memory.min and memory.low, and the usage, in pages."""


@dataclass
class ScanControl:
    """struct scan_control with current->reclaim_state->mm_walk.

    swappiness: the memcg's, or that of a command. kswapd: current_is_kswapd(). target_memcg: is this reclaim on behalf of
    a memcg (cgroup_reclaim()) or of the node (root_reclaim())? last_reclaimed: nr_reclaimed when this pass of kswapd began;
    memcgs_need_aging: is kswapd to age before it evicts; need_aging: what get_nr_to_scan() found last. All three are 6.1's.
    """

    ops: ReclaimOps
    swappiness: int = 60
    nr_to_reclaim: int = SWAP_CLUSTER_MAX
    priority: int = DEF_PRIORITY
    may_swap: bool = True
    may_unmap: bool = True
    may_writepage: bool = True
    gfp_io: bool = True
    proactive: bool = False
    kswapd: bool = False
    target_memcg: bool = True
    memcg_low_reclaim: bool = False
    memcg_low_skipped: bool = False
    memcg_full_walk: bool = False
    nr_reclaimed: int = 0
    nr_scanned: int = 0
    last_reclaimed: int = 0
    memcgs_need_aging: bool = False
    need_aging: bool = False
    mm_walk: MmWalk | None = None
    stop_at: int | None = None  # take this many pages in all, for a replay whose length is known
    taken: list[Folio] = field(default_factory=list)  # victims, in the order they were unmapped

    def pages_taken(self) -> int:
        """Pages of the victims so far."""
        return sum(folio.pages for folio in self.taken)

    def done(self) -> bool:
        """Is the fixed number of victims reached?"""
        return self.stop_at is not None and self.pages_taken() >= self.stop_at

    def batch(self) -> int:
        """Pages that one scan isolates: MIN_LRU_BATCH, or what is missing from the fixed number."""
        return MIN_LRU_BATCH if self.stop_at is None else min(MIN_LRU_BATCH, self.stop_at - self.pages_taken())

    def set_mm_walk(self) -> MmWalk:
        """set_mm_walk(NULL, true): the task's walk, made when there is none."""
        if self.mm_walk is None:
            self.mm_walk = MmWalk()
        return self.mm_walk


def get_swappiness(sc: ScanControl) -> Step[int]:
    """get_swappiness(): 0 when nothing can go to swap."""
    if not sc.may_swap:
        return 0
    return sc.swappiness if (yield from sc.ops.free_swap_pages()) >= 64 else 0
