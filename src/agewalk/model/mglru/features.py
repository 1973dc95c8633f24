"""What differs between kernels in MGLRU, one named feature a difference, each with its commit or release.

Code branches on features, never on versions; a profile (`agewalk.model.profiles`) is a bundle of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal


@dataclass(frozen=True)
class MglruFeatures:
    """Defaults are 6.1. "seen in X" = read in that release's source, the commit that brought it is not known to us."""

    # --- aging ---
    walk_notifies: bool = False
    """Walks and look-around ask secondary MMUs about old PTEs too, and skip the non-leaf shortcut for an mm that has
    notifiers. 6.13 (1d4832becdc2, ddd6d8e975b1); in 6.12.y as a stable backport."""
    force_scan_reads_all: bool = False
    """force_scan ignores the accessed bit of PMD entries. Seen in 6.12 (walk_pmd_range())."""
    small_mm_skipped: bool = True
    """should_skip_mm(): fewer than 64 pages are not worth a walk. Seen in 6.1, gone in 6.9 (get_next_mm())."""
    contended_table_suitable: bool = False
    """A page table whose lock is taken goes into the Bloom filter. Seen in 7.3 (walk_pte_range())."""
    age_refuses_full: bool = True
    """'+' without force_scan answers ERANGE when all four generations exist. Up to 6.13; gone with 19f903c7ef86 (6.14)."""
    age_reports_lost_race: bool = False
    """'+' with an old max_gen_nr ages all the same, and answers EEXIST when another walker finished first. The lab shows it
    on 6.18 and 7.3; read in 7.3 (run_aging()), with 19f903c7ef86 (6.14)."""

    # --- promotion ---
    workingset_protection: bool = False
    """The first access seen through page tables only sets PG_referenced, the second promotes and sets PG_workingset,
    which stays. 6.14 (07ecb86441b5 "mm/mglru: rework workingset protection")."""
    look_around_tests_target: bool = False
    """lru_gen_look_around() reads the target itself and is called for every PTE. 6.13 (1d4832becdc2), 6.12.y."""
    look_around_at_once: bool = False
    """Neighbours are promoted while scanning, not collected in a bitmap first. 6.4 (lru_gen_look_around())."""
    rmap_second_access_marks: bool = False
    """lru_gen_set_refs() on a folio seen at most once more calls folio_mark_accessed() instead of setting
    PG_workingset. Seen in 7.3."""
    fault_adds: Literal["active", "workingset_or_accessed"] = "active"
    """folio_add_lru() inside a fault: PG_active on every folio, or PG_active for refaulted workingset and
    folio_mark_accessed() for the rest. The latter seen in 7.3."""
    active_clears_refs: bool = False
    """lru_gen_add_folio() of an active folio clears PG_referenced and refs. Seen in 6.12; gone with 07ecb86441b5 (6.14)."""
    referenced_enters_older: bool = False
    """A PG_referenced folio that is not active enters the second oldest generation. Seen in 7.3 (lru_gen_folio_seq())."""

    # --- eviction ---
    by_evictable_type: bool = False
    """Types age independently; bounds follow the types that swappiness allows. 6.14 (19f903c7ef86 "rework aging
    feedback")."""
    sums_tiers: bool = False
    """Anon against file compares the sums of all tiers, tiers with gains 2:3. 6.14 (dde8e91e2fef "rework type
    selection")."""
    refault_window: bool = False
    """A refault counts as recent within four generations, not only in the oldest. 6.14 (74b157f90055 "rework refault
    detection")."""
    keeps_referenced_mapped: bool = True
    """shrink_folio_list() keeps a mapped folio that folio_update_gen() marked while isolated. Up to 6.13."""
    sorts_writeback: bool = True
    """sort_folio() moves folios under writeback on by one generation. 6.1, and again in 6.14 to 6.18; neither in 6.12
    nor in 7.3."""
    scan_limit: bool = False
    """evict_folios() scans no more than it was asked for. 6.17 (20250530162353.541882-1-den@valinux.co.jp)."""
    proportional_protection: bool = False
    """memory.min and memory.low scale what is scanned. 6.17 (the same patch)."""
    flushes_empty_first: bool = False
    """evict_folios() drops empty oldest generations before it isolates. Seen in 7.3."""
    shrink_loop: Literal["need_aging", "stop_when_low", "fixed_budget"] = "need_aging"
    """try_to_shrink_lruvec(): 6.1 ages once and asks need_aging; 6.3 (memcg LRU) to 6.18 asks get_nr_to_scan() each round
    and stops if it aged; 7.3 sets a budget once and works it off in batches of 64."""
    initial_priority: Literal["default", "estimated", "estimated_gently"] = "default"
    """Where kswapd starts (set_initial_priority()): 6.1 at priority 12; from 6.3 (e4dde56cd208, memcg LRU) where a scan should
    bring what it wants, and it stops 64 pages above the high watermark, not at it (6.8, 5095a2b23987); from 6.11
    (3f74e6bd3b84, 8b671fe1a879) not below 6, and estimated before min_ttl_ms is asked about, too."""
    proactive_walk: bool = False
    """memory.reclaim brings an mm_walk, so that look-around batches. Seen in 6.12 (lru_gen_shrink_lruvec())."""
    reclaim_quarters: bool = False
    """memory.reclaim asks for a quarter of what is left each time. Seen in 6.12 (memory_reclaim())."""
    abort_when_done: bool = False
    """Memcg reclaim, too, stops as soon as enough is reclaimed. Seen in 7.3 (should_abort_scan())."""
    full_walk_retry: bool = False
    """do_try_to_free_pages() tries once more with memcg_full_walk when nothing was reclaimed. 6.12 (seen)."""
    exec_activated_at_once: bool = False
    """Executable file folios are promoted at their first access. Seen in 7.3 (is_exec_file_folio())."""

    # --- text ---
    memcg_id_wide: bool = False
    """lru_gen prints the memcg id as %llu instead of %5hu. Seen in 7.3."""
    six_mm_stats: bool = True
    """lru_gen_full prints LOYNFA, not TYFA. Up to 6.12.0; four from 6.13 on, and in 6.12.y."""
    blank_empty_stats: bool = True
    """Columns without meaning end in a blank instead of an x. 6.1."""
    anon_only_swappiness: bool = False
    """Swappiness up to 201 and "max". 6.15."""


