"""v3 of the series: test_young() and clear_young() with a bitmap, for up to 64 pages at once."""

from __future__ import annotations

from typing import ClassVar, Final

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.notifier import UNRELIABLE
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young
from agewalk.model.protocols.base import YOUNG, AgingProtocol, Verdict

YOUNG_FAST: Final = 1 << 2  # MMU_NOTIFIER_YOUNG_FAST, which comes alone in the post; callers test for non-zero


class V3(AgingProtocol):
    """As posted on 2024-04-01. A bitmap says nothing about a VM that has rmaps, and no caller asks why: after the first nested
    guest, walks find no page of it young. An answer without a bitmap is taken again, under mmu_lock."""

    name = "v3"
    summary = (
        "One call asks the TDP MMU about up to 64 pages; eviction asks every MMU, and looks around if that was fast."
    )
    cite = "20240401232946.1837665-1-jthoughton@google.com"
    lockless = False
    lockless_first = True
    features: ClassVar[dict[str, object]] = {
        "walk_notifies": True,
        "asks_by_bitmap": True,
        "look_around_tests_target": True,
    }
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False}
    fast_word: ClassVar[str] = "YOUNG_FAST"
    slow_word: ClassVar[str] = ""

    def flags(self, answer: int, *, fast_only: bool) -> tuple[str, ...]:
        """Was the young page found without mmu_lock?"""
        word = self.fast_word if answer & YOUNG_FAST else self.slow_word
        return (word,) if answer & YOUNG and word else ()

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """Rmaps, for which mmu_lock must be held, then the TDP MMU."""
        young = False
        if (yield from self.has_rmaps(kvm)):
            if rng.lockless:
                return UNRELIABLE
            young = yield from self.age_shadow_mmu(kvm, rng, clear=clear)
        if kvm.tdp_mmu_enabled:
            young |= yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        return (YOUNG | YOUNG_FAST if rng.lockless else YOUNG) if young else 0

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """A window of one page (`mglru.aging.young_bitmap` asks about many). A huge entry is asked about in full."""
        primary = yield from p.entry_young(entry)
        if size == PAGE_SIZE:
            young = yield from self.test_bitmap(mm, hva, Hva(hva + size))
            if young:
                yield from self.clear_bitmap(mm, hva, Hva(hva + size), young)
        else:
            young = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        if primary:
            yield from ptep_test_and_clear_young(entry)
        return primary or bool(young)

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """should_look_around(): the full answer first."""
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        primary = yield from ptep_test_and_clear_young(entry)
        return Verdict(referenced=primary or bool(secondary), look_around=primary or bool(secondary & YOUNG_FAST))
