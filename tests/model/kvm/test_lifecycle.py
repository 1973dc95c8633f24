"""VMs, nested guests and memslots come and go; a state machine over all of it, with the answers known from a plain set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.model.kvm.helpers import BASE, World

from agewalk.core.effects import Step
from agewalk.core.errors import ModelError
from agewalk.core.units import PAGE_SHIFT, Gfn, Hva, Pages
from agewalk.model.kvm import kvm_main, notifier
from agewalk.model.kvm.config import LEGACY, TDP, KvmConfig
from agewalk.model.kvm.features import KERNELS
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import GuestTables
from agewalk.model.kvm.kvm_main import (
    kvm_create_vm,
    kvm_delete_memslot,
    kvm_destroy_vm,
    kvm_mmu_zap_all_fast,
    nested_guest_start,
    nested_guest_stop,
    new_kvm,
)
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.kvm.mmu import shadow_mmu
from agewalk.model.kvm.mmu.tdp_mmu import kvm_tdp_mmu_age_gfn_range
from agewalk.model.kvm.notifier import kvm_age_gfn
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import NotifierRange
from agewalk.model.protocols import base
from agewalk.model.protocols.registry import PROTOCOLS

PAGES = 12
SMALL = KvmConfig(levels=3, level_bits=2, ept=True)
CONFIGS = [SMALL, dataclasses.replace(SMALL, tdp_mmu=False), dataclasses.replace(SMALL, ad_bits=False)]


class Life(RuleBasedStateMachine):
    """Two nested guests, 12 pages. `by`: pages that each used since they were last cleared."""

    protocol_name = "linux-6.18"
    kernel = "6.18"

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None

    @precondition(lambda self: self.world is None)
    @rule(config=st.sampled_from(CONFIGS), cache=st.booleans())
    def boot(self, config: KvmConfig, cache: bool) -> None:
        config = dataclasses.replace(config, paging_structure_cache=cache)
        protocol = PROTOCOLS[self.protocol_name]()
        self.world = World(protocol, self.kernel, config, ((0, PAGES, 0, 0),), vcpus=2)
        self.nested = [GuestTables(f"l2.{i}", i + 1, guest_mode=True, span=16) for i in range(2)]
        self.by: dict[str, set[int]] = {"guest": set(), "l2.0": set(), "l2.1": set()}
        self.had_nested = False

    @property
    def used(self) -> set[int]:
        return set().union(*self.by.values())

    def forget(self, pages: set[int]) -> None:
        for used in self.by.values():
            used -= pages

    @property
    def w(self) -> World:
        assert self.world is not None
        return self.world

    @precondition(lambda self: self.world is not None)
    @rule(page=st.integers(0, PAGES - 1), write=st.booleans(), vcpu=st.integers(0, 1))
    def guest(self, page: int, write: bool, vcpu: int) -> None:
        self.w.run(guest_access(self.w.kvm.vcpus[vcpu], page, write=write))
        self.by["guest"].add(page)

    @precondition(lambda self: self.world is not None)
    @rule(page=st.integers(0, PAGES - 1), write=st.booleans(), who=st.integers(0, 1), alias=st.integers(0, 2))
    def nested_guest(self, page: int, write: bool, who: int, alias: int) -> None:
        self.w.run(guest_access(self.w.vcpu, page, write=write, nested=self.nested[who], alias=alias))
        self.by[self.nested[who].label].add(page)
        self.had_nested = True

    @precondition(lambda self: self.world is not None)
    @rule(who=st.integers(0, 1))
    def nested_stops(self, who: int) -> None:
        """Its accesses since the last question go with its tables: the kernel tolerates that."""
        self.w.run(nested_guest_stop(self.w.kvm, self.nested[who]))
        self.by[self.nested[who].label].clear()

    @precondition(lambda self: self.world is not None)
    @rule(page=st.integers(0, PAGES - 1))
    def clear(self, page: int) -> None:
        w = self.w
        young = w.run(mmu_notifier.clear_young(w.mm, w.hva(page), w.hva(page + 1))) & 1
        assert bool(young) is (page in self.used)
        self.forget({page})

    @precondition(lambda self: self.world is not None)
    @rule()
    def test(self) -> None:
        for page in [*range(PAGES), *range(PAGES)]:
            young = self.w.run(mmu_notifier.test_young(self.w.mm, self.w.hva(page))) & 1
            assert bool(young) is (page in self.used)

    @precondition(lambda self: self.world is not None)
    @rule(first=st.integers(0, PAGES - 1), n=st.integers(1, 4))
    def unmap(self, first: int, n: int) -> None:
        rng = NotifierRange(self.w.mm, self.w.hva(first), self.w.hva(min(first + n, PAGES)))
        self.w.run(mmu_notifier.invalidate_range_start(rng))
        self.w.run(mmu_notifier.invalidate_range_end(rng))
        self.forget(set(range(first, first + n)))

    @precondition(lambda self: self.world is not None)
    @rule()
    def fast_zap(self) -> None:
        self.w.run(kvm_mmu_zap_all_fast(self.w.kvm))
        self.forget(set(range(PAGES)))

    @invariant()
    def counters_fit(self) -> None:
        if self.world is None:
            return
        kvm = self.world.kvm
        indirect = [p for p in kvm.active_mmu_pages.items if p.has_gptes]  # type: ignore[attr-defined]
        assert kvm.indirect_shadow_pages.value == len(indirect)
        assert kvm.shadow_root_allocated.value is self.had_nested
        assert kvm.mmu_invalidate_in_progress.value == 0
        assert not kvm.mmu_lock.writer
        assert not kvm.mmu_lock.readers
        assert not kvm.srcu.readers

    def teardown(self) -> None:
        if self.world is not None:
            w = self.world
            w.run(kvm_destroy_vm(w.kvm))
            assert not w.kvm.active_mmu_pages.items
            assert all(d.freed for d in w.kvm.desc_slab.objects)
            assert all(page.freed for page in w.kvm._pages.values())


class Life73(Life):
    kernel = "7.3"
    protocol_name = "v7"


class Life61(Life):
    kernel = "6.1"
    protocol_name = "linux-6.13"


class LifeChristopherson(Life):
    protocol_name = "christopherson"


SETTINGS = settings(max_examples=15, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("machine", [Life, Life73, Life61, LifeChristopherson])
def test_life(machine: type[Life]) -> None:
    run_state_machine_as_test(machine, settings=SETTINGS)


def a_test_clears(patch: pytest.MonkeyPatch) -> None:
    """test_young() that changes SPTEs."""
    patch.setattr(base, "kvm_tdp_mmu_test_age_gfn", kvm_tdp_mmu_age_gfn_range)


def clearing_is_silent(patch: pytest.MonkeyPatch) -> None:
    """what was cleared is not reported."""
    patch.setattr(notifier, "kvm_age_gfn", lambda kvm, rng, fast_only: _forget(kvm_age_gfn(kvm, rng, fast_only)))


def _forget(thread: Step[int]) -> Step[int]:
    yield from thread
    return 0


def zapped_but_linked(patch: pytest.MonkeyPatch) -> None:
    """A zapped SPTE stays in its rmap chain."""
    patch.setattr(shadow_mmu, "rmap_remove", lambda *_: iter(()))


def roots_are_zapped_when_somebody_has_time(patch: pytest.MonkeyPatch) -> None:
    """A root that nobody zaps."""
    patch.setattr(kvm_main, "kvm_tdp_mmu_zap_invalidated_roots", lambda kvm: iter(()))


@pytest.mark.parametrize(
    "fault", [a_test_clears, clearing_is_silent, zapped_but_linked, roots_are_zapped_when_somebody_has_time]
)
def test_seeded_faults_are_caught(monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]) -> None:
    fault(monkeypatch)
    quick = settings(SETTINGS, database=None, derandomize=True, phases=[Phase.generate], max_examples=150)
    with pytest.raises((AssertionError, ModelError)):
        run_state_machine_as_test(Life, settings=quick)


def test_rmaps_are_sticky_and_shadow_pages_are_not() -> None:
    w = World()
    nested = GuestTables("l2", 1, guest_mode=True)
    assert not w.kvm.shadow_root_allocated.value
    w.run(nested_guest_start(w.vcpu, nested))
    w.run(guest_access(w.vcpu, 600, write=True, nested=nested))
    assert (w.kvm.shadow_root_allocated.value, w.kvm.indirect_shadow_pages.value) == (True, 4)
    w.run(nested_guest_stop(w.kvm, nested))
    assert (w.kvm.shadow_root_allocated.value, w.kvm.indirect_shadow_pages.value) == (True, 0)
    legacy = World(config=LEGACY)
    legacy.run(guest_access(legacy.vcpu, 600, write=True))
    assert (legacy.kvm.shadow_root_allocated.value, legacy.kvm.indirect_shadow_pages.value) == (False, 0)


def test_two_vms_on_one_process_are_both_asked_and_one_may_go() -> None:
    """Recorded (twovm): __mmu_notifier_clear_young once a page, kvm_age_gfn twice, no short cut."""
    w = World()
    slot = Memslot("slot-b", Gfn(0), Pages(2048), BASE)
    other = new_kvm("kvm-b", w.mm, w.host, w.kvm.protocol, KERNELS["6.18"], slots=(slot,))
    w.run(kvm_create_vm(other))
    w.run(guest_access(other.vcpus[0], 7, write=True))
    before = w.cpu.counters.snapshot()
    assert w.run(mmu_notifier.clear_young(w.mm, w.hva(7), w.hva(8))) == 1
    counted = w.cpu.counters.since(before)
    assert (counted["__mmu_notifier_clear_young"], counted["kvm_age_gfn"]) == (1, 2)
    w.run(guest_access(w.vcpu, 512 + 7, write=True))
    w.run(kvm_destroy_vm(other))
    assert w.run(mmu_notifier.clear_young(w.mm, w.hva(7), w.hva(8))) == 1
    w.run(kvm_destroy_vm(w.kvm))
    assert w.run(mmu_notifier.clear_young(w.mm, w.hva(7), w.hva(8))) == 0
    assert w.run(mmu_notifier.mm_has_notifiers(w.mm))


@pytest.mark.parametrize("config", [TDP, LEGACY, dataclasses.replace(TDP, paging_structure_cache=True)])
def test_a_deleted_slot_is_gone_for_the_guest_and_for_aging(config: KvmConfig) -> None:
    w = World(config=config, slots=((0, 8, 0, 0), (512, 8, 8, 0)))
    w.run(guest_access(w.vcpu, 3, write=True))
    w.run(guest_access(w.vcpu, 515, write=True))
    w.run(kvm_delete_memslot(w.kvm, w.slots[0]))
    assert w.slots[0].freed
    assert w.run(mmu_notifier.clear_young(w.mm, BASE, Hva(BASE + (16 << PAGE_SHIFT)))) == 0
    w.run(guest_access(w.vcpu, 3, write=True))
    assert w.cpu.counters["work:mmio_exit"] == 1
    w.run(guest_access(w.vcpu, 515, write=True))
    assert w.run(mmu_notifier.clear_young(w.mm, w.hva(11), w.hva(12))) == 1


def test_an_invalidation_that_spans_a_vms_end_leaves_it_unbalanced_without_harm() -> None:
    """kvm_destroy_vm(): range_end may never come."""
    w = World()
    w.run(guest_access(w.vcpu, 520, write=True))
    w.run(mmu_notifier.invalidate_range_start(NotifierRange(w.mm, w.hva(0), w.hva(1))))
    w.run(kvm_destroy_vm(w.kvm))
    w.run(mmu_notifier.invalidate_range_end(NotifierRange(w.mm, w.hva(0), w.hva(1))))


def test_the_process_ends_first() -> None:
    w = World()
    w.run(guest_access(w.vcpu, 520, write=True))
    w.run(mmu_notifier.release(w.mm))
    assert w.run(mmu_notifier.clear_young(w.mm, w.hva(8), w.hva(9))) == 0
    w.run(kvm_destroy_vm(w.kvm))