_6_1: Final = MglruFeatures()
_6_9: Final = replace(
    _6_1,
    small_mm_skipped=False,
    look_around_at_once=True,
    sorts_writeback=True,
    shrink_loop="stop_when_low",
    initial_priority="estimated",
    proactive_walk=True,
    reclaim_quarters=True,
    blank_empty_stats=False,
    active_clears_refs=True,
)
_6_12: Final = replace(
    _6_9,
    walk_notifies=True,
    force_scan_reads_all=True,
    look_around_tests_target=True,
    sorts_writeback=False,
    initial_priority="estimated_gently",
    six_mm_stats=False,
    full_walk_retry=True,
)
_6_13: Final = _6_12
_6_15: Final = replace(
    _6_13,
    age_refuses_full=False,
    age_reports_lost_race=True,
    workingset_protection=True,
    active_clears_refs=False,
    by_evictable_type=True,
    sums_tiers=True,
    refault_window=True,
    keeps_referenced_mapped=False,
    sorts_writeback=True,
    anon_only_swappiness=True,
)
_6_18: Final = replace(_6_15, scan_limit=True, proportional_protection=True)
_7_3: Final = replace(
    _6_18,
    contended_table_suitable=True,
    rmap_second_access_marks=True,
    fault_adds="workingset_or_accessed",
    referenced_enters_older=True,
    sorts_writeback=False,
    flushes_empty_first=True,
    shrink_loop="fixed_budget",
    abort_when_done=True,
    exec_activated_at_once=True,
    memcg_id_wide=True,
)

MGLRU: Final[dict[str, MglruFeatures]] = {
    "6.1": _6_1,
    "6.9": _6_9,
    "6.12": _6_12,
    "6.13": _6_13,
    "6.15": _6_15,
    "6.18": _6_18,
    "7.3": _7_3,
}
