"""Faults in the notifier list, in protocols, and in MGLRU."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.checker.faults.base import Fault, drop

from agewalk.checker.catalog import built
from agewalk.checker.system import NO_CORRUPTION, NO_USE_AFTER_FREE, NO_WARNING, TERMINATES, System
from agewalk.checker.systems import mglru as g
from agewalk.checker.systems import monitors as m
from agewalk.checker.systems.questions import LOOKS
from agewalk.core.effects import (
    ACQUIRE,
    Acquire,
    Effect,
    FetchAdd,
    FetchAnd,
    Load,
    Release,
    SrcuReadLock,
    SrcuReadUnlock,
    Step,
    Store,
    SynchronizeSrcu,
)
from agewalk.model.kvm.mmu.rmap import kvm_rmap_age_gfn_range
from agewalk.model.mglru.aging import promote
from agewalk.model.mglru.eviction import isolate
from agewalk.model.mm.folio import PG_LRU, with_gen
from agewalk.model.protocols.base import AgingProtocol, Verdict
from agewalk.model.protocols.christopherson import WAS_FAST, Christopherson
from agewalk.model.protocols.linux_6_15 import Linux615
from agewalk.model.protocols.v7 import V7

# --- protocols ------------------------------------------------------------------------------------------------------------


class SlowFast(V7):
    """fast_only takes mmu_lock after all."""

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        yield Acquire(kvm.mmu_lock)
        young = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        yield Release(kvm.mmu_lock)
        return int(young)


class AlwaysFast(Christopherson):
    """WAS_FAST whoever was young."""

    def opts_in(self, config: Any) -> bool:
        return True

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        slow = yield from self.age_shadow_mmu(kvm, rng, clear=clear, locked=not fast_only)
        fast = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        return 1 | WAS_FAST if slow or fast else 0


class Retries(Linux615):
    """A cmpxchg that fails is tried again."""

    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": True, "tdp_age_retries": True}


class CountsTwice(Linux615):
    """indirect_shadow_pages read twice: once to decide on the lock, once to decide on the walk."""

    name = "counts-twice"

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        young = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        locked = yield from self.may_have_shadow_sptes(kvm)
        if locked:
            yield Acquire(kvm.mmu_lock)
        if (yield from self.may_have_shadow_sptes(kvm)):
            young |= yield from kvm_rmap_age_gfn_range(kvm, rng, test_only=not clear, bit_lock=False)
        if locked:
            yield Release(kvm.mmu_lock)
        return int(young)


class Forgetful(Linux615):
    """The primary bit is cleared and not reported."""

    def target(self, mm: Any, entry: Any, hva: Any, size: int = 4096) -> Step[Verdict]:
        verdict = yield from super().target(mm, entry, hva, size)
        return Verdict(referenced=verdict.referenced and False, look_around=False)


def of(system: str, protocol: type[AgingProtocol], mmu: str) -> Any:
    """A build function for a shipped system with a protocol of ours."""

    def build() -> System:
        return built(system, protocol(), mmu)

    return build


# --- notifiers ------------------------------------------------------------------------------------------------------------


def asks_everybody(
    mm: Any, start: Any, end: Any, fast_only: bool, op: str, counted: str, *, opt_in: bool = True
) -> Any:
    subs = yield Load(mm.notifier_subscriptions)
    young = 0
    yield SrcuReadLock(subs.srcu)
    sub = yield Load(subs.first, ACQUIRE)
    while sub is not None:
        ask = getattr(sub.ops, op)
        if ask is not None:
            young |= yield from ask(sub, mm, start, end, fast_only)
        sub = yield Load(sub.next, ACQUIRE)
    yield SrcuReadUnlock(subs.srcu)
    return young


# --- MGLRU ----------------------------------------------------------------------------------------------------------------


def inc_max_seq_unchecked(lruvec: Any, seq: int, swappiness: int) -> Any:
    """The round is not looked at again under the lock."""
    yield Acquire(lruvec.lru_lock)
    now = yield Load(lruvec.max_seq)
    yield Store(lruvec.max_seq, now + 1)
    for t in (0, 1):
        yield Store(lruvec.min_seq[t], (yield Load(lruvec.min_seq[t])) + 1)
    yield Release(lruvec.lru_lock)
    return True


def plain_update_gen(lruvec: Any, folio: Any, gen: int, *, executable: bool = False) -> Any:
    old = yield Load(folio.flags)
    yield Store(folio.flags, with_gen(old, gen))
    return ((old >> 27) & 7) - 1


def keeps_lru_flag(effect: Effect) -> Any:
    """Isolation does not claim PG_lru."""
    if isinstance(effect, FetchAnd) and effect.operand == ~PG_LRU:
        return FetchAnd(effect.cell, ~0)
    return effect


def unbooked(lruvec: Any, folio: Any, old_gen: int, new_gen: int) -> Any:
    if old_gen >= 0:
        yield FetchAdd(lruvec.nr_pages[old_gen][folio.type], -folio.pages)


def no_lru_lock(effect: Effect) -> Any:
    lru = isinstance(effect, (Acquire, Release)) and effect.lock.field == "lru_lock"
    return None if lru else effect


UPDATE = "update-gen-vs-isolation/linux-6.13"
del isolate, promote

FAULTS = (
    Fault("fast_only under mmu_lock", "", m.NO_LOCK, build=of("questions-vs-guest", SlowFast, "tdp")),
    Fault("a neighbour asked under mmu_lock", "", m.NO_LOCK, build=of("neighbours", SlowFast, "tdp")),
    Fault("WAS_FAST for a slow MMU", "", m.WAS_FAST_SOUND, build=of("questions-vs-guest", AlwaysFast, "legacy")),
    Fault("a retry without end", "", TERMINATES, build=of("agers-vs-refault", Retries, "tdp-noad")),
    Fault("counter read twice", "", NO_WARNING, build=of("age-vs-nested-count", CountsTwice, "nested")),
    Fault("eviction forgets what it cleared", "", m.COVERED, build=of("two-agers", Forgetful, "tdp")),
    Fault("look-around forgotten", "", LOOKS, build=of("look-around-decision", Forgetful, "tdp")),
    Fault(
        "unregister without synchronize_srcu()",
        "walk-vs-register/linux-6.18/tdp",
        NO_USE_AFTER_FREE,
        changes=(("driver", drop(SynchronizeSrcu)),),
    ),
    Fault(
        "walk of the list without SRCU",
        "walk-vs-register/linux-6.18/tdp",
        NO_USE_AFTER_FREE,
        changes=(("ager", drop(SrcuReadLock, SrcuReadUnlock)),),
    ),
    Fault(
        "asked though it did not opt in", "subscribers/v7/tdp", m.OPTED_IN, (("mm.mmu_notifier._ask", asks_everybody),)
    ),
    Fault(
        "max_seq counted without a second look",
        "max-seq-vs-walkers/linux-6.13",
        g.VALID,
        (("mglru.aging.inc_max_seq.inc_max_seq", inc_max_seq_unchecked),),
    ),
    Fault(
        "folio_update_gen() by a plain store",
        UPDATE,
        NO_CORRUPTION,
        (("mglru.aging.promote.folio_update_gen", plain_update_gen),),
    ),
    Fault("sizes booked without lru_lock", UPDATE, g.SUM, changes=(("walk", no_lru_lock),)),
    Fault("isolation without PG_lru", UPDATE, NO_CORRUPTION, changes=(("reclaim", keeps_lru_flag),)),
    Fault("a size is only ever taken away from", UPDATE, g.SUM, (("mglru.lists.lru_gen_update_size", unbooked),)),
)
