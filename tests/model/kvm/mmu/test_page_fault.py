"""Faults, prefetch, A/D-disabled SPTEs, huge mappings: hand-worked, and against what the witnesses counted."""

from __future__ import annotations

import dataclasses

import pytest
from tests.model.kvm.helpers import World

from agewalk.core.direct import perform
from agewalk.core.units import PAGE_SIZE, Gfn, Hva
from agewalk.model.kvm.config import LEGACY, SHADOW, TDP, KvmConfig
from agewalk.model.kvm.features import KERNELS
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import GuestTables
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu.tdp_mmu import kvm_tdp_mmu_age_gfn_range
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import NotifierRange

NO_AD = dataclasses.replace(TDP, ept=True, ad_bits=False)


def exits(w: World) -> int:
    return w.cpu.counters["work:vm_exit"]


def touch(w: World, *pages: int, write: bool = False) -> None:
    for page in pages:
        w.run(guest_access(w.vcpu, 512 + page, write=write))


def clear(w: World, page: int) -> int:
    return int(w.run(mmu_notifier.clear_young(w.mm, w.hva(page), Hva(w.hva(page) + PAGE_SIZE))))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("config", [TDP, LEGACY, SHADOW, NO_AD], ids=["tdp", "legacy", "shadow", "no-ad"])
def test_a_guest_access_is_seen_once(kernel: str, config: KvmConfig) -> None:
    w = World(kernel=kernel, config=config)
    touch(w, 0, 9, write=True)
    assert [clear(w, p) for p in (0, 1, 9)] == [1, 0, 1]
    assert [clear(w, p) for p in (0, 1, 9)] == [0, 0, 0]
    touch(w, 9)
    assert w.run(mmu_notifier.test_young(w.mm, w.hva(9))) == 1
    assert [clear(w, p) for p in (0, 9)] == [0, 1]


def test_the_second_access_takes_no_exit_and_changes_nothing() -> None:
    """With the paging-structure cache the CPU finds the SPTE at once: two effects, three to set the accessed bit."""
    w = World(config=dataclasses.replace(TDP, paging_structure_cache=True))
    touch(w, 3, write=True)
    before = exits(w)
    assert _effects_of_a_read(w, 3) == 2
    assert exits(w) == before
    assert clear(w, 3) == 1
    assert clear(w, 3) == 0
    assert _effects_of_a_read(w, 3) == 3
    assert exits(w) == before
    assert clear(w, 3) == 1


def _effects_of_a_read(w: World, page: int) -> int:
    thread = guest_access(w.vcpu, 512 + page, write=False)
    effect = next(thread)
    count = 1
    try:
        while True:
            effect = thread.send(perform(w.cpu, effect))
            count += 1
    except StopIteration:
        return count


@pytest.mark.parametrize(
    ("kernel", "config", "faults", "accessed", "dirty"),
    [  # 64 pages written in order, all in place in the process. As recorded: every fault marks accessed once;
        # legacy maps eight at a time, marks them all from 6.13 on and only the faulted one before; dirty from 6.13 on
        ("6.1", TDP, 64, 64, 0),
        ("6.12", TDP, 64, 64, 0),
        ("6.18", TDP, 64, 64, 64),
        ("6.1", LEGACY, 8, 8, 0),
        ("6.12", LEGACY, 8, 8, 0),
        ("6.18", LEGACY, 8, 64, 64),
        ("7.3", LEGACY, 8, 64, 64),
        ("6.12", SHADOW, 64, 64, 0),
        ("7.3", SHADOW, 64, 64, 64),
    ],
)
def test_what_faults_tell_the_pages(kernel: str, config: KvmConfig, faults: int, accessed: int, dirty: int) -> None:
    w = World(kernel=kernel, config=config)
    touch(w, *range(64), write=True)
    assert exits(w) == w.cpu.counters["hva_to_pfn"] == faults
    assert sorted(w.host.accessed) == sorted(set(w.host.accessed))
    assert (len(w.host.accessed), len(w.host.dirty)) == (accessed, dirty)


