"""The TDP MMU: aging, and the small steps that change one SPTE (arch/x86/kvm/mmu/tdp_mmu.c, tdp_iter.h).

Tables are read under RCU, without mmu_lock if need be; roots are a list that RCU protects. Where the kernel re-reads a
non-leaf SPTE before it descends, one load does for both: the first value decides nothing.
"""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.core.effects import (
    ACQUIRE,
    Again,
    CompareExchange,
    Count,
    Exchange,
    FetchAnd,
    Load,
    RcuReadLock,
    RcuReadUnlock,
    Step,
    Store,
    Warn,
)
from agewalk.model.kvm.kvm_host import Kvm, MmuPage
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu.spte import (
    MMU_PRESENT,
    is_accessed_spte,
    is_last_spte,
    is_shadow_present_pte,
    is_writable_pte,
    mark_spte_for_access_track,
    saved_bits_clash,
    spte_ad_enabled,
    spte_needs_atomic_update,
    spte_to_pfn,
)

# --- one SPTE -------------------------------------------------------------------------------------------------------------


def kvm_tdp_mmu_write_spte(kvm: Kvm, sptep: Cell, old: int, new: int, level: int) -> Step[int]:
    """Under mmu_lock held for write; atomic if CPUs or lockless threads may change the entry. Returns the value replaced."""
    volatile = is_shadow_present_pte(old) and is_last_spte(old, level) and spte_needs_atomic_update(kvm.format, old)
    if volatile:
        replaced: int = yield Exchange(sptep, new)
        return replaced
    yield Store(sptep, new)
    return old


def tdp_mmu_set_spte_atomic(kvm: Kvm, sptep: Cell, old: int, new: int) -> Step[bool]:
    """__tdp_mmu_set_spte_atomic(), mmu_lock held for read or not at all: did it work?"""
    if old == kvm.format.frozen:
        yield Warn("a frozen SPTE is about to be changed")
    found = yield CompareExchange(sptep, old, new)
    return bool(found == old)


# --- aging ----------------------------------------------------------------------------------------------------------------


def kvm_tdp_mmu_age_gfn_range(kvm: Kvm, rng: GfnRange) -> Step[bool]:
    """kvm_tdp_mmu_age_gfn_range(): test and clear, in all valid roots of the slot's address space."""
    return _age_gfn_range(kvm, rng, "kvm_tdp_mmu_age_gfn_range", test_only=False)


def kvm_tdp_mmu_test_age_gfn(kvm: Kvm, rng: GfnRange) -> Step[bool]:
    """kvm_tdp_mmu_test_age_gfn(): stops at the first young leaf and changes nothing."""
    return _age_gfn_range(kvm, rng, "kvm_tdp_mmu_test_age_gfn", test_only=True)


def _age_gfn_range(kvm: Kvm, rng: GfnRange, counted: str, *, test_only: bool) -> Step[bool]:
    """__kvm_tdp_mmu_age_gfn_range(): one RCU section, no yielding. Invalid roots are skipped, which may miss a young bit."""
    yield Count(counted)
    one = rng.end == rng.start + 1
    young = False
    yield RcuReadLock()
    root: MmuPage | None = yield Load(kvm.tdp_roots, ACQUIRE)
    while root is not None:
        if root.as_id == rng.slot.as_id and not (yield Load(root.invalid)):
            if one:
                young |= yield from _age_one_gfn(kvm, root, rng, test_only)
            else:
                young |= yield from _age_table(kvm, root, 0, rng, test_only)
            if young and test_only:
                break
        root = yield Load(root.next, ACQUIRE)
    yield RcuReadUnlock()
    return young


def _age_one_gfn(kvm: Kvm, table: MmuPage, rng: GfnRange, test_only: bool) -> Step[bool]:
    """_age_table() for a single frame, straight down: the path of every 4 KiB question."""
    while True:
        sptep = table.entry_of(rng.start)
        old: int = yield Load(sptep)
        if not old & MMU_PRESENT:
            return False
        if is_last_spte(old, table.level):
            break
        table = kvm.page_at(spte_to_pfn(old))
    if not is_accessed_spte(kvm.format, old):
        return False
    return test_only or not (yield from _age_spte(kvm, rng, sptep, old, table.level))


def _age_table(kvm: Kvm, table: MmuPage, base: int, rng: GfnRange, test_only: bool) -> Step[bool]:
    """Leaves of [start, end) below one table whose first entry translates gfn `base`."""
    size = kvm.pages_per_level(table.level)
    young = False
    for gfn in range(max(base, rng.start - rng.start % size), min(base + size * kvm.entries, rng.end), size):
        sptep = table.entry_of(gfn)
        old: int = yield Load(sptep)
        if not is_shadow_present_pte(old):
            continue
        if not is_last_spte(old, table.level):
            young |= yield from _age_table(kvm, kvm.page_at(spte_to_pfn(old)), gfn, rng, test_only)
        elif is_accessed_spte(kvm.format, old):
            young |= test_only or not (yield from _age_spte(kvm, rng, sptep, old, table.level))
        if young and test_only:
            return True
    return young


