"""Differences between kernels in mm/ outside vmscan.c, one named feature each. Code branches on these, never on versions.

"Read" means read in that release's source; a commit is named where it is known for certain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final

from agewalk.core.features import named_features


@named_features
@dataclass(frozen=True, slots=True)
class MmFeatures:
    """What a kernel's mm/ does. Each field says since when, and where that can be read."""

    folio_batch_size: Annotated[
        int,
        """Folios that a CPU collects before it takes lru_lock: 15 in 6.1 (PAGEVEC_SIZE, pagevec.h), 31 in 6.12 and 7.3
        (99fbb6bfc16f, 6.9).""",
    ]

    swapin_maps_writable: Annotated[
        bool,
        """do_swap_page() maps an exclusive anonymous page writable even for a read (read in 6.12; 6.1 does so for writes alone).
        KVM sees it: the guest's read of a swapped page gets a writable mapping.""",
    ]

    swapin_through_cache: Annotated[
        bool,
        """A page coming back from a synchronous swap device goes through the swap cache, which is dropped at once and leaves the
        page dirty (read in 7.3: swapin_sync(), should_try_to_free_swap(), folio_free_swap()). Up to 6.18 it bypasses the
        cache.""",
    ]

    gup_marks_folio: Annotated[
        bool,
        """FOLL_TOUCH calls folio_mark_accessed() itself. Up to 6.12 (read) through mark_page_accessed(); 6.18's recordings count
        one of the latter where 6.12's count two.""",
    ]

    fault_under_vma_lock: Annotated[
        bool, "A fault of a user access takes the VMA's own lock, not mmap_lock (0bff0aaea03e, 6.4)."
    ]

    drain_all_by_work: Annotated[
        bool,
        """lru_add_drain_all() hands even this CPU's batches to a kworker and waits for it: a context switch, if they hold
        anything (the lab counts it on 6.12 and 6.18). 7.3 drains its own CPU by itself first (read).""",
    ]

    anon_mthp: Annotated[
        bool,
        """A fault may take an anonymous folio of any enabled size between 8 KiB and 1 MiB, mapped by PTEs (multi-size THP;
        19eaf44954df, 6.8; read in 7.3: alloc_anon_folio()).""",
    ]

    large_swapin: Annotated[
        bool,
        """A page that was swapped out with its neighbours as one folio comes back with them, if their size is enabled
        (thp_swapin_suitable_orders(); 242d12c98174, 6.13; read and recorded in 7.3).""",
    ]

    referenced_asks_about_folios: Annotated[
        bool,
        """Without MGLRU, folio_referenced_one() asks about neighbouring pages of a large folio by one call
        (clear_flush_young_ptes_notify(); 52e054f71840, 7.0).""",
    ]

    copies_huge_zero: Annotated[
        bool,
        """A write to the huge zero page gets 2 MiB of its own, do_huge_zero_wp_pmd() (6.13; read in 7.3). 6.1 and 6.12 (read)
        split the entry and copy one small page.""",
    ]


MM_6_1: Final = MmFeatures(
    folio_batch_size=15,
    swapin_maps_writable=False,
    swapin_through_cache=False,
    gup_marks_folio=False,
    fault_under_vma_lock=False,
    drain_all_by_work=True,
    anon_mthp=False,
    large_swapin=False,
    referenced_asks_about_folios=False,
    copies_huge_zero=False,
)
MM_6_9: Final = replace(
    MM_6_1, folio_batch_size=31, swapin_maps_writable=True, fault_under_vma_lock=True, anon_mthp=True
)
MM_6_12: Final = MM_6_9
MM_6_13: Final = replace(MM_6_12, copies_huge_zero=True, large_swapin=True)
MM_6_18: Final = replace(MM_6_13, gup_marks_folio=True)
MM_7_3: Final = replace(MM_6_18, swapin_through_cache=True, drain_all_by_work=False, referenced_asks_about_folios=True)

KERNELS: Final = {
    "6.1": MM_6_1,
    "6.9": MM_6_9,
    "6.12": MM_6_12,
    "6.13": MM_6_13,
    "6.15": MM_6_13,
    "6.18": MM_6_18,
    "7.3": MM_7_3,
}
