"""Faults in KVM's MMUs: SPTEs, tables, chains, sequence counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.checker.faults.base import Fault, drop

from agewalk.checker.system import (
    BALANCED,
    NO_DEADLOCK,
    NO_DOUBLE_FREE,
    NO_SLEEP,
    NO_USE_AFTER_FREE,
    NO_WARNING,
    NO_WILD,
    TERMINATES,
    System,
)
from agewalk.checker.systems import monitors as m
from agewalk.checker.systems.aging import DIRTY_KEPT, WRITABLE
from agewalk.checker.systems.nested import COUNT_SOUND
from agewalk.checker.systems.zap import CURRENT, GONE
from agewalk.core.effects import (
    Acquire,
    CallRcu,
    CompareExchange,
    Effect,
    FetchAnd,
    Free,
    Load,
    PreemptDisable,
    PreemptEnable,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    SrcuReadLock,
    SrcuReadUnlock,
    Store,
    SynchronizeSrcu,
    Warn,
)
from agewalk.model.kvm.kvm_host import MmuPage
from agewalk.model.kvm.mmu import page_fault, rmap, shadow_mmu, tdp_mmu
from agewalk.model.kvm.mmu.spte import WRITABLE as W
from agewalk.model.kvm.mmu.spte import is_accessed_spte, is_shadow_present_pte, mark_spte_for_access_track

# --- SPTEs: atomicity ---------------------------------------------------------------------------------------------------


def plain_age(kvm: Any, rng: Any, sptep: Any, old: int, level: int) -> Any:
    yield Store(sptep, mark_spte_for_access_track(kvm.format, old))


def retrying_age(kvm: Any, rng: Any, sptep: Any, old: int, level: int) -> Any:
    """v6 as first written: again and again until it is old."""
    while True:
        yield CompareExchange(sptep, old, mark_spte_for_access_track(kvm.format, old))
        old = yield Load(sptep)
        if not is_accessed_spte(kvm.format, old):
            return


def tracked_twice(kvm: Any, rng: Any, sptep: Any, old: int, level: int) -> Any:
    new = mark_spte_for_access_track(kvm.format, old)
    yield CompareExchange(sptep, old, new | (kvm.format.mmu_writable ^ kvm.format.mmu_writable))
    again = yield Load(sptep)
    yield Store(sptep, (again | W) & ~kvm.format.mmu_writable)


def writes_plainly(kvm: Any, sptep: Any, old: int, new: int, level: int) -> Any:
    yield Store(sptep, new)
    return old


def no_dirty_news(kvm: Any, spte: int) -> Any:
    return
    yield


def forgets_to_answer(kvm: Any, rng: Any, *, test_only: bool, bit_lock: bool, ad_only: bool = False) -> Any:
    yield from rmap.kvm_rmap_age_gfn_range(kvm, rng, test_only=test_only, bit_lock=bit_lock, ad_only=ad_only)
    return False


def test_that_clears(kvm: Any, rng: Any) -> Any:
    return (yield from tdp_mmu.kvm_tdp_mmu_age_gfn_range(kvm, rng))


def sleeps(kvm: Any, rng: Any) -> Any:
    yield RcuReadLock()
    yield Acquire(kvm.slots_lock)
    yield Release(kvm.slots_lock)
    yield RcuReadUnlock()
    return False


def frees(effect: Effect) -> Any:
    return Free(effect.memory) if isinstance(effect, CallRcu) else effect


# --- chains -------------------------------------------------------------------------------------------------------------


def no_lock(head: Any) -> Any:
    return (yield Load(head)) & ~rmap.KVM_RMAP_LOCKED


def no_unlock(head: Any, value: int) -> Any:
    return
    yield


def remover_without_lock(kvm: Any, head: Any) -> Any:
    return (yield Load(head)) & ~rmap.KVM_RMAP_LOCKED


_age_chain = rmap._age_chain


def unlocks_first(kvm: Any, rng: Any, *, test_only: bool, bit_lock: bool, ad_only: bool = False) -> Any:
    head = rng.slot.rmap(1, rng.start)
    value = yield from rmap.kvm_rmap_lock_readonly(head)
    yield from rmap.kvm_rmap_unlock_readonly(head, value)
    return (yield from _age_chain(kvm, value, test_only=test_only, bit_lock=bit_lock, ad_only=ad_only))


def takes_mmu_lock_inside(kvm: Any, rng: Any, *, test_only: bool, bit_lock: bool, ad_only: bool = False) -> Any:
    head = rng.slot.rmap(1, rng.start)
    value = yield from rmap.kvm_rmap_lock_readonly(head)
    yield Acquire(kvm.mmu_lock)
    young = yield from _age_chain(kvm, value, test_only=test_only, bit_lock=bit_lock, ad_only=ad_only)
    yield Release(kvm.mmu_lock)
    yield from rmap.kvm_rmap_unlock_readonly(head, value)
    return young


def caches_the_chain(kvm: Any, rng: Any, *, test_only: bool, bit_lock: bool, ad_only: bool = False) -> Any:
    """ABA: the descriptor is read before the head is locked."""
    head = rng.slot.rmap(1, rng.start)
    early = (yield Load(head)) & ~rmap.KVM_RMAP_LOCKED
    value = yield from rmap.kvm_rmap_lock_readonly(head)
    young = yield from _age_chain(kvm, early, test_only=test_only, bit_lock=bit_lock, ad_only=ad_only)
    yield from rmap.kvm_rmap_unlock_readonly(head, value)
    return young


def bug_on_nonpresent(kvm: Any, address: int, test_only: bool, bit_lock: bool, ad_only: bool) -> Any:
    """August 2024: BUG_ON(!is_shadow_present_pte()) in a walk that no longer holds mmu_lock."""
    sptep = kvm.sptep(address)
    old = yield Load(sptep)
    if not is_shadow_present_pte(old):
        yield Warn("BUG_ON(!is_shadow_present_pte())")
    if not is_accessed_spte(kvm.format, old):
        return False
    yield FetchAnd(sptep, ~kvm.format.accessed)
    return True


_remove_entry = rmap._pte_list_desc_remove_entry


def frees_desc_twice(kvm: Any, first: int, desc: Any, i: int) -> Any:
    value = yield from _remove_entry(kvm, first, desc, i)
    if not value:
        yield Free(desc)
    return value


def page_freed_first(kvm: Any, page: MmuPage) -> Any:
    """The shadow page goes before its SPTEs have left their chains."""
    yield CallRcu(page)
    yield from shadow_mmu._prepare_zap_page(kvm, page)


def plain_unlock(effect: Effect) -> Any:
    """The unlock as it was before v9: WRITE_ONCE(), over which older stores may sink."""
    if isinstance(effect, Store) and str(effect.cell.field).startswith("rmap"):
        return Store(effect.cell, effect.value)
    return effect


_prepare = shadow_mmu._prepare_zap_page


def counts_twice(kvm: Any, page: MmuPage) -> Any:
    if page.has_gptes:
        count = yield Load(kvm.indirect_shadow_pages)
        yield Store(kvm.indirect_shadow_pages, count - 1)
    return (yield from _prepare(kvm, page))


def on_one_cpu(system: System) -> System:
    """All threads on one CPU: who may not be preempted keeps it."""
    return replace(system, threads=tuple(replace(t, cpu=0) for t in system.threads))


# --- faults -------------------------------------------------------------------------------------------------------------


def never_stale(kvm: Any, root: Any, seq: int, gfn: int) -> Any:
    return bool((yield Load(root.invalid)))


def only_seq(kvm: Any, seq: int, gfn: int) -> Any:
    return bool((yield Load(kvm.mmu_invalidate_seq)) != seq)


def only_in_progress(kvm: Any, seq: int, gfn: int) -> Any:
    return bool((yield Load(kvm.mmu_invalidate_in_progress)))


def no_bracket(kvm: Any) -> Any:
    return
    yield


RMAP, TDP, FAULT = "kvm.mmu.rmap.", "kvm.mmu.tdp_mmu.", "kvm.mmu.page_fault."
END = "age-vs-nested-end/linux-6.18/nested"

FAULTS = (
    Fault(
        "memslot freed without synchronize_srcu()",
        "age-vs-memslot/linux-6.18/legacy",
        NO_USE_AFTER_FREE,
        changes=(("delete", drop(SynchronizeSrcu)),),
    ),
    Fault(
        "walk of the slots without SRCU",
        "age-vs-memslot/linux-6.18/nested",
        NO_USE_AFTER_FREE,
        changes=(("ager", drop(SrcuReadLock, SrcuReadUnlock)),),
    ),
    Fault("plain store for LOCK AND", "age-vs-guest/linux-6.18/tdp", DIRTY_KEPT, ((TDP + "_age_spte", plain_age),)),
    Fault(
        "plain store for cmpxchg brings a zapped SPTE back",
        "invalidate-vs-fault/linux-6.18/tdp",
        GONE,
        ((TDP + "_age_spte", plain_age),),
    ),
    Fault(
        "a write under mmu_lock that minds no volatile bits",
        "age-vs-fault/linux-6.13/tdp",
        DIRTY_KEPT,
        ((TDP + "_age_spte", plain_age),),
    ),
    Fault(
        "cmpxchg is tried again until it works",
        "age-vs-refault/linux-6.18/tdp",
        TERMINATES,
        ((TDP + "_age_spte", retrying_age),),
    ),
    Fault(
        "W without MMU_WRITABLE", "age-vs-fault/linux-6.18/tdp-noad", WRITABLE, ((TDP + "_age_spte", tracked_twice),)
    ),
    Fault(
        "access tracking tells nobody of a write",
        "age-vs-fault/linux-6.9/nested-noad",
        DIRTY_KEPT,
        ((RMAP + "kvm_set_pfn_dirty", no_dirty_news),),
    ),
    Fault(
        "the shadow MMU's answer is dropped",
        "age-vs-guest/linux-6.18/nested",
        m.COVERED,
        (("protocols.base.kvm_rmap_age_gfn_range", forgets_to_answer),),
    ),
    Fault(
        "a test that clears",
        "questions-vs-guest/linux-6.18/tdp",
        m.PURE,
        (("protocols.base.kvm_tdp_mmu_test_age_gfn", test_that_clears),),
    ),
    Fault(
        "a test that sees nothing",
        "questions-vs-guest/linux-6.18/tdp",
        m.TEST_SEES,
        (("protocols.base.kvm_tdp_mmu_test_age_gfn", lambda kvm, rng: no_lock(kvm.indirect_shadow_pages)),),
    ),
    Fault(
        "a mutex inside RCU",
        "age-vs-guest/linux-6.18/tdp",
        NO_SLEEP,
        (("protocols.base.kvm_tdp_mmu_age_gfn_range", sleeps),),
    ),
    Fault(
        "tables freed without a grace period",
        "age-vs-zap/linux-6.18/tdp",
        NO_USE_AFTER_FREE,
        changes=(("zapper", frees),),
    ),
    Fault(
        "walker without rcu_read_lock()",
        "age-vs-zap/linux-6.18/tdp",
        NO_USE_AFTER_FREE,
        changes=(("ager", drop(RcuReadLock, RcuReadUnlock)),),
    ),
    Fault(
        "shadow pages freed under a guest's walk",
        "age-vs-nested-storm/linux-6.18/nested",
        NO_USE_AFTER_FREE,
        changes=(("stop", frees),),
    ),
    Fault(
        "walker without the rmap lock",
        END,
        NO_WILD,
        ((RMAP + "kvm_rmap_lock_readonly", no_lock), (RMAP + "kvm_rmap_unlock_readonly", no_unlock)),
    ),
    Fault("remover without the rmap lock", END, NO_WILD, ((RMAP + "kvm_rmap_lock", remover_without_lock),)),
    Fault("unlock before the last use", END, NO_WILD, (("protocols.base.kvm_rmap_age_gfn_range", unlocks_first),)),
    Fault(
        "chain read before it is locked",
        END,
        NO_USE_AFTER_FREE,
        (("protocols.base.kvm_rmap_age_gfn_range", caches_the_chain),),
    ),
    Fault(
        "mmu_lock taken under the rmap lock",
        END,
        NO_DEADLOCK,
        (("protocols.base.kvm_rmap_age_gfn_range", takes_mmu_lock_inside),),
    ),
    Fault(
        "rmap lock never given back",
        "look-around-decision/linux-6.18/nested",
        BALANCED,
        ((RMAP + "kvm_rmap_unlock_readonly", no_unlock),),
    ),
    Fault(
        "walker preempted with the rmap lock held",
        END,
        NO_DEADLOCK,
        changes=(("ager", drop(PreemptDisable, PreemptEnable)),),
        adjust=on_one_cpu,
    ),
    Fault("BUG_ON a non-present SPTE in a chain", END, NO_WARNING, ((RMAP + "_age_one", bug_on_nonpresent),)),
    Fault("descriptor freed twice", END, NO_DOUBLE_FREE, ((RMAP + "_pte_list_desc_remove_entry", frees_desc_twice),)),
    Fault(
        "shadow page freed before it is unlinked",
        "age-vs-zap/linux-6.18/nested",
        NO_USE_AFTER_FREE,
        (("kvm.mmu.shadow_mmu.zap_shadow_page", page_freed_first),),
    ),
    Fault(
        "indirect_shadow_pages counted down twice",
        "age-vs-nested-count/linux-6.18/nested",
        COUNT_SOUND,
        (("kvm.mmu.shadow_mmu._prepare_zap_page", counts_twice),),
    ),
    Fault(
        "no stale check after the lock",
        "invalidate-vs-fault/linux-6.18/tdp",
        GONE,
        ((FAULT + "_is_page_fault_stale", never_stale),),
    ),
    Fault(
        "sequence count alone",
        "invalidate-vs-fault/linux-6.18/tdp",
        GONE,
        ((FAULT + "mmu_invalidate_retry_gfn", only_seq),),
    ),
    Fault(
        "in_progress alone",
        "invalidate-vs-fault/linux-6.18/tdp",
        CURRENT,
        ((FAULT + "mmu_invalidate_retry_gfn", only_in_progress),),
    ),
    Fault(
        "invalidation not announced",
        "invalidate-vs-fault/linux-6.18/nested",
        NO_WARNING,
        (("kvm.notifier.kvm_mmu_invalidate_begin", no_bracket),),
    ),
)
del page_fault
