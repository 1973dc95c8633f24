"""mmu notifiers: how the core mm tells secondary MMUs about its page tables, and asks them for accessed bits.

mm/mmu_notifier.c and include/linux/mmu_notifier.h, 6.12, with the arguments that were posted and never merged:
`fast_only` and `has_fast_aging` (v6, 20240724011037.3671523-1-jthoughton@google.com), `fast_only` without that flag
(Houghton, June 2024), and the operation `test_clear_young_fast_only` (v5, 20240611002145.2078921-1-jthoughton@google.com).
Bitmaps of young pages: v2 and v3.
Interval notifiers (mmu_interval_*) have no young operations and are not modelled.
"""

from __future__ import annotations

from typing import Final

from agewalk.core.cells import Cell
from agewalk.core.effects import (
    ACQUIRE,
    RELEASE,
    Acquire,
    CallSrcu,
    Count,
    IndirectCall,
    Load,
    Release,
    SrcuReadLock,
    SrcuReadUnlock,
    Step,
    Store,
    SynchronizeSrcu,
    Warn,
)
from agewalk.core.units import Hva
from agewalk.model.mm.mm_types import Mm, MmuNotifier, NotifierRange, NotifierSubscriptions, Young

EAGAIN: Final = -11
FAST_YOUNG: Final = 1 << 0  # v5: "succeeded, reports young"
FAST_FAILED: Final = 1 << 1  # v5: "could not do an accurate fast-only test or clear"


# --- young --------------------------------------------------------------------------------------------------------------


def mm_has_notifiers(mm: Mm) -> Step[bool]:
    """True from the first register on, for the life of the mm: unregister frees no subscriptions."""
    return (yield Load(mm.notifier_subscriptions)) is not None


def mm_has_fast_young_notifiers(mm: Mm) -> Step[bool]:
    """v6/v7: does any subscription opt in to fast aging?"""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        return False
    found = False
    yield SrcuReadLock(subs.srcu)
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None and not found:
        found = sub.has_fast_aging
        sub = yield Load(sub.next, ACQUIRE)
    yield SrcuReadUnlock(subs.srcu)
    return found


def _is_asked(sub: MmuNotifier, *, fast_only: bool, opt_in: bool) -> bool:
    """Is a subscriber that has the operation called? With opt_in, a fast-only question passes over those that did not opt in:
    they are slow by default. Without, it goes to all, and each decides."""
    return not fast_only or not opt_in or sub.has_fast_aging


def _ask(mm: Mm, start: Hva, end: Hva, fast_only: bool, op: str, counted: str, *, opt_in: bool = True) -> Step[int]:
    """Every subscriber that has the operation is asked; answers are or-ed, and an early "young" does not end the round."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        return 0
    yield Count(counted)
    young = 0
    yield SrcuReadLock(subs.srcu)
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None:
        ask: Young | None = getattr(sub.ops, op)
        if ask is not None and _is_asked(sub, fast_only=fast_only, opt_in=opt_in):
            yield IndirectCall(f"{sub.ops.name}.{op}")
            young |= yield from ask(sub, mm, start, end, fast_only)
        elif ask is not None:
            yield Count("indirect_calls_saved")
        sub = yield Load(sub.next, ACQUIRE)
    yield SrcuReadUnlock(subs.srcu)
    return young


def clear_young(mm: Mm, start: Hva, end: Hva, *, fast_only: bool = False, opt_in: bool = True) -> Step[int]:
    """mmu_notifier_clear_young(): test and clear [start, end) in every secondary MMU, no TLB flush."""
    return _ask(mm, start, end, fast_only, "clear_young", "__mmu_notifier_clear_young", opt_in=opt_in)


def clear_flush_young(mm: Mm, start: Hva, end: Hva) -> Step[int]:
    """mmu_notifier_clear_flush_young(): the same, and the subscriber flushes its TLBs if it found anything."""
    return _ask(mm, start, end, False, "clear_flush_young", "__mmu_notifier_clear_flush_young")


def test_young(mm: Mm, address: Hva, *, fast_only: bool = False, opt_in: bool = True) -> Step[int]:
    """mmu_notifier_test_young(): one address; stops at the first subscriber that says young."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        return 0
    yield Count("__mmu_notifier_test_young")
    young = 0
    yield SrcuReadLock(subs.srcu)
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None and not young:
        if sub.ops.test_young is not None and _is_asked(sub, fast_only=fast_only, opt_in=opt_in):
            yield IndirectCall(f"{sub.ops.name}.test_young")
            young = yield from sub.ops.test_young(sub, mm, address, fast_only)
        elif sub.ops.test_young is not None:
            yield Count("indirect_calls_saved")
        sub = yield Load(sub.next, ACQUIRE)
    yield SrcuReadUnlock(subs.srcu)
    return young


