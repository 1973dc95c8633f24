"""What differs between kernels, one bit a feature, under the names and with the meaning that the docs give them.

A profile (6.1 .. 7.3) is a set of these names. Features that only change text, or that one VM host without file pages and
memory limits inside limits cannot show, are accepted and have no bit.
"""

from collections.abc import Mapping
from typing import Final

from agewalk.core.errors import UsageError

WALK_NOTIFIES: Final = 1 << 0
FORCE_SCAN_READS_ALL: Final = 1 << 1
SMALL_MM_SKIPPED: Final = 1 << 2
AGE_REFUSES_FULL: Final = 1 << 3
WORKINGSET_PROTECTION: Final = 1 << 4
LOOK_AROUND_TESTS_TARGET: Final = 1 << 5
LOOK_AROUND_AT_ONCE: Final = 1 << 6
RMAP_SECOND_ACCESS_MARKS: Final = 1 << 7
FAULT_ADDS_WORKINGSET: Final = 1 << 8  # fault_adds = "workingset_or_accessed"
ACTIVE_CLEARS_REFS: Final = 1 << 9
REFERENCED_ENTERS_OLDER: Final = 1 << 10
BY_EVICTABLE_TYPE: Final = 1 << 11
SUMS_TIERS: Final = 1 << 12
REFAULT_WINDOW: Final = 1 << 13
KEEPS_REFERENCED_MAPPED: Final = 1 << 14
SORTS_WRITEBACK: Final = 1 << 15
SCAN_LIMIT: Final = 1 << 16
FLUSHES_EMPTY_FIRST: Final = 1 << 17
LOOP_FIXED_BUDGET: Final = 1 << 18  # shrink_loop = "fixed_budget"
LOOP_NEED_AGING: Final = 1 << 19  # shrink_loop = "need_aging"; neither bit: "stop_when_low"
PROACTIVE_WALK: Final = 1 << 20
RECLAIM_QUARTERS: Final = 1 << 21
ABORT_WHEN_DONE: Final = 1 << 22
FULL_WALK_RETRY: Final = 1 << 23
ZAP_PROPAGATES_ACCESSED: Final = 1 << 24
ZAP_PROPAGATES_DIRTY: Final = 1 << 25
FAULT_MARKS_DIRTY: Final = 1 << 26
DIRECT_PREFETCH_MARKS: Final = 1 << 27
INDIRECT_PREFETCH_MARKS_DIRTY: Final = 1 << 28
AGE_TRACKING_MARKS_DIRTY: Final = 1 << 29
FAST_PF_SETS_ACCESSED: Final = 1 << 30
SWAPIN_MAPS_WRITABLE: Final = 1 << 31
SWAPIN_THROUGH_CACHE: Final = 1 << 32
RETRY_MARKS_ACCESSED: Final = 1 << 33
COPIES_HUGE_ZERO: Final = 1 << 34
ESTIMATES_PRIORITY: Final = 1 << 35  # initial_priority = "estimated" or "estimated_gently"
ESTIMATES_GENTLY: Final = 1 << 36
WALK_IF_LIKELY_FAST: Final = 1 << 37
SHORTCUT_ENDS_FOR_ALL: Final = 1 << 38  # nonleaf_shortcut_ends = "with_secondary_walk"
SHORTCUT_NEVER_ENDS: Final = 1 << 39  # nonleaf_shortcut_ends = "never"
ASKS_BY_BITMAP: Final = 1 << 41
TWO_LIST: Final = 1 << 40  # no feature of a profile: MGLRU is off (Host.policy)

