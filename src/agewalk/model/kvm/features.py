"""Differences between kernels in KVM, one named feature each. A kernel is a set of them; no other code asks for a version.

"Read" means read in that release's source by name of the function; a commit is given where it is known for certain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final

from agewalk.core.features import named_features
from agewalk.model.kvm.mmu.spte import SpteFormat, spte_format


@named_features
@dataclass(frozen=True, slots=True)
class KvmFeatures:
    """What a kernel's KVM does. Each field says since when, and where that can be read."""

    rmap_bit_lock: Annotated[
        bool, "6.15: each rmap head has a lock of its own in KVM_RMAP_LOCKED (__kvm_rmap_lock); before, mmu_lock alone."
    ]

    rmap_age_strides: Annotated[
        bool,
        """kvm_rmap_age_gfn_range() steps through a range by each level's size, from the range's first frame on: of a range that
        starts within one large SPTE's frames and ends within the next one's, it misses the latter. 6.15 (read in 7.3). Before,
        slot_rmap_walk_next() goes from rmap to rmap. mm asks about no range that crosses 2 MiB, so it makes no difference.""",
    ]

    rmap_age_by_cmpxchg: Annotated[
        bool,
        """7.3 kvm_rmap_age_gfn_range() and kvm_tdp_mmu_age_spte() use cmpxchg for all SPTEs; 6.18 a locked AND (BTR) where the
        hardware keeps A.""",
    ]

    tdp_age_retries: Annotated[
        bool,
        """age_gfn_range() without mmu_lock tries again when its cmpxchg of an A/D-disabled SPTE fails, as long as that is a leaf.
        v4 (20240529180510.2295118-6-jthoughton@google.com) to v6; v7 and 6.15 leave it young. Never merged.""",
    ]

    zap_propagates_accessed: Annotated[
        bool,
        """Up to 6.12: zapping an accessed SPTE calls kvm_set_pfn_accessed() (mmu_spte_clear_track_bits, handle_changed_spte);
        removed in 6.13 (66bc627e7fee).""",
    ]

    zap_propagates_dirty: Annotated[
        bool, "Up to 6.12: zapping a dirty SPTE calls kvm_set_pfn_dirty(); in 6.13 the page is marked at fault instead."
    ]

    fault_marks_dirty: Annotated[
        bool, "6.13: kvm_release_faultin_page() marks the page dirty if the primary MMU lets it be written."
    ]

    retry_marks_accessed: Annotated[
        bool,
        "Up to 6.12: kvm_release_pfn_clean() marks the page accessed even if the fault is retried; 6.13 releases it unused.",
    ]

    direct_prefetch_marks: Annotated[
        bool,
        """6.13: kvm_mmu_prefetch_sptes() releases each prefetched page as dirty, which also marks it accessed; before,
        direct_pte_prefetch_many() only put it. (Recorded on 6.18, legacy: 2080 folio_mark_accessed where 522 faults
        happened.)""",
    ]

    indirect_prefetch_marks_dirty: Annotated[
        bool, "6.13: FNAME(prefetch_gpte) goes through kvm_mmu_prefetch_sptes() too. Before: kvm_release_pfn_clean()."
    ]

    age_tracking_marks_dirty: Annotated[
        bool,
        "Up to 6.12: access-tracking a writable A/D-disabled SPTE calls kvm_set_pfn_dirty() first (age_gfn_range).",
    ]

    flush_on_young: Annotated[
        bool, "Up to 6.12: clear_flush_young() flushes; 6.13 selects KVM_ELIDE_TLB_FLUSH_IF_YOUNG (merge c59de1413391)."
    ]

    fast_pf_sets_accessed: Annotated[
        bool, "6.13: fast_page_fault() sets the software accessed bit when it restores an access-tracked SPTE."
    ]

    early_invalidate_check: Annotated[
        bool, "kvm_mmu_faultin_pfn() looks for an invalidation before it asks the primary MMU: in 6.12, not in 6.1."
    ]

    prefetch_needs_no_invalidation: Annotated[
        bool, "direct_pte_prefetch() is skipped while mmu_invalidate_in_progress (read in 6.1, 6.12 and 7.3)."
    ]

    nonpresent_bit63: Annotated[bool, "SHADOW_NONPRESENT_VALUE is bit 63: in 6.12, not in 6.1."]

    high_spte_layout: Annotated[bool, "A/D type and saved bits moved up (SPTE_TDP_AD_SHIFT 60): in 7.3, not in 6.12."]

    software_accessed: Annotated[
        bool, "6.13: shadow_accessed_mask is always set and used by software in A/D-disabled SPTEs."
    ]

    accessed_is_volatile: Annotated[
        bool, "Up to 6.14: spte_has_volatile_bits() minds the A bit; 6.15's spte_needs_atomic_update() does not."
    ]

    one_direct_fault_function: Annotated[
        bool, "direct_page_fault() serves the TDP MMU as well: in 6.1, not in 6.12 (kvm_tdp_mmu_page_fault())."
    ]

    recovers_huge_in_place: Annotated[
        bool,
        """6.13: recover_huge_pages_range() installs the huge SPTE; before, zap_collapsible_spte_range() froze and zapped the
        table (merge c59de1413391).""",
    ]

    flush_range_by_gfn: Annotated[bool, "kvm_flush_remote_tlbs_range() exists (not in 6.1's counted functions)."]

    def format(self, *, ept: bool) -> SpteFormat:
        """SPTE layout on EPT, or on NPT and shadow paging."""
        return spte_format(
            ept=ept,
            nonpresent_bit63=self.nonpresent_bit63,
            high_layout=self.high_spte_layout,
            software_accessed=self.software_accessed,
            accessed_is_volatile=self.accessed_is_volatile,
        )


