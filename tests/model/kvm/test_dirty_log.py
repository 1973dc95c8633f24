"""Write protection, cleared D bits, huge pages that come back; and that no interleaving loses a D bit or a W rule."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.model.kvm.helpers import World
from tests.model.kvm.smp import Smp

from agewalk.core.effects import Load, Step, Store
from agewalk.core.units import Gfn
from agewalk.model.kvm.config import LEGACY, TDP, KvmConfig
from agewalk.model.kvm.dirty_log import (
    kvm_mmu_slot_leaf_clear_dirty,
    kvm_mmu_slot_remove_write_access,
    kvm_tdp_mmu_recover_huge_page,
)
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import GuestTables, MmuPage
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu import tdp_mmu
from agewalk.model.kvm.mmu.spte import is_last_spte, is_shadow_present_pte, spte_to_pfn, spte_writable_invariants_hold
from agewalk.model.mm import mmu_notifier

SMALL = KvmConfig(levels=2, level_bits=2, ept=True)


def leaf(w: World, gfn: int) -> int:
    table: MmuPage = w.vcpu.roots[0].value
    while True:
        spte: int = table.entry(w.kvm.index(gfn, table.level)).value
        if not is_shadow_present_pte(spte) or is_last_spte(spte, table.level):
            return spte
        table = w.kvm.page_at(spte_to_pfn(spte))


def exits(w: World) -> int:
    return w.cpu.counters["work:vm_exit"]


def whole(w: World) -> GfnRange:
    return GfnRange(w.slots[0], w.slots[0].base_gfn, w.slots[0].end_gfn)


@pytest.mark.parametrize("config", [TDP, LEGACY, dataclasses.replace(TDP, ept=True, ad_bits=False)])
def test_a_write_protected_page_exits_once_and_needs_no_page_from_the_host(config: KvmConfig) -> None:
    w = World(config=config, slots=((512, 8, 0, 0),))
    w.run(guest_access(w.vcpu, 512, write=True))
    gups = w.cpu.counters["gup"]
    assert w.run(kvm_mmu_slot_remove_write_access(w.kvm, whole(w)))
    assert not w.run(kvm_mmu_slot_remove_write_access(w.kvm, whole(w)))
    before = exits(w)
    w.run(guest_access(w.vcpu, 512, write=False))
    assert exits(w) == before
    w.run(guest_access(w.vcpu, 512, write=True))
    w.run(guest_access(w.vcpu, 512, write=True))
    assert exits(w) == before + 1
    assert w.cpu.counters["gup"] == gups
    assert w.run(mmu_notifier.clear_young(w.mm, w.hva(0), w.hva(1))) == 1


def test_a_nested_guests_sptes_are_protected_too() -> None:
    w = World(slots=((512, 8, 0, 0),))
    nested = GuestTables("l2", 1, guest_mode=True)
    w.run(guest_access(w.vcpu, 512, write=True, nested=nested))
    assert w.run(kvm_mmu_slot_remove_write_access(w.kvm, whole(w)))
    before = exits(w)
    w.run(guest_access(w.vcpu, 512, write=True, nested=nested))
    assert exits(w) == before + 1


def test_a_cleared_d_bit_is_set_again_without_an_exit() -> None:
    w = World(slots=((512, 8, 0, 0),))
    w.run(guest_access(w.vcpu, 512, write=True))
    assert w.run(kvm_mmu_slot_leaf_clear_dirty(w.kvm, whole(w)))
    assert not w.run(kvm_mmu_slot_leaf_clear_dirty(w.kvm, whole(w)))
    before = exits(w)
    w.run(guest_access(w.vcpu, 512, write=True))
    assert exits(w) == before
    assert w.run(kvm_mmu_slot_leaf_clear_dirty(w.kvm, whole(w)))


@pytest.mark.parametrize(("kernel", "in_place"), [("6.12", False), ("6.13", True), ("7.3", True)])
def test_a_huge_page_comes_back(kernel: str, in_place: bool) -> None:
    w = World(kernel=kernel)
    for page in (0, 5):
        w.run(guest_access(w.vcpu, 512 + page, write=True))
    rng = GfnRange(w.slots[0], Gfn(512), Gfn(1024))
    w.host.level = 2
    assert w.run(kvm_tdp_mmu_recover_huge_page(w.kvm, rng))
    assert not w.run(kvm_tdp_mmu_recover_huge_page(w.kvm, rng))
    assert w.run(mmu_notifier.clear_young(w.mm, w.hva(300), w.hva(301))) == in_place
    before = exits(w)
    for page in (0, 300, 511):
        w.run(guest_access(w.vcpu, 512 + page, write=True))
    assert exits(w) == before + (not in_place)
    assert spte_to_pfn(leaf(w, 512 + 300)) == 512 * 8


def race(seed: int, kernel: str) -> None:
    """One page: a vCPU reads, then writes; an ager; write protection and D bits cleared. At the end its write is known."""
    w = World(None, kernel, SMALL, ((0, 4, 0, 0),))
    w.run(guest_access(w.vcpu, 0, write=True))
    w.run(kvm_mmu_slot_leaf_clear_dirty(w.kvm, whole(w)))

    def vcpu() -> Step[None]:
        yield from guest_access(w.vcpu, 0, write=False)
        yield from guest_access(w.vcpu, 0, write=True)
        yield from guest_access(w.vcpu, 0, write=False)

    def ager() -> Step[None]:
        for _ in range(4):
            yield from mmu_notifier.clear_young(w.mm, w.hva(0), w.hva(1))

    def logger() -> Step[bool]:
        yield from kvm_mmu_slot_remove_write_access(w.kvm, whole(w))
        return (yield from kvm_mmu_slot_leaf_clear_dirty(w.kvm, whole(w)))

    def watch() -> None:
        assert spte_writable_invariants_hold(w.kvm.format, leaf(w, 0))

    found = Smp([("vcpu", vcpu()), ("ager", ager()), ("log", logger())], seed).run(watch)
    assert found["log"] or leaf(w, 0) & w.kvm.format.dirty


@pytest.mark.parametrize("kernel", ["6.15", "7.3"])
def test_no_write_is_lost(kernel: str) -> None:
    for seed in range(60):
        race(seed, kernel)


def test_an_ager_that_stores_plainly_loses_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU sets D between the ager's load and its store: that D is gone."""

    def plainly(kvm: Any, rng: Any, sptep: Any, old: int, level: int) -> Step[None]:
        yield Load(sptep)
        yield Store(sptep, old & ~kvm.format.accessed)

    monkeypatch.setattr(tdp_mmu, "_age_spte", plainly)

    def any_of(seeds: range) -> None:
        for seed in seeds:
            race(seed, "6.15")

    with pytest.raises(AssertionError):
        any_of(range(400))
