"""KVM as a subscriber of mmu notifiers: from addresses of the process to frames of the guest (virt/kvm/kvm_main.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from agewalk.core.effects import Acquire, Count, Load, Release, SrcuReadLock, SrcuReadUnlock, Step, Store, Warn
from agewalk.core.units import PAGE_SHIFT, Hva
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange, SlotSet, gfn_ranges
from agewalk.model.kvm.mmu.shadow_mmu import (
    kvm_memslots_have_rmaps,
    kvm_mmu_zap_all_shadow_pages,
    kvm_rmap_zap_gfn_range,
)
from agewalk.model.kvm.mmu.tdp_map import kvm_tdp_mmu_unmap_gfn_range, kvm_tdp_mmu_zap_all
from agewalk.model.kvm.mmu.tdp_mmu import kvm_tdp_mmu_young_bitmap
from agewalk.model.kvm.tlb import kvm_flush_remote_tlbs
from agewalk.model.mm.mm_types import Mm, MmuNotifier, MmuNotifierOps, NotifierRange
from agewalk.model.mm.mmu_notifier import FAST_FAILED, FAST_YOUNG

YOUNG = 1 << 0
UNRELIABLE = 1 << 1  # v3's MMU_NOTIFIER_YOUNG_BITMAP_UNRELIABLE: without mmu_lock nothing was read and nothing cleared
Handler = Callable[[Kvm, GfnRange, bool], Step[int]]  # the last is range.arg: fast_only
OnLock = Callable[[Kvm], Step[None]]


def kvm_handle_hva_range(
    kvm: Kvm,
    start: Hva,
    end: Hva,
    handler: Handler | None,
    *,
    fast_only: bool = False,
    flush_on_ret: bool = False,
    lockless: bool = False,
    may_block: bool = False,
    on_lock: OnLock | None = None,
) -> Step[int]:
    """kvm_handle_hva_range(): run `handler` on every part of a slot, of every address space, that meets [start, end).

    Answers are or-ed; no part is left out for an early answer, so aliases are all visited. SRCU keeps the slots.
    mmu_lock is taken for write at the first part, unless `lockless`; on_lock runs once, right after.
    """
    if end <= start:
        yield Warn("kvm_handle_hva_range() of an empty range")
        return 0
    if lockless and on_lock is not None:
        yield Warn("on_lock() of a lockless walk would never run")
    result = 0
    locked = False
    yield SrcuReadLock(kvm.srcu)
    for memslots in kvm.memslots:
        slots: SlotSet = yield Load(memslots)
        for rng in gfn_ranges(slots, start, end, lockless=lockless, may_block=may_block):
            if not locked and not lockless:
                yield Acquire(kvm.mmu_lock)
                locked = True
                if on_lock is not None:
                    yield from on_lock(kvm)
                if handler is None:
                    break
            if handler is not None:
                result |= yield from handler(kvm, rng, fast_only)
        if locked and handler is None:
            break
    if flush_on_ret and result & YOUNG:
        yield from kvm_flush_remote_tlbs(kvm)
    if locked:
        yield Release(kvm.mmu_lock)
    yield SrcuReadUnlock(kvm.srcu)
    return result


# --- young ----------------------------------------------------------------------------------------------------------------


def kvm_age_gfn(kvm: Kvm, rng: GfnRange, fast_only: bool) -> Step[int]:
    """kvm_age_gfn(): what it does is the protocol's."""
    yield Count("kvm_age_gfn")
    return (yield from kvm.protocol.age_gfn(kvm, rng, clear=True, fast_only=fast_only))


def kvm_test_age_gfn(kvm: Kvm, rng: GfnRange, fast_only: bool) -> Step[int]:
    """kvm_test_age_gfn()."""
    yield Count("kvm_test_age_gfn")
    return (yield from kvm.protocol.age_gfn(kvm, rng, clear=False, fast_only=fast_only))


def _age_hva_range(
    kvm: Kvm, start: Hva, end: Hva, *, clear: bool, fast_only: bool, flush_on_ret: bool = False
) -> Step[int]:
    """kvm_age_hva_range(). In v2 and v3 kvm_mmu_notifier_test_clear_young(): once without mmu_lock, where KVM's MMUs may allow
    it, and under it if that told nothing."""
    handler = kvm_age_gfn if clear else kvm_test_age_gfn
    if kvm.protocol.lockless_first and kvm.config.likely_fast:
        result = yield from kvm_handle_hva_range(kvm, start, end, handler, lockless=True)
        if not result & UNRELIABLE:
            return result
    return (
        yield from kvm_handle_hva_range(
            kvm, start, end, handler, fast_only=fast_only, flush_on_ret=flush_on_ret, lockless=kvm.protocol.lockless
        )
    )