def test_clear_young_fast_only(mm: Mm, start: Hva, end: Hva, *, clear: bool) -> Step[int]:
    """v5's mmu_notifier_test_clear_young_fast_only(), as posted: each subscriber's answer replaces the one before."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        return 0
    yield Count("__mmu_notifier_test_clear_young_fast_only")
    answer = 0
    yield SrcuReadLock(subs.srcu)
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None:
        ask = sub.ops.test_clear_young_fast_only
        if ask is not None:
            yield IndirectCall(f"{sub.ops.name}.test_clear_young_fast_only")
            answer = yield from ask(sub, mm, start, end, clear)
            if answer & FAST_FAILED or (answer & FAST_YOUNG and not clear):
                break
        sub = yield Load(sub.next, ACQUIRE)
    yield SrcuReadUnlock(subs.srcu)
    return answer


def test_young_bitmap(mm: Mm, start: Hva, end: Hva, *, every: bool) -> Step[int]:
    """mmu_notifier_test_young_bitmap() (v3): which pages of [start, end) are young; bit i is page i from `start` on. every: in v2
    (`mmu_notifier_test_clear_young()`) the round ends at the first subscriber that has a young page."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        return 0
    yield Count("__mmu_notifier_test_young")
    young = 0
    yield SrcuReadLock(subs.srcu)
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None and (every or not young):
        if sub.ops.young_bitmap is not None:
            yield IndirectCall(f"{sub.ops.name}.test_young")
            young |= yield from sub.ops.young_bitmap(sub, mm, start, end, False, 0)
        sub = yield Load(sub.next, ACQUIRE)
    yield SrcuReadUnlock(subs.srcu)
    return young


def clear_young_bitmap(mm: Mm, start: Hva, end: Hva, bits: int) -> Step[None]:
    """mmu_notifier_clear_young_bitmap() (v3): clear the pages of [start, end) that `bits` names."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        return
    yield Count("__mmu_notifier_clear_young")
    yield SrcuReadLock(subs.srcu)
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None:
        if sub.ops.young_bitmap is not None:
            yield IndirectCall(f"{sub.ops.name}.clear_young")
            yield from sub.ops.young_bitmap(sub, mm, start, end, True, bits)
        sub = yield Load(sub.next, ACQUIRE)
    yield SrcuReadUnlock(subs.srcu)


# --- invalidation ---------------------------------------------------------------------------------------------------------


def invalidate_range_start(rng: NotifierRange) -> Step[int]:
    """mmu_notifier_invalidate_range_start(), or _start_nonblock() if the range is not blockable: 0 or -EAGAIN.

    After -EAGAIN the ends of all who were asked have been called, and the caller must not call end.
    """
    subs: NotifierSubscriptions | None = yield Load(rng.mm.notifier_subscriptions)
    if subs is None:
        return 0
    result = 0
    yield SrcuReadLock(subs.srcu)
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None:
        if sub.ops.invalidate_range_start is not None:
            yield IndirectCall(f"{sub.ops.name}.invalidate_range_start")
            answer = yield from sub.ops.invalidate_range_start(sub, rng)
            if answer:
                if rng.blockable or answer != EAGAIN:
                    yield Warn(f"{sub.ops.name}.invalidate_range_start failed in a blockable range")
                if sub.ops.invalidate_range_end is not None:
                    yield Warn(f"{sub.ops.name} can fail start, so it must have no end")
                result = answer
        sub = yield Load(sub.next, ACQUIRE)
    if result:
        yield from _call_ends(subs, rng)
    yield SrcuReadUnlock(subs.srcu)
    return result


def invalidate_range_end(rng: NotifierRange) -> Step[None]:
    """mmu_notifier_invalidate_range_end()."""
    subs: NotifierSubscriptions | None = yield Load(rng.mm.notifier_subscriptions)
    if subs is None:
        return
    yield SrcuReadLock(subs.srcu)
    yield from _call_ends(subs, rng)
    yield SrcuReadUnlock(subs.srcu)


def _call_ends(subs: NotifierSubscriptions, rng: NotifierRange) -> Step[None]:
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None:
        if sub.ops.invalidate_range_end is not None:
            yield IndirectCall(f"{sub.ops.name}.invalidate_range_end")
            yield from sub.ops.invalidate_range_end(sub, rng)
        sub = yield Load(sub.next, ACQUIRE)


# --- coming and going -----------------------------------------------------------------------------------------------------


def _add_head(subs: NotifierSubscriptions, sub: MmuNotifier) -> Step[None]:
    """hlist_add_head_rcu(): newest first."""
    first: MmuNotifier | None = yield Load(subs.first)
    yield Store(sub.next, first)
    yield Store(sub.pprev, subs.first)
    yield Store(subs.first, sub, RELEASE)
    if first is not None:
        yield Store(first.pprev, sub.next)


def _del_init(sub: MmuNotifier) -> Step[None]:
    """hlist_del_init_rcu(): `next` stays, so that a walker standing on `sub` goes on."""
    pprev: Cell | None = yield Load(sub.pprev)
    if pprev is None:
        return
    after: MmuNotifier | None = yield Load(sub.next)
    yield Store(pprev, after)
    if after is not None:
        yield Store(after.pprev, pprev)
    yield Store(sub.pprev, None)


def register(mm: Mm, sub: MmuNotifier) -> Step[None]:
    """mmu_notifier_register()."""
    yield Acquire(mm.mmap_lock)
    yield from register_locked(mm, sub)
    yield Release(mm.mmap_lock)


def register_locked(mm: Mm, sub: MmuNotifier) -> Step[None]:
    """__mmu_notifier_register(), mmap_lock held for write. The first one allocates the subscriptions."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        subs = mm.spare_subscriptions
        yield Store(mm.notifier_subscriptions, subs, RELEASE)
    yield Store(sub.users, 1)
    yield Acquire(subs.lock)
    yield from _add_head(subs, sub)
    yield Release(subs.lock)