_FLAGS: Final = {
    "walk_notifies": WALK_NOTIFIES,
    "walk_if_likely_fast": WALK_IF_LIKELY_FAST,
    "asks_by_bitmap": ASKS_BY_BITMAP,
    "force_scan_reads_all": FORCE_SCAN_READS_ALL,
    "small_mm_skipped": SMALL_MM_SKIPPED,
    "age_refuses_full": AGE_REFUSES_FULL,
    "workingset_protection": WORKINGSET_PROTECTION,
    "look_around_tests_target": LOOK_AROUND_TESTS_TARGET,
    "look_around_at_once": LOOK_AROUND_AT_ONCE,
    "rmap_second_access_marks": RMAP_SECOND_ACCESS_MARKS,
    "active_clears_refs": ACTIVE_CLEARS_REFS,
    "referenced_enters_older": REFERENCED_ENTERS_OLDER,
    "by_evictable_type": BY_EVICTABLE_TYPE,
    "sums_tiers": SUMS_TIERS,
    "refault_window": REFAULT_WINDOW,
    "keeps_referenced_mapped": KEEPS_REFERENCED_MAPPED,
    "sorts_writeback": SORTS_WRITEBACK,
    "scan_limit": SCAN_LIMIT,
    "flushes_empty_first": FLUSHES_EMPTY_FIRST,
    "proactive_walk": PROACTIVE_WALK,
    "reclaim_quarters": RECLAIM_QUARTERS,
    "abort_when_done": ABORT_WHEN_DONE,
    "full_walk_retry": FULL_WALK_RETRY,
    "zap_propagates_accessed": ZAP_PROPAGATES_ACCESSED,
    "zap_propagates_dirty": ZAP_PROPAGATES_DIRTY,
    "fault_marks_dirty": FAULT_MARKS_DIRTY,
    "direct_prefetch_marks": DIRECT_PREFETCH_MARKS,
    "indirect_prefetch_marks_dirty": INDIRECT_PREFETCH_MARKS_DIRTY,
    "age_tracking_marks_dirty": AGE_TRACKING_MARKS_DIRTY,
    "fast_pf_sets_accessed": FAST_PF_SETS_ACCESSED,
    "retry_marks_accessed": RETRY_MARKS_ACCESSED,
    "swapin_maps_writable": SWAPIN_MAPS_WRITABLE,
    "swapin_through_cache": SWAPIN_THROUGH_CACHE,
    "copies_huge_zero": COPIES_HUGE_ZERO,
}
_WORDS: Final = {
    "fault_adds": {"active": 0, "workingset_or_accessed": FAULT_ADDS_WORKINGSET},
    "initial_priority": {
        "default": 0,
        "estimated": ESTIMATES_PRIORITY,
        "estimated_gently": ESTIMATES_PRIORITY | ESTIMATES_GENTLY,
    },
    "nonleaf_shortcut_ends": {
        "with_notifiers": 0,
        "with_secondary_walk": SHORTCUT_ENDS_FOR_ALL,
        "never": SHORTCUT_NEVER_ENDS,
    },
    "shrink_loop": {"need_aging": LOOP_NEED_AGING, "stop_when_low": 0, "fixed_budget": LOOP_FIXED_BUDGET},
}
_NOT_REACHED: Final = {
    "contended_table_suitable",  # one walker, and no lock is held
    "look_around_gives_up_first",  # the same, and no special VMAs
    "age_reports_lost_race",
    "proportional_protection",  # no memory.min or memory.low
    "exec_activated_at_once",  # no executable file pages
    "memcg_id_wide",
    "six_mm_stats",
    "blank_empty_stats",
    "anon_only_swappiness",
    "one_direct_fault_function",  # a name that is counted
    "recovers_huge_in_place",  # no dirty logging
    "folio_batch_size",  # Host.folio_batch_size
    "gup_marks_folio",  # the same mark under another name
    "fault_under_vma_lock",
    "mlock_batches",
    "drain_all_by_work",  # a context switch of a kernel thread
    "software_accessed",
    "anon_mthp",  # no folios between 4 KiB and 2 MiB: Space has none, `study.job.plan` refuses them
    "large_swapin",
    "folio_told_once",
    "asks_about_folios",
    "referenced_asks_about_folios",
    "rmap_age_strides",  # no range that it would show in
    "rmap_bit_lock",  # locks and races: one thing at a time here
    "rmap_age_by_cmpxchg",
    "tdp_age_retries",
    "flush_on_young",  # a cost: in the protocol's truth table
    "early_invalidate_check",
    "prefetch_needs_no_invalidation",
    "nonpresent_bit63",
    "high_spte_layout",
    "accessed_is_volatile",
    "flush_range_by_gfn",
}


def encode(features: Mapping[str, object]) -> int:
    """Bits of a profile's features by name. Raises UsageError for a name or a value that the engine does not know."""
    bits = 0
    for name, value in features.items():
        if name in _FLAGS:
            bits |= _FLAGS[name] if value else 0
        elif name in _WORDS:
            if value not in _WORDS[name]:
                raise UsageError(f"feature {name} cannot be {value!r}", hint=f"one of {', '.join(_WORDS[name])}")
            bits |= _WORDS[name][str(value)]
        elif name not in _NOT_REACHED:
            raise UsageError(
                f"the engine does not know the feature {name!r}", hint="run this profile with --engine direct"
            )
    return bits