def kvm_mmu_notifier_clear_flush_young(sub: MmuNotifier, _mm: Mm, start: Hva, end: Hva, fast_only: bool) -> Step[int]:
    """kvm_mmu_notifier_clear_flush_young(): up to 6.12 flushes the TLBs if anything was young."""
    yield Count("kvm_mmu_notifier_clear_flush_young")
    kvm = _kvm_of(sub)
    flush = kvm.features.flush_on_young
    return (yield from _age_hva_range(kvm, start, end, clear=True, fast_only=fast_only, flush_on_ret=flush))


def kvm_mmu_notifier_clear_young(sub: MmuNotifier, _mm: Mm, start: Hva, end: Hva, fast_only: bool) -> Step[int]:
    """kvm_mmu_notifier_clear_young(): no flush."""
    yield Count("kvm_mmu_notifier_clear_young")
    return (yield from _age_hva_range(_kvm_of(sub), start, end, clear=True, fast_only=fast_only))


def kvm_mmu_notifier_test_young(sub: MmuNotifier, _mm: Mm, address: Hva, fast_only: bool) -> Step[int]:
    """kvm_mmu_notifier_test_young(): the one page at `address`."""
    yield Count("kvm_mmu_notifier_test_young")
    return (yield from _age_hva_range(_kvm_of(sub), address, Hva(address + 1), clear=False, fast_only=fast_only))


def kvm_mmu_notifier_test_clear_young_fast_only(
    sub: MmuNotifier, _mm: Mm, start: Hva, end: Hva, clear: bool
) -> Step[int]:
    """v5's operation: FAST_FAILED if any part could not be answered without waiting, else FAST_YOUNG or 0."""
    yield Count("kvm_mmu_notifier_test_clear_young_fast_only")
    result = yield from _age_hva_range(_kvm_of(sub), start, end, clear=clear, fast_only=True)
    return FAST_FAILED if result & FAST_FAILED else result & FAST_YOUNG


def kvm_mmu_notifier_young_bitmap(
    sub: MmuNotifier, _mm: Mm, start: Hva, end: Hva, clear: bool, wanted: int
) -> Step[int]:
    """kvm_mmu_notifier_test_clear_young() of v2 and v3 with a bitmap: never under mmu_lock. No bits where KVM cannot tell."""
    yield Count("kvm_mmu_notifier_clear_young" if clear else "kvm_mmu_notifier_test_young")
    kvm = _kvm_of(sub)
    if not kvm.config.likely_fast:
        return 0
    young = 0
    yield SrcuReadLock(kvm.srcu)
    for memslots in kvm.memslots:
        slots: SlotSet = yield Load(memslots)
        for rng in gfn_ranges(slots, start, end, lockless=True, may_block=False):
            yield Count("kvm_age_gfn" if clear else "kvm_test_age_gfn")
            if (yield from kvm_memslots_have_rmaps(kvm)):
                continue
            shift = (rng.slot.hva_of(rng.start) - start) >> PAGE_SHIFT
            found = yield from kvm_tdp_mmu_young_bitmap(kvm, rng, wanted >> shift, test_only=not clear)
            young |= found << shift
    yield SrcuReadUnlock(kvm.srcu)
    return young


# --- invalidation ---------------------------------------------------------------------------------------------------------


def kvm_unmap_gfn_range(kvm: Kvm, rng: GfnRange) -> Step[int]:
    """kvm_unmap_gfn_range(), mmu_lock held for write and an invalidation announced: is a TLB flush due?"""
    yield Count("kvm_unmap_gfn_range")
    flush = False
    if (yield from kvm_memslots_have_rmaps(kvm)):
        flush = yield from kvm_rmap_zap_gfn_range(kvm, rng, flush)
    if kvm.tdp_mmu_enabled:
        flush = yield from kvm_tdp_mmu_unmap_gfn_range(kvm, rng, flush)
    return int(flush)


def kvm_mmu_unmap_gfn_range(kvm: Kvm, rng: GfnRange, _fast_only: bool = False) -> Step[int]:
    """kvm_mmu_unmap_gfn_range(): announce the frames, then zap them."""
    yield from kvm_mmu_invalidate_range_add(kvm, rng.start, rng.end)
    return (yield from kvm_unmap_gfn_range(kvm, rng))


def kvm_mmu_invalidate_begin(kvm: Kvm) -> Step[None]:
    """kvm_mmu_invalidate_begin() (kvm_mmu_invalidate_start in 7.3), under mmu_lock: from here on faults must try again."""
    running: int = yield Load(kvm.mmu_invalidate_in_progress)
    yield Store(kvm.mmu_invalidate_in_progress, running + 1)
    if not running:
        yield Store(kvm.mmu_invalidate_range_start, -1)
        yield Store(kvm.mmu_invalidate_range_end, -1)


