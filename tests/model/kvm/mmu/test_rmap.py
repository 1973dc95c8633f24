"""Chains of SPTEs: what is in them after any sequence of additions and removals, their shape, their lock."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.model.kvm.helpers import World

from agewalk.core.effects import Step, Store
from agewalk.core.errors import ModelError
from agewalk.core.units import Gfn
from agewalk.model.kvm.config import KvmConfig
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import PTE_LIST_EXT, GuestTables
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu import rmap
from agewalk.model.kvm.mmu.rmap import KVM_RMAP_LOCKED, KVM_RMAP_MANY


class Chains(RuleBasedStateMachine):
    """One head, SPTE addresses 8, 16, 24 ...; the model is a set."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.kvm = self.world.kvm
        self.head = self.world.slots[0].rmap(1, 512)
        self.there: list[int] = []
        self.next = 8

    @rule(n=st.integers(1, 20))
    def add(self, n: int) -> None:
        for _ in range(n):
            count = self.world.run(rmap.pte_list_add(self.kvm, self.head, self.next))
            assert count == len(self.there)
            self.there.append(self.next)
            self.next += 8

    @rule(data=st.data(), n=st.integers(1, 20))
    def remove(self, data: st.DataObject, n: int) -> None:
        for _ in range(min(n, len(self.there))):
            victim = data.draw(st.sampled_from(self.there))
            self.there.remove(victim)
            self.world.run(rmap.pte_list_remove(self.kvm, self.head, victim))

    @invariant()
    def holds_what_was_added(self) -> None:
        value = self.head.value
        assert not value & KVM_RMAP_LOCKED
        found = self.world.run(rmap.rmap_sptes(self.kvm, value))
        assert sorted(found) == sorted(self.there)

    @invariant()
    def only_the_first_descriptor_is_partly_full(self) -> None:
        value = self.head.value
        at, first, left = (value & ~KVM_RMAP_MANY if value & KVM_RMAP_MANY else 0), True, len(self.there)
        used = 0
        while at:
            desc = self.kvm.desc_at(at)
            assert not desc.freed
            count = desc.spte_count.value
            assert 0 < count <= PTE_LIST_EXT
            assert first or count == PTE_LIST_EXT
            left -= count
            assert desc.tail_count.value == left
            at, first, used = desc.more.value, False, used + 1
        assert sum(not d.freed for d in self.kvm.desc_slab.objects) == used


TestChains = Chains.TestCase
TestChains.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


def test_removing_a_stranger_warns() -> None:
    w = World()
    head = w.slots[0].rmap(1, 512)
    with pytest.raises(ModelError, match="empty chain"):
        w.run(rmap.pte_list_remove(w.kvm, head, 8))
    w.run(rmap.pte_list_add(w.kvm, head, 8))
    w.run(rmap.pte_list_add(w.kvm, head, 16))
    with pytest.raises(ModelError, match="not in the chain"):
        w.run(rmap.pte_list_remove(w.kvm, head, 24))


def test_a_locked_head_makes_others_wait_and_an_empty_one_is_not_locked() -> None:
    w = World()
    head = w.slots[0].rmap(1, 512)

    def lock_and_unlock() -> Step[int]:
        value = yield from rmap.kvm_rmap_lock_readonly(head)
        yield from rmap.kvm_rmap_unlock_readonly(head, value)
        return value

    assert w.run(lock_and_unlock()) == 0
    assert w.cpu.counters["rmap_locks"] == 0
    head.value = 8
    assert w.run(lock_and_unlock()) == 8
    assert head.value == 8
    head.value = 8 | KVM_RMAP_LOCKED
    with pytest.raises(ModelError, match="waits for ever"):
        w.run(lock_and_unlock())


def test_a_chain_that_changes_under_its_lock_warns() -> None:
    w = World()
    head = w.slots[0].rmap(1, 512)
    head.value = 8

    def broken() -> Step[None]:
        value = yield from rmap.kvm_rmap_lock_readonly(head)
        yield Store(head, 16 | KVM_RMAP_LOCKED)
        yield from rmap.kvm_rmap_unlock_readonly(head, value)

    with pytest.raises(ModelError, match="changed while a reader held it"):
        w.run(broken())


@pytest.mark.parametrize("aliases", [1, 2, 14, 15, 40])
def test_aging_clears_all_sptes_of_a_frame_and_testing_none(aliases: int) -> None:
    w = World()
    nested = GuestTables("l2", 1, guest_mode=True)
    for alias in range(aliases):
        w.run(guest_access(w.vcpu, 520, write=True, nested=nested, alias=alias))
    rng = GfnRange(w.slots[0], Gfn(520), Gfn(521))

    def young() -> int:
        sptes = w.run(rmap.rmap_sptes(w.kvm, w.slots[0].rmap(1, 520).value))
        assert len(sptes) == aliases
        return sum(bool(w.kvm.sptep(a).value & w.kvm.format.accessed) for a in sptes)

    assert young() == aliases
    assert w.run(rmap.kvm_rmap_age_gfn_range(w.kvm, rng, test_only=True, bit_lock=True))
    assert young() == aliases
    assert w.run(rmap.kvm_rmap_age_gfn_range(w.kvm, rng, test_only=False, bit_lock=True))
    assert young() == 0
    assert not w.run(rmap.kvm_rmap_age_gfn_range(w.kvm, rng, test_only=False, bit_lock=True))
    w.run(guest_access(w.vcpu, 520, write=False, nested=nested, alias=aliases - 1))
    assert young() == 1


def test_a_chain_that_grows_past_the_threshold_is_recycled() -> None:
    w = World(config=KvmConfig(rmap_recycle_threshold=4))
    nested = GuestTables("l2", 1, guest_mode=True)
    lengths = []
    for alias in range(7):
        w.run(guest_access(w.vcpu, 520, write=True, nested=nested, alias=alias))
        lengths.append(len(w.run(rmap.rmap_sptes(w.kvm, w.slots[0].rmap(1, 520).value))))
    assert lengths == [1, 2, 3, 4, 5, 1, 2]  # the sixth zaps all, itself too, and faults again
    assert w.cpu.counters["kvm_flush_remote_tlbs_range"] == 1
