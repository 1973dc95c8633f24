"""Places of the counters in `counts[]`, and of those that are kept by region, whose sums are totals."""

from typing import Final

NAMES: Final = (
    "accesses",
    "evictions",
    "swap_writes",
    "agings",
    "leaf_total",
    "ptes_walked",
    "leaf_old",
    "leaf_young",
    "nonleaf_total",
    "nonleaf_found",
    "nonleaf_added",
    "look_arounds",
    "look_around_ptes",
    "scanned",
    "spte_faults",
    "kswapd_runs",
    "pmds_walked",
    "bitmap_calls",  # of a young operation about many pages
    "bitmap_age_gfn",
    "bitmap_tdp_walks",
)
(
    ACCESSES,
    EVICTIONS,
    SWAP_WRITES,
    AGINGS,
    LEAF_TOTAL,
    PTES_WALKED,
    LEAF_OLD,
    LEAF_YOUNG,
    NONLEAF_TOTAL,
    NONLEAF_FOUND,
    NONLEAF_ADDED,
    LOOK_AROUNDS,
    LOOK_AROUND_PTES,
    SCANNED,
    SPTE_FAULTS,
    KSWAPD_RUNS,
    PMDS_WALKED,
    BITMAP_CALLS,
    BITMAP_AGE_GFN,
    BITMAP_TDP_WALKS,
) = range(len(NAMES))

# columns of `by_region`: counts, and what the last survey (`quality`) found: pages on a list, how many of these in the two
# youngest generations, how many truly used within `cold_after`
BY_FAULTS, BY_REFAULTS, BY_EVICTIONS, BY_HOT, LISTED, YOUNG, USED = range(7)
N_BY_REGION: Final = 8  # 7 are used: rows are found by a shift