def test_prefetch_installs_old_and_stops_at_the_first_page_that_is_not_there() -> None:
    w = World(config=LEGACY)
    w.host.absent.add(5)
    touch(w, 2, write=True)
    assert [clear(w, p) for p in range(8)] == [0, 0, 1, 0, 0, 0, 0, 0]
    before = exits(w)
    touch(w, 0, 1, 3, 4)
    assert exits(w) == before
    touch(w, 5)
    assert exits(w) == before + 1
    assert [clear(w, p) for p in (0, 1, 3, 4, 5, 6)] == [1, 1, 1, 1, 1, 0]


def test_shadow_paging_prefetches_only_what_the_guest_itself_has_used() -> None:
    w = World(config=SHADOW)
    touch(w, 0, 1, 2, write=True)
    assert exits(w) == 3
    rng = NotifierRange(w.mm, w.hva(0), w.hva(8))
    w.run(mmu_notifier.invalidate_range_start(rng))
    w.run(mmu_notifier.invalidate_range_end(rng))
    touch(w, 2)
    assert exits(w) == 4
    touch(w, 0, 1)
    assert exits(w) == 4
    touch(w, 3)
    assert exits(w) == 5


def test_shadow_paging_sees_the_first_write_to_a_clean_guest_entry() -> None:
    """FNAME(protect_clean_gpte): a read maps read-only, so a write exits again, although the process may write."""
    w = World(config=SHADOW)
    touch(w, 0)
    touch(w, 0, write=True)
    assert exits(w) == 2
    tdp = World(config=TDP)
    touch(tdp, 0)
    touch(tdp, 0, write=True)
    assert exits(tdp) == 1


@pytest.mark.parametrize("config", [TDP, LEGACY])
def test_a_page_that_the_process_may_not_write_is_mapped_read_only(config: KvmConfig) -> None:
    w = World(config=config)
    w.host.readonly.add(0)
    touch(w, 0)
    w.host.readonly.clear()
    touch(w, 0, write=True)
    assert exits(w) == 2


@pytest.mark.parametrize("kernel", ["6.12", "6.18"])
def test_without_ad_bits_an_old_page_faults_and_the_fast_path_repairs_it(kernel: str) -> None:
    w = World(kernel=kernel, config=NO_AD)
    touch(w, 0, write=True)
    gups = w.cpu.counters["gup"]
    for write in (False, True):
        assert clear(w, 0) == 1
        before = exits(w)
        touch(w, 0, write=write)
        assert exits(w) == before + 1
        touch(w, 0, write=write)
        assert exits(w) == before + 1
    assert w.cpu.counters["gup"] == gups
    touch(w, 0, write=True)
    assert clear(w, 0) == 1


def test_a_huge_spte_is_one_bit_for_all_its_pages() -> None:
    """The first 4K question finds the whole 2M mapping young and clears it, the other 511 find it old."""
    w = World()
    w.host.level = 2
    touch(w, 77)
    assert exits(w) == 1
    touch(w, 3, 500)
    assert exits(w) == 1
    assert [clear(w, p) for p in (0, 1, 77)] == [1, 0, 0]
    touch(w, 200)
    rng = GfnRange(w.slots[0], Gfn(512), Gfn(1024))
    assert w.run(kvm_tdp_mmu_age_gfn_range(w.kvm, rng))
    assert not w.run(kvm_tdp_mmu_age_gfn_range(w.kvm, rng))


def test_a_1g_spte_where_slot_and_process_allow_it() -> None:
    w = World(config=dataclasses.replace(TDP, max_level=3), slots=((1 << 18, 1 << 18, 0, 0),))
    w.host.level = 3
    w.run(guest_access(w.vcpu, (1 << 18) + 200_000, write=True))
    w.run(guest_access(w.vcpu, (1 << 18) + 3, write=True))
    assert exits(w) == 1
    assert [clear(w, p) for p in (70_000, 3)] == [1, 0]


