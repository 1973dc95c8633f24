"""Numbers and pure rules of MGLRU: generations, tiers, thresholds, windows. Nothing here touches state.

include/linux/mmzone.h, include/linux/mm_inline.h and mm/vmscan.c, 6.12 unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agewalk.core.units import PAGE_SIZE, PMD_SHIFT, Hva
from agewalk.model.mm.folio import ANON, FILE, LRU_REFS_WIDTH, PG_REFERENCED, PG_WORKINGSET, folio_lru_refs_field

MIN_NR_GENS: Final = 2
MAX_NR_GENS: Final = 4
MAX_NR_TIERS: Final = 4
TYPES: Final = (ANON, FILE)
MIN_LRU_BATCH: Final = 64  # BITS_PER_LONG
MAX_LRU_BATCH: Final = 64 * 64
SWAP_CLUSTER_MAX: Final = 32
DEF_PRIORITY: Final = 12
MAX_RECLAIM_RETRIES: Final = 16
MIN_SWAPPINESS: Final = 0
MAX_SWAPPINESS: Final = 200
SWAPPINESS_ANON_ONLY: Final = 201  # 6.15: "max" of lru_gen and memory.reclaim
PMD_SIZE: Final = 1 << PMD_SHIFT
PUD_SIZE: Final = 1 << 30

# errno of the debugfs commands
EINTR: Final = -4
EAGAIN: Final = -11
EEXIST: Final = -17
EINVAL: Final = -22
ERANGE: Final = -34


def lru_gen_from_seq(seq: int) -> int:
    """Index of a generation's lists."""
    return seq % MAX_NR_GENS


def order_base_2(n: int) -> int:
    """ceil(log2(n)); 0 for 0 and 1 (include/linux/log2.h)."""
    return (n - 1).bit_length() if n > 1 else 0


def folio_lru_refs(flags: int, *, workingset_protection: bool) -> int:
    """How often a folio was accessed through file descriptors (folio_lru_refs()).

    Up to 6.13 accesses beyond PG_referenced, PG_workingset being one of them; from 6.14 all, PG_referenced included.
    """
    field = folio_lru_refs_field(flags)
    if workingset_protection:
        return field + 1 if flags & PG_REFERENCED else 0
    return field + bool(flags & PG_WORKINGSET)


def lru_tier_from_refs(refs: int, workingset: bool, *, workingset_protection: bool) -> int:
    """lru_tier_from_refs(): up to 6.13 by refs alone, from 6.14 PG_workingset is the last tier."""
    if workingset_protection:
        return MAX_NR_TIERS - 1 if workingset else order_base_2(refs)
    return order_base_2(refs + 1)


def refs_saturated(refs: int, workingset: bool, *, workingset_protection: bool) -> bool:
    """All bits for accesses are set, so the folio is lazily promoted (sort_folio())."""
    if workingset_protection:
        return refs + workingset == (1 << LRU_REFS_WIDTH) + 1
    return refs == 1 << LRU_REFS_WIDTH


def suitable_to_scan(total: int, young: int) -> bool:
    """Is a page table worth a visit next time: at least one young PTE per cache line of 64 bytes, on average."""
    return young * 8 >= total


def look_around_window(address: Hva, vma_start: Hva, vma_end: Hva) -> tuple[Hva, Hva]:
    """[start, end) that lru_gen_look_around() scans: the VMA within the 2 MiB, at most 64 pages with `address` inside."""
    table = address & -PMD_SIZE
    start = max(table, vma_start)
    end = min(table + PMD_SIZE, vma_end)
    batch = MIN_LRU_BATCH * PAGE_SIZE
    if end - start > batch:
        if address - start < batch // 2:
            end = start + batch
        elif end - address < batch // 2:
            start = end - batch
        else:
            start = address - batch // 2
            end = address + batch // 2
    return Hva(start), Hva(end)


def evictable_types(swappiness: int) -> range:
    """for_each_evictable_type() (6.14): file alone at swappiness 0, anon alone above 200."""
    return range(int(not swappiness), int(swappiness < SWAPPINESS_ANON_ONLY) + 1)


def evictable_min_seq(min_seq: tuple[int, int], swappiness: int) -> int:
    """The oldest generation of the types that may be evicted (6.14)."""
    types = evictable_types(swappiness)
    return min(min_seq[types[0]], min_seq[types[-1]])


def oldest_seq(min_seq: tuple[int, int], swappiness: int, *, by_evictable_type: bool) -> int:
    """The generation that bounds eviction: from 6.14 evictable_min_seq(), before that min_seq[!can_swap]."""
    return evictable_min_seq(min_seq, swappiness) if by_evictable_type else min_seq[int(not swappiness)]


def seq_is_valid(max_seq: int, min_seq: tuple[int, int], *, by_evictable_type: bool) -> bool:
    """seq_is_valid(): the sliding window of each type; up to 6.13 file never has more generations than anon."""
    anon, file = (max_seq - oldest + 1 for oldest in min_seq)
    if by_evictable_type:
        return MIN_NR_GENS <= anon <= MAX_NR_GENS and MIN_NR_GENS <= file <= MAX_NR_GENS
    return MIN_NR_GENS <= file <= anon <= MAX_NR_GENS


@dataclass(frozen=True)
class CtrlPos:
    """struct ctrl_pos: refaults and evictions of a tier, weighted by `gain`."""

    refaulted: int
    total: int
    gain: int


def positive_ctrl_err(sp: CtrlPos, pv: CtrlPos) -> bool:
    """Does PV refault too little to matter, or less than SP, in proportion to what was evicted?"""
    return pv.refaulted < MIN_LRU_BATCH or pv.refaulted * (sp.total + MIN_LRU_BATCH) * sp.gain <= (
        (sp.refaulted + 1) * pv.total * pv.gain
    )


def folio_seq(
    max_seq: int,
    min_seq: int,
    *,
    active: bool,
    workingset: bool,
    referenced: bool,
    reclaiming: bool,
    second_youngest: bool,
) -> int:
    """lru_gen_folio_seq() (6.14): the generation that a folio is added to. `second_youngest`: anon outside the swap cache,
    or waiting for its writeback after reclaim. `referenced` counts from 7.3 on; pass False before."""
    if active:
        gen = MIN_NR_GENS - workingset
    elif reclaiming:
        gen = MAX_NR_GENS
    elif second_youngest:
        gen = MIN_NR_GENS
    else:
        gen = MAX_NR_GENS - (workingset or referenced)
    return max(max_seq - gen + 1, min_seq)


def folio_seq_without_workingset_protection(
    max_seq: int, min_seq: int, *, active: bool, reclaiming: bool, second_youngest: bool
) -> int:
    """lru_gen_add_folio() up to 6.13: the generation that a folio is added to."""
    if active:
        return max_seq
    if second_youngest:
        return max_seq - 1
    if reclaiming or min_seq + MIN_NR_GENS >= max_seq:
        return min_seq
    return min_seq + 1
