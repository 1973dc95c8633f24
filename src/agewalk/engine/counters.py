"""Places of the counters in `count[]`."""

from typing import Final

NAMES: Final = (
    "accesses",
    "faults",
    "refaults",
    "evictions",
    "hot_evictions",
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
)
(
    ACCESSES,
    FAULTS,
    REFAULTS,
    EVICTIONS,
    HOT_EVICTIONS,
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
) = range(len(NAMES))

# columns of `by_space`
BY_FAULTS, BY_REFAULTS, BY_EVICTIONS, BY_HOT = range(4)
N_BY_SPACE: Final = 4