def kvm_mmu_invalidate_range_add(kvm: Kvm, start: int, end: int) -> Step[None]:
    """kvm_mmu_invalidate_range_add(): the range grows to cover all invalidations that are under way."""
    first: int = yield Load(kvm.mmu_invalidate_range_start)
    last: int = yield Load(kvm.mmu_invalidate_range_end)
    yield Store(kvm.mmu_invalidate_range_start, start if first < 0 else min(first, start))
    yield Store(kvm.mmu_invalidate_range_end, end if first < 0 else max(last, end))


def kvm_mmu_invalidate_end(kvm: Kvm) -> Step[None]:
    """kvm_mmu_invalidate_end(), under mmu_lock: the sequence count before the number of invalidations."""
    seq: int = yield Load(kvm.mmu_invalidate_seq)
    yield Store(kvm.mmu_invalidate_seq, seq + 1)
    running: int = yield Load(kvm.mmu_invalidate_in_progress)
    yield Store(kvm.mmu_invalidate_in_progress, running - 1)
    if running < 1:
        yield Warn("mmu_invalidate_in_progress fell below 0")


def kvm_mmu_notifier_invalidate_range_start(sub: MmuNotifier, rng: NotifierRange) -> Step[int]:
    """kvm_mmu_notifier_invalidate_range_start(): after it, no SPTE maps the range until range_end. Never fails."""
    yield Count("kvm_mmu_notifier_invalidate_range_start")
    kvm = _kvm_of(sub)
    yield Acquire(kvm.mn_invalidate_lock)
    count: int = yield Load(kvm.mn_active_invalidate_count)
    yield Store(kvm.mn_active_invalidate_count, count + 1)
    yield Release(kvm.mn_invalidate_lock)
    yield from kvm_handle_hva_range(
        kvm,
        rng.start,
        rng.end,
        kvm_mmu_unmap_gfn_range,
        flush_on_ret=True,
        may_block=rng.blockable,
        on_lock=kvm_mmu_invalidate_begin,
    )
    return 0


def kvm_mmu_notifier_invalidate_range_end(sub: MmuNotifier, rng: NotifierRange) -> Step[None]:
    """kvm_mmu_notifier_invalidate_range_end()."""
    kvm = _kvm_of(sub)
    yield from kvm_handle_hva_range(
        kvm, rng.start, rng.end, None, may_block=rng.blockable, on_lock=kvm_mmu_invalidate_end
    )
    yield Acquire(kvm.mn_invalidate_lock)
    count: int = yield Load(kvm.mn_active_invalidate_count)
    if not count:
        yield Warn("invalidate_range_end() without a start")
    yield Store(kvm.mn_active_invalidate_count, count - 1)
    yield Release(kvm.mn_invalidate_lock)


def kvm_mmu_notifier_release(sub: MmuNotifier, _mm: Mm) -> Step[None]:
    """kvm_mmu_notifier_release(): kvm_flush_shadow_all() zaps everything, shadow pages first, then all TDP roots."""
    kvm = _kvm_of(sub)
    yield SrcuReadLock(kvm.srcu)
    yield Acquire(kvm.mmu_lock)
    yield from kvm_mmu_zap_all_shadow_pages(kvm)
    if kvm.tdp_mmu_enabled:
        yield from kvm_tdp_mmu_zap_all(kvm)
    yield Release(kvm.mmu_lock)
    yield SrcuReadUnlock(kvm.srcu)


def _kvm_of(sub: MmuNotifier) -> Kvm:
    """mmu_notifier_to_kvm()."""
    return cast("Kvm", sub.owner)


def kvm_mmu_notifier_ops(*, fast_op: bool = False, bitmap: bool = False) -> MmuNotifierOps:
    """kvm_mmu_notifier_ops; with `fast_op`, v5's test_clear_young_fast_only as well; with `bitmap`, v3's bitmaps."""
    return MmuNotifierOps(
        name="kvm",
        release=kvm_mmu_notifier_release,
        clear_flush_young=kvm_mmu_notifier_clear_flush_young,
        clear_young=kvm_mmu_notifier_clear_young,
        test_young=kvm_mmu_notifier_test_young,
        test_clear_young_fast_only=kvm_mmu_notifier_test_clear_young_fast_only if fast_op else None,
        young_bitmap=kvm_mmu_notifier_young_bitmap if bitmap else None,
        invalidate_range_start=kvm_mmu_notifier_invalidate_range_start,
        invalidate_range_end=kvm_mmu_notifier_invalidate_range_end,
    )
