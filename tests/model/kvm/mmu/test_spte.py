"""SPTE values: bit positions against the kernels' headers, and what aging, tracking and splitting make of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agewalk.core.units import Pfn
from agewalk.model.kvm.features import KERNELS
from agewalk.model.kvm.mmu import spte as s

BITS = st.booleans()


@pytest.mark.parametrize(
    ("kernel", "ept", "accessed", "dirty", "host_w", "mmu_w", "ad_disabled", "saved", "nonpresent", "frozen"),
    [  # arch/x86/kvm/mmu/spte.h of 6.1, 6.12 and 7.3
        ("6.1", True, 8, 9, 57, 58, 1 << 52, 0b101 << 54, 0, 0x5A0),
        ("6.12", True, 8, 9, 57, 58, 1 << 52, 0b101 << 54, 1 << 63, 1 << 63 | 0x5A0),
        ("7.3", True, 8, 9, 53, 55, 1 << 60, 0b101 << 52, 1 << 63, 1 << 63 | 0x1A0),
        ("6.12", False, 5, 6, 9, 10, 1 << 52, 0b101 << 54, 1 << 63, 1 << 63 | 0x5A0),
    ],
)
def test_layout(
    kernel: str, ept: bool, accessed: int, dirty: int, host_w: int, mmu_w: int, ad_disabled: int, saved: int,
    nonpresent: int, frozen: int,
) -> None:  # fmt: skip
    f = KERNELS[kernel].format(ept=ept)
    assert (f.accessed, f.dirty) == (1 << accessed, 1 << dirty)
    assert (f.host_writable, f.mmu_writable) == (1 << host_w, 1 << mmu_w)
    assert (f.ad_disabled, f.saved, f.nonpresent, f.frozen) == (ad_disabled, saved, nonpresent, frozen)
    for nothing in (f.nonpresent, f.frozen):
        assert not s.is_shadow_present_pte(nothing)
        assert not s.hardware_allows(nothing, write=False)
    assert not f.saved & (f.host_writable | f.mmu_writable | 3 << f.ad_shift)


FORMATS = [(k, ept) for k in KERNELS for ept in (True, False)]


@st.composite
def leaves(draw: st.DrawFn) -> tuple[s.SpteFormat, int]:
    kernel, ept = draw(st.sampled_from(FORMATS))
    f = KERNELS[kernel].format(ept=ept)
    host_writable = draw(BITS)
    spte = s.make_spte(
        f, Pfn(draw(st.integers(0, 1 << 30))), draw(st.sampled_from([1, 2])), host_writable=host_writable,
        guest_writable=draw(BITS), ad_disabled=ept and draw(BITS), prefetch=draw(BITS),
    )  # fmt: skip
    return f, spte


@given(leaves())
def test_aging_changes_nothing_but_age(case: tuple[s.SpteFormat, int]) -> None:
    f, young = case
    old = s.mark_spte_for_access_track(f, young)
    assert not s.is_accessed_spte(f, old)
    assert s.is_shadow_present_pte(old)
    assert s.spte_to_pfn(old) == s.spte_to_pfn(young)
    assert s.mark_spte_for_access_track(f, old) == old
    assert s.spte_writable_invariants_hold(f, young)
    assert s.spte_writable_invariants_hold(f, old)
    assert not s.saved_bits_clash(f, young)
    assert s.is_mmu_writable_spte(f, old) == s.is_mmu_writable_spte(f, young)
    if not s.spte_ad_enabled(f, young):
        assert not s.hardware_allows(old, write=False)
        back = s.restore_acc_track_spte(f, old)
        assert s.hardware_allows(back, write=False)
        assert not s.is_writable_pte(back)
        assert back & ~f.accessed == young & ~(s.WRITABLE | f.accessed) or not s.is_accessed_spte(f, young)


@given(leaves(), BITS)
def test_hardware_sets_what_it_owes(case: tuple[s.SpteFormat, int], write: bool) -> None:
    f, spte = case
    owed = s.hardware_bits(f, spte, write=write)
    after = spte | owed
    assert s.hardware_bits(f, after, write=write) == 0
    if s.spte_ad_enabled(f, spte):
        assert s.is_accessed_spte(f, after)
        assert s.is_dirty_spte(f, after) >= write
    else:
        assert owed == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_demand_faults_install_young_prefetch_old(kernel: str) -> None:
    for ept, ad_disabled in ((False, False), (True, False), (True, True)):
        f = KERNELS[kernel].format(ept=ept)
        demand = s.make_spte(f, Pfn(9), 1, host_writable=True, ad_disabled=ad_disabled)
        ahead = s.make_spte(f, Pfn(9), 1, host_writable=True, ad_disabled=ad_disabled, prefetch=True)
        assert s.is_accessed_spte(f, demand)
        assert not s.is_accessed_spte(f, ahead)
        assert s.is_dirty_spte(f, demand)


@pytest.mark.parametrize("level", [2, 3])
def test_splitting_clones_the_accessed_bit_and_collapsing_takes_one_childs(level: int) -> None:
    f = KERNELS["6.18"].format(ept=True)
    size = 512 ** (level - 1)
    for prefetch in (False, True):
        huge = s.make_spte(f, Pfn(size * 3), level, host_writable=True, prefetch=prefetch)
        assert s.is_last_spte(huge, level)
        for index in (0, 1, 511):
            child = s.make_small_spte(huge, level - 1, index, size // 512)
            assert s.spte_to_pfn(child) == size * 3 + index * (size // 512)
            assert s.is_accessed_spte(f, child) is s.is_accessed_spte(f, huge)
            assert s.is_last_spte(child, level - 1)
            assert s.is_large_pte(child) is (level == 3)
            assert s.make_huge_spte(child, size) == huge


def test_needs_atomic_update_of_615_ignores_a_and_minds_every_ad_disabled_spte() -> None:
    """spte.c; 6.12's spte_has_volatile_bits() does the opposite in both."""
    for kernel, old_is_volatile, tracked_only in (("6.12", True, True), ("6.15", False, False)):
        f = KERNELS[kernel].format(ept=True)
        young = s.make_spte(f, Pfn(1), 1, host_writable=True)
        assert s.spte_needs_atomic_update(f, young & ~f.accessed) is old_is_volatile
        assert not s.spte_needs_atomic_update(f, young)
        assert s.spte_needs_atomic_update(f, young & ~f.dirty)
        assert s.spte_needs_atomic_update(f, young & ~s.WRITABLE)
        off = s.make_spte(f, Pfn(1), 1, host_writable=True, ad_disabled=True)
        assert s.spte_needs_atomic_update(f, off) is not tracked_only
        assert s.spte_needs_atomic_update(f, s.mark_spte_for_access_track(f, off))