def kvm_tdp_mmu_young_bitmap(kvm: Kvm, rng: GfnRange, wanted: int, *, test_only: bool) -> Step[int]:
    """The walk of v2 and v3: which frames are young, or, clearing, which of `wanted` were. Bit i is frame i from rng.start on."""
    yield Count("kvm_tdp_mmu_test_age_gfn" if test_only else "kvm_tdp_mmu_age_gfn_range")
    young = 0
    yield RcuReadLock()
    root: MmuPage | None = yield Load(kvm.tdp_roots, ACQUIRE)
    while root is not None:
        if root.as_id == rng.slot.as_id and not (yield Load(root.invalid)):
            young |= yield from _bitmap_of_table(kvm, root, 0, rng, -1 if test_only else wanted, test_only)
        root = yield Load(root.next, ACQUIRE)
    yield RcuReadUnlock()
    return young


def _bitmap_of_table(kvm: Kvm, table: MmuPage, base: int, rng: GfnRange, wanted: int, test_only: bool) -> Step[int]:
    """_age_table() with a bit for each frame. A larger SPTE has the bit of the first frame of the range that it maps: as posted,
    the bit of its own first frame, which may lie outside the bitmap."""
    size = kvm.pages_per_level(table.level)
    young = 0
    for gfn in range(max(base, rng.start - rng.start % size), min(base + size * kvm.entries, rng.end), size):
        sptep = table.entry_of(gfn)
        old: int = yield Load(sptep)
        if not is_shadow_present_pte(old):
            continue
        if not is_last_spte(old, table.level):
            young |= yield from _bitmap_of_table(kvm, kvm.page_at(spte_to_pfn(old)), gfn, rng, wanted, test_only)
            continue
        bit = 1 << max(gfn - rng.start, 0)
        if wanted & bit and is_accessed_spte(kvm.format, old):
            young |= bit
            if not test_only:
                yield from _age_spte(kvm, rng, sptep, old, table.level)
    return young


def _age_spte(kvm: Kvm, rng: GfnRange, sptep: Cell, old: int, level: int) -> Step[bool]:
    """kvm_tdp_mmu_age_spte() (6.15), age_gfn_range() (up to 6.14): one young leaf becomes old. Answers True if
    another thread aged or zapped it first, so that it counts as old (v4 to v6).

    Without mmu_lock always atomically, and without a retry: an entry that changed meanwhile stays young. v4 to v6 try again.
    """
    f = kvm.format
    if spte_ad_enabled(f, old):
        new = old & ~f.accessed
        if rng.lockless and not kvm.features.rmap_age_by_cmpxchg:
            yield FetchAnd(sptep, ~f.accessed)  # tdp_mmu_clear_spte_bits_atomic()
        elif rng.lockless:
            yield CompareExchange(sptep, old, new)
        elif spte_needs_atomic_update(f, old):
            yield FetchAnd(sptep, ~f.accessed)
        else:
            yield Store(sptep, new)  # __kvm_tdp_mmu_write_spte()
        return False
    if rng.lockless and kvm.features.tdp_age_retries:
        return (yield from _age_spte_until_done(kvm, sptep, old, level))
    if kvm.features.age_tracking_marks_dirty and is_writable_pte(old):
        yield from kvm_set_pfn_dirty(kvm, old)
    if saved_bits_clash(f, old):
        yield Warn("Access Tracking saved bit locations are not zero")
    new = mark_spte_for_access_track(f, old)
    if rng.lockless:
        yield CompareExchange(sptep, old, new)
    else:
        yield from kvm_tdp_mmu_write_spte(kvm, sptep, old, new, level)
    return False


def _age_spte_until_done(kvm: Kvm, sptep: Cell, old: int, level: int) -> Step[bool]:
    """age_gfn_range() of v4 to v6 for an A/D-disabled SPTE: round and round, until it is tracked, or (True) is
    old or no leaf any more."""
    f = kvm.format
    while True:
        if saved_bits_clash(f, old):
            yield Warn("Access Tracking saved bit locations are not zero")
        found: int = yield CompareExchange(sptep, old, mark_spte_for_access_track(f, old))
        if found == old:
            break
        old = found
        if not is_shadow_present_pte(old) or not is_last_spte(old, level) or not is_accessed_spte(f, old):
            return True
        yield Again(sptep, old)
    if kvm.features.age_tracking_marks_dirty and is_writable_pte(old):
        yield from kvm_set_pfn_dirty(kvm, old)
    return False


# --- what a zapped or tracked SPTE tells the page (virt/kvm/kvm_main.c) -----------------------------------------------------


def kvm_set_pfn_accessed(kvm: Kvm, spte: int) -> Step[None]:
    """kvm_set_pfn_accessed(): the page behind an SPTE was used."""
    yield Count("kvm_set_pfn_accessed")
    yield from kvm.host.mark_page_accessed(spte_to_pfn(spte))


def kvm_set_pfn_dirty(kvm: Kvm, spte: int) -> Step[None]:
    """kvm_set_pfn_dirty(): the page behind an SPTE was written to."""
    yield from kvm.host.mark_page_dirty(spte_to_pfn(spte))