def unregister(mm: Mm, sub: MmuNotifier) -> Step[None]:
    """mmu_notifier_unregister(): after it returns no callback of `sub` runs."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        yield Warn("mmu_notifier_unregister() without a register")
        return
    if (yield Load(sub.pprev)) is not None:
        yield SrcuReadLock(subs.srcu)
        if sub.ops.release is not None:
            yield IndirectCall(f"{sub.ops.name}.release")
            yield from sub.ops.release(sub, mm)
        yield SrcuReadUnlock(subs.srcu)
        yield Acquire(subs.lock)
        yield from _del_init(sub)
        yield Release(subs.lock)
    yield SynchronizeSrcu(subs.srcu)


def release(mm: Mm) -> Step[None]:
    """__mmu_notifier_release(), from exit_mmap(): calls release() of every subscriber, then unlinks them all."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        return
    yield SrcuReadLock(subs.srcu)
    sub: MmuNotifier | None = yield Load(subs.first, ACQUIRE)
    while sub is not None:
        if sub.ops.release is not None:
            yield IndirectCall(f"{sub.ops.name}.release")
            yield from sub.ops.release(sub, mm)
        sub = yield Load(sub.next, ACQUIRE)
    yield Acquire(subs.lock)
    sub = yield Load(subs.first)
    while sub is not None:
        yield from _del_init(sub)
        sub = yield Load(subs.first)
    yield Release(subs.lock)
    yield SrcuReadUnlock(subs.srcu)
    yield SynchronizeSrcu(subs.srcu)


def get(mm: Mm, spare: MmuNotifier) -> Step[MmuNotifier]:
    """mmu_notifier_get(): the subscription that these ops have on this mm, with one user more, or `spare`, registered."""
    yield Acquire(mm.mmap_lock)
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    found: MmuNotifier | None = None
    if subs is not None:
        yield Acquire(subs.lock)
        sub: MmuNotifier | None = yield Load(subs.first)
        while sub is not None and found is None:
            if sub.ops is spare.ops:
                found = sub
                users = yield Load(sub.users)
                yield Store(sub.users, users + 1)
            sub = yield Load(sub.next)
        yield Release(subs.lock)
    if found is None:
        yield from register_locked(mm, spare)
        found = spare
    yield Release(mm.mmap_lock)
    return found


def put(mm: Mm, sub: MmuNotifier) -> Step[None]:
    """mmu_notifier_put(): the last user takes it off the list; it is freed after a grace period, release is not called."""
    subs: NotifierSubscriptions | None = yield Load(mm.notifier_subscriptions)
    if subs is None:
        yield Warn("mmu_notifier_put() without a get")
        return
    yield Acquire(subs.lock)
    users = (yield Load(sub.users)) - 1
    yield Store(sub.users, users)
    if not users:
        yield from _del_init(sub)
    yield Release(subs.lock)
    if not users:
        yield CallSrcu(subs.srcu, sub)
