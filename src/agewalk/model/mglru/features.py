"""Differences between kernels in MGLRU, one named feature a difference, each with its commit or release.

Code branches on features, never on versions; a profile (`agewalk.model.profiles`) is a bundle of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from agewalk.core.features import named_features


@named_features
@dataclass(frozen=True)
class MglruFeatures:
    """Defaults are 6.1. "seen in X" = read in that release's source, the commit that brought it is not known to us."""

    # --- aging ---
    walk_notifies: Annotated[
        bool,
        """Walks and look-around ask secondary MMUs about old PTEs too. 6.13 (1d4832becdc2, ddd6d8e975b1); in 6.12.y as a
        stable backport.""",
    ] = False
    walk_if_likely_fast: Annotated[
        bool,
        """They do so only on a host whose KVM says that it is likely fast: should_walk_secondary_mmu() of v5 calls
        kvm_arch_young_notifier_likely_fast() (20240611002145.2078921-1-jthoughton@google.com). Never merged.""",
    ] = False
    asks_by_bitmap: Annotated[
        bool,
        """They ask about up to 64 pages by one call and clear them by another (test_spte_young(), clear_spte_young()). v2
        (20230526234435.662652-1-yuzhao@google.com) and v3. Never merged.""",
    ] = False
    nonleaf_shortcut_ends: Annotated[
        Literal["with_notifiers", "with_secondary_walk", "never"],
        """Where an old PMD entry no longer says that its table need not be read: for an mm that has notifiers (6.13), or for
        every process as soon as should_walk_secondary_mmu() (v4 to v7, 20240926013506.860253-1-jthoughton@google.com).""",
    ] = "with_notifiers"
    force_scan_reads_all: Annotated[
        bool, "force_scan ignores the accessed bit of PMD entries. Seen in 6.12 (walk_pmd_range())."
    ] = False
    small_mm_skipped: Annotated[
        bool, "should_skip_mm(): fewer than 64 pages are not worth a walk. Seen in 6.1, gone in 6.9 (get_next_mm())."
    ] = True
    contended_table_suitable: Annotated[
        bool, "A page table whose lock is taken goes into the Bloom filter. Seen in 7.3 (walk_pte_range())."
    ] = False
    age_refuses_full: Annotated[
        bool,
        "'+' without force_scan answers ERANGE when all four generations exist. Up to 6.13; gone with 19f903c7ef86 (6.14).",
    ] = True
    age_reports_lost_race: Annotated[
        bool,
        """'+' with an old max_gen_nr ages all the same, and answers EEXIST when another walker finished first. The lab shows it
        on 6.18 and 7.3; read in 7.3 (run_aging()), with 19f903c7ef86 (6.14).""",
    ] = False

    # --- promotion ---
    workingset_protection: Annotated[
        bool,
        """The first access seen through page tables only sets PG_referenced, the second promotes and sets PG_workingset,
        which stays. 6.14 (07ecb86441b5 "mm/mglru: rework workingset protection").""",
    ] = False
    folio_told_once: Annotated[
        bool,
        """Young entries of one folio in a row are one access: walk_update_folio() runs once for them. 6.14 (07ecb86441b5; read in
        7.3). Before, each of them is one.""",
    ] = False
    asks_about_folios: Annotated[
        bool,
        """Walks, look-around and folio_referenced_one() ask about neighbouring pages of a large folio together, by one call to
        secondary MMUs, and take all for young if one is. 7.1 (56e5b60b2114, 6d7237dda44f; read in 7.3: walk_pte_range(),
        lru_gen_look_around(pvmw, nr)).""",
    ] = False
    look_around_tests_target: Annotated[
        bool, "lru_gen_look_around() reads the target itself and is called for every PTE. 6.13 (1d4832becdc2), 6.12.y."
    ] = False
    look_around_gives_up_first: Annotated[
        bool,
        """lru_gen_look_around() leaves before it reads the target if the page table's lock is contended or the VMA special: the
        target then counts as unused. The sketch of Christopherson alone (2024-06-11, "KVM: Add test_clear_young_fast_only").""",
    ] = False
    look_around_at_once: Annotated[
        bool, "Neighbours are promoted while scanning, not collected in a bitmap first. 6.4 (lru_gen_look_around())."
    ] = False
    rmap_second_access_marks: Annotated[
        bool,
        """lru_gen_set_refs() on a folio seen at most once more calls folio_mark_accessed() instead of setting
        PG_workingset. Seen in 7.3.""",
    ] = False
    fault_adds: Annotated[
        Literal["active", "workingset_or_accessed"],
        """folio_add_lru() inside a fault: PG_active on every folio, or PG_active for refaulted workingset and
        folio_mark_accessed() for the rest. The latter seen in 7.3.""",
    ] = "active"
    active_clears_refs: Annotated[
        bool,
        "lru_gen_add_folio() of an active folio clears PG_referenced and refs. Seen in 6.12; gone with 07ecb86441b5 (6.14).",
    ] = False
    referenced_enters_older: Annotated[
        bool,
        "A PG_referenced folio that is not active enters the second oldest generation. Seen in 7.3 (lru_gen_folio_seq()).",
    ] = False

    # --- eviction ---
    by_evictable_type: Annotated[
        bool,
        """Types age independently; bounds follow the types that swappiness allows. 6.14 (19f903c7ef86 "rework aging
        feedback").""",
    ] = False
    sums_tiers: Annotated[
        bool,
        """Anon against file compares the sums of all tiers, tiers with gains 2:3. 6.14 (dde8e91e2fef "rework type
        selection").""",
    ] = False
    refault_window: Annotated[
        bool,
        """A refault counts as recent within four generations, not only in the oldest. 6.14 (74b157f90055 "rework refault
        detection").""",
    ] = False
    keeps_referenced_mapped: Annotated[
        bool, "shrink_folio_list() keeps a mapped folio that folio_update_gen() marked while isolated. Up to 6.13."
    ] = True
    sorts_writeback: Annotated[
        bool,
        """sort_folio() moves folios under writeback on by one generation. 6.1, and again in 6.14 to 6.18; neither in 6.12
        nor in 7.3.""",
    ] = True
    scan_limit: Annotated[
        bool, "evict_folios() scans no more than it was asked for. 6.17 (20250530162353.541882-1-den@valinux.co.jp)."
    ] = False
    proportional_protection: Annotated[
        bool, "memory.min and memory.low scale what is scanned. 6.17 (the same patch)."
    ] = False
    flushes_empty_first: Annotated[
        bool, "evict_folios() drops empty oldest generations before it isolates. Seen in 7.3."
    ] = False
    shrink_loop: Annotated[
        Literal["need_aging", "stop_when_low", "fixed_budget"],
        """try_to_shrink_lruvec(): 6.1 ages once and asks need_aging; 6.3 (memcg LRU) to 6.18 asks get_nr_to_scan() each round
        and stops if it aged; 7.3 sets a budget once and works it off in batches of 64.""",
    ] = "need_aging"
    initial_priority: Annotated[
        Literal["default", "estimated", "estimated_gently"],
        """Where kswapd starts (set_initial_priority()): 6.1 at priority 12; from 6.3 (e4dde56cd208, memcg LRU) where a scan
        should bring what it wants, and it stops 64 pages above the high watermark, not at it (6.8, 5095a2b23987); from 6.11
        (3f74e6bd3b84, 8b671fe1a879) not below 6, and estimated before min_ttl_ms is asked about, too.""",
    ] = "default"
    proactive_walk: Annotated[
        bool, "memory.reclaim brings an mm_walk, so that look-around batches. Seen in 6.12 (lru_gen_shrink_lruvec())."
    ] = False
    reclaim_quarters: Annotated[
        bool, "memory.reclaim asks for a quarter of what is left each time. Seen in 6.12 (memory_reclaim())."
    ] = False
    abort_when_done: Annotated[
        bool, "Memcg reclaim, too, stops as soon as enough is reclaimed. Seen in 7.3 (should_abort_scan())."
    ] = False
    full_walk_retry: Annotated[
        bool, "do_try_to_free_pages() tries once more with memcg_full_walk when nothing was reclaimed. 6.12 (seen)."
    ] = False
    exec_activated_at_once: Annotated[
        bool, "Executable file folios are promoted at their first access. Seen in 7.3 (is_exec_file_folio())."
    ] = False

    # --- text ---
    memcg_id_wide: Annotated[bool, "lru_gen prints the memcg id as %llu instead of %5hu. Seen in 7.3."] = False
    six_mm_stats: Annotated[
        bool, "lru_gen_full prints LOYNFA, not TYFA. Up to 6.12.0; four from 6.13 on, and in 6.12.y."
    ] = True
    blank_empty_stats: Annotated[bool, "Columns without meaning end in a blank instead of an x. 6.1."] = True
    anon_only_swappiness: Annotated[bool, 'Swappiness up to 201 and "max". 6.15.'] = False


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
    folio_told_once=True,
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
    asks_about_folios=True,
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
