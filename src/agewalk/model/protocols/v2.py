"""v2 of the series: one operation, test_clear_young(), with a bitmap, instead of test_young() and clear_young()."""

from __future__ import annotations

from typing import ClassVar

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young
from agewalk.model.protocols.v3 import V3


class V2(V3):
    """As posted on 2023-05-26. As v3, but core mm asks KVM whether to walk (kvm_arch_has_test_clear_young()), a test of a bitmap
    ends at the first subscriber that has a young page, and the walk keeps its shortcut: a page table whose PMD entry is old in
    the process is not read, whatever the guest used there. Huge entries are not asked about."""

    name = "v2"
    summary = (
        "As v3, by one operation for both; but the walk passes over page tables that the process itself did not use."
    )
    cite = "20230526234435.662652-1-yuzhao@google.com"
    features: ClassVar[dict[str, object]] = {
        "walk_notifies": True,
        "walk_if_likely_fast": True,
        "asks_by_bitmap": True,
        "nonleaf_shortcut_ends": "never",
        "look_around_tests_target": True,
    }
    fast_word = "RANGE_LOCKLESS"
    slow_word = "RANGE_YOUNG"

    def test_bitmap(self, mm: Mm, start: Hva, end: Hva) -> Step[int]:
        """test_spte_young(): should_walk_kvm_mmu() first, a call into KVM, inline."""
        if not mm.kvm_likely_fast:
            return 0
        return (yield from mmu_notifier.test_young_bitmap(mm, start, end, every=False))

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """A window of one page, or a huge entry: its own bit alone."""
        if size != PAGE_SIZE:
            return (yield from ptep_test_and_clear_young(entry))
        return (yield from super().walk(mm, entry, hva, size))