def test_a_small_fault_inside_a_huge_spte_splits_it_and_keeps_its_age() -> None:
    for young in (True, False):
        w = World()
        w.host.level = 2
        w.host.readonly.update(range(512))
        touch(w, 0)
        if not young:
            clear(w, 0)
        w.host.readonly.clear()
        w.host.level = 1
        touch(w, 9, write=True)  # write fault at 4K
        assert [clear(w, p) for p in (8, 9, 10)] == [young, 1, young]
        assert exits(w) == 2


def test_unaligned_or_small_slots_are_not_mapped_huge() -> None:
    for slots in (((513, 1024, 0, 0),), ((512, 511, 0, 0),), ((512, 1024, 1, 0),)):
        w = World(slots=slots)
        w.host.level = 2
        gfn = slots[0][0]
        w.run(guest_access(w.vcpu, gfn + 5, write=True))
        w.run(guest_access(w.vcpu, gfn + 6, write=True))
        assert exits(w) == 2


def test_a_nested_guest_is_seen_through_the_shadow_mmu_alone() -> None:
    w = World()
    touch(w, 0, write=True)
    nested = GuestTables("l2", 1, guest_mode=True)
    w.run(guest_access(w.vcpu, 512, write=True, nested=nested))
    clear(w, 0)
    tdp_leaf = GfnRange(w.slots[0], Gfn(512), Gfn(513))
    w.run(guest_access(w.vcpu, 512, write=True, nested=nested))
    assert not w.run(kvm_tdp_mmu_age_gfn_range(w.kvm, tdp_leaf))
    assert clear(w, 0) == 1


def test_nested_guests_without_ad_bits_are_tracked_by_faults() -> None:
    """role.ad_disabled: L1 does not enable EPT A/D for L2, so those shadow pages are ad_disabled."""
    w = World(config=dataclasses.replace(TDP, ept=True))
    nested = GuestTables("l2", 1, guest_mode=True, ad=False)
    for _ in range(3):
        before = exits(w)
        w.run(guest_access(w.vcpu, 512, write=True, nested=nested))
        w.run(guest_access(w.vcpu, 512, write=True, nested=nested))
        assert exits(w) == before + 1
        assert (clear(w, 0), clear(w, 0)) == (1, 0)


@pytest.mark.parametrize(
    ("kernel", "accessed", "dirty"), [("6.1", 2, 2), ("6.12", 1, 2), ("6.13", 0, 0), ("7.3", 0, 0)]
)
def test_what_a_zap_tells_the_pages(kernel: str, accessed: int, dirty: int) -> None:
    """Up to 6.12 a zapped SPTE passes its bits on (recorded: unregister); two pages written, on 6.12 one was aged since."""
    w = World(kernel=kernel)
    touch(w, 0, 1, write=True)
    if kernel == "6.12":
        clear(w, 1)
    w.host.accessed.clear()
    w.host.dirty.clear()
    rng = NotifierRange(w.mm, w.hva(0), w.hva(2))
    w.run(mmu_notifier.invalidate_range_start(rng))
    w.run(mmu_notifier.invalidate_range_end(rng))
    assert (len(w.host.accessed), len(w.host.dirty)) == (accessed, dirty)
    assert w.cpu.counters["kvm_set_pfn_accessed"] == accessed


@pytest.mark.parametrize(("kernel", "flushes"), [("6.1", 1), ("6.12", 1), ("6.13", 0), ("6.18", 0)])
def test_clear_flush_young_flushes_up_to_612(kernel: str, flushes: int) -> None:
    w = World(kernel=kernel)
    touch(w, 0, write=True)
    w.run(mmu_notifier.clear_flush_young(w.mm, w.hva(0), w.hva(1)))
    w.run(mmu_notifier.clear_flush_young(w.mm, w.hva(0), w.hva(1)))
    assert w.cpu.counters["kvm_flush_remote_tlbs"] == flushes