KVM_6_1: Final = KvmFeatures(
    rmap_bit_lock=False,
    rmap_age_strides=False,
    rmap_age_by_cmpxchg=False,
    tdp_age_retries=False,
    zap_propagates_accessed=True,
    zap_propagates_dirty=True,
    fault_marks_dirty=False,
    retry_marks_accessed=True,
    direct_prefetch_marks=False,
    indirect_prefetch_marks_dirty=False,
    age_tracking_marks_dirty=True,
    flush_on_young=True,
    fast_pf_sets_accessed=False,
    early_invalidate_check=False,
    prefetch_needs_no_invalidation=True,
    nonpresent_bit63=False,
    high_spte_layout=False,
    software_accessed=False,
    accessed_is_volatile=True,
    one_direct_fault_function=True,
    recovers_huge_in_place=False,
    flush_range_by_gfn=False,
)
KVM_6_12: Final = replace(
    KVM_6_1,
    early_invalidate_check=True,
    nonpresent_bit63=True,
    one_direct_fault_function=False,
    flush_range_by_gfn=True,
)
# 6.9 lies between two kernels that were read; not verified in its source: it retries before it asks the primary MMU, and
# its non-present entries are still 0 (bit 63 came with the preparations for TDX, after 6.9).
KVM_6_9: Final = replace(KVM_6_12, nonpresent_bit63=False)
KVM_6_13: Final = replace(
    KVM_6_12,
    zap_propagates_accessed=False,
    zap_propagates_dirty=False,
    fault_marks_dirty=True,
    retry_marks_accessed=False,
    direct_prefetch_marks=True,
    indirect_prefetch_marks_dirty=True,
    age_tracking_marks_dirty=False,
    flush_on_young=False,
    fast_pf_sets_accessed=True,
    software_accessed=True,
    recovers_huge_in_place=True,
)
KVM_6_15: Final = replace(KVM_6_13, rmap_bit_lock=True, rmap_age_strides=True, accessed_is_volatile=False)
KVM_6_18: Final = KVM_6_15
KVM_7_3: Final = replace(KVM_6_18, rmap_age_by_cmpxchg=True, high_spte_layout=True)

KERNELS: Final = {
    "6.1": KVM_6_1,
    "6.9": KVM_6_9,
    "6.12": KVM_6_12,
    "6.13": KVM_6_13,
    "6.15": KVM_6_15,
    "6.18": KVM_6_18,
    "7.3": KVM_7_3,
}
