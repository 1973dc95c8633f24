"""Shadow page-table entries as integers, and what may be concluded from one. Pure functions; the cells are elsewhere.

arch/x86/kvm/mmu/spte.h and spte.c. `SpteFormat` says where a kernel and a CPU vendor keep which bit: EPT (Intel) has its
own accessed and dirty bits and may lack them; NPT (AMD) and shadow paging use the bits of ordinary x86 page tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agewalk.core.units import Pfn

READ: Final = 1 << 0  # PT_PRESENT_MASK, VMX_EPT_READABLE_MASK
WRITABLE: Final = 1 << 1  # PT_WRITABLE_MASK, the same bit in EPT
EXEC: Final = 1 << 2  # VMX_EPT_EXECUTABLE_MASK; in the other formats the user bit, set as well
RWX: Final = READ | WRITABLE | EXEC
LARGE: Final = 1 << 7  # PT_PAGE_SIZE_MASK: a leaf above 4K
MMU_PRESENT: Final = 1 << 11  # KVM's own "maps something", whatever the hardware sees
ADDRESS: Final = ((1 << 52) - 1) & ~0xFFF  # SPTE_BASE_ADDR_MASK
PFN_SHIFT: Final = 12

PG_LEVEL_4K: Final = 1
PG_LEVEL_2M: Final = 2
PG_LEVEL_1G: Final = 3
KVM_MAX_HUGEPAGE_LEVEL: Final = PG_LEVEL_1G

_SAVED_BITS: Final = READ | EXEC  # SHADOW_ACC_TRACK_SAVED_BITS_MASK; W is remembered by MMU_WRITABLE


@dataclass(frozen=True, slots=True)
class SpteFormat:
    """Bit positions of one kernel on one kind of hardware.

    software_accessed: the accessed bit is kept by software in A/D-disabled SPTEs as well (6.13; before, such a SPTE is
        accessed iff it is not access-tracked).
    accessed_is_volatile: a clear A bit makes an update atomic (spte_has_volatile_bits, up to 6.14). From 6.15
        spte_needs_atomic_update() ignores A, and treats every A/D-disabled SPTE as volatile.
    """

    accessed: int
    dirty: int
    host_writable: int
    mmu_writable: int
    acc_track: int  # what access tracking takes from the hardware; 0 where A/D bits cannot be missing
    ad_shift: int  # SPTE_TDP_AD_SHIFT
    saved_shift: int  # SHADOW_ACC_TRACK_SAVED_BITS_SHIFT
    nonpresent: int  # SHADOW_NONPRESENT_VALUE
    frozen: int  # FROZEN_SPTE, REMOVED_SPTE up to 6.9
    software_accessed: bool
    accessed_is_volatile: bool

    @property
    def ad_disabled(self) -> int:
        """SPTE_TDP_AD_DISABLED."""
        return 1 << self.ad_shift

    @property
    def ad_wrprot_only(self) -> int:
        """SPTE_TDP_AD_WRPROT_ONLY."""
        return 2 << self.ad_shift

    @property
    def saved(self) -> int:
        """Where access tracking keeps the R and X bits."""
        return _SAVED_BITS << self.saved_shift


def spte_format(
    *, ept: bool, nonpresent_bit63: bool, high_layout: bool, software_accessed: bool, accessed_is_volatile: bool
) -> SpteFormat:
    """The format of a kernel (its features) on EPT or on NPT and shadow paging.

    high_layout: A/D type at bits 60..61, saved bits at 52, EPT's HOST_WRITABLE 53 and MMU_WRITABLE 55 (7.3 spte.h);
    otherwise A/D type at 52..53, saved bits at 54, 57 and 58 (6.1 and 6.12 spte.h).
    """
    nonpresent = 1 << 63 if nonpresent_bit63 else 0
    return SpteFormat(
        accessed=1 << 8 if ept else 1 << 5,
        dirty=1 << 9 if ept else 1 << 6,
        host_writable=(1 << (53 if high_layout else 57)) if ept else 1 << 9,
        mmu_writable=(1 << (55 if high_layout else 58)) if ept else 1 << 10,
        acc_track=RWX if ept else 0,
        ad_shift=60 if high_layout else 52,
        saved_shift=52 if high_layout else 54,
        nonpresent=nonpresent,
        frozen=nonpresent | (0x1A0 if high_layout else 0x5A0),
        software_accessed=software_accessed,
        accessed_is_volatile=accessed_is_volatile,
    )


def is_shadow_present_pte(spte: int) -> bool:
    """Does this entry map something, as far as KVM is concerned?"""
    return bool(spte & MMU_PRESENT)


def is_large_pte(spte: int) -> bool:
    """A leaf above the 4K level."""
    return bool(spte & LARGE)


def is_last_spte(spte: int, level: int) -> bool:
    """A leaf, given that it is present."""
    return level == PG_LEVEL_4K or bool(spte & LARGE)


def spte_to_pfn(spte: int) -> Pfn:
    """Frame of a present entry: of the guest's page, or of KVM's next table."""
    return Pfn((spte & ADDRESS) >> PFN_SHIFT)


def is_writable_pte(spte: int) -> bool:
    """May the hardware write through it now?"""
    return bool(spte & WRITABLE)


def is_mmu_writable_spte(f: SpteFormat, spte: int) -> bool:
    """May the fast page fault make it writable?"""
    return bool(spte & f.mmu_writable)


def spte_ad_enabled(f: SpteFormat, spte: int) -> bool:
    """Does the hardware set A and D in this entry?"""
    return spte >> f.ad_shift & 3 != 1


def is_access_track_spte(f: SpteFormat, spte: int) -> bool:
    """Made inaccessible so that the next use faults: A/D-disabled with R, W and X taken away."""
    return not spte_ad_enabled(f, spte) and not spte & f.acc_track


def is_accessed_spte(f: SpteFormat, spte: int) -> bool:
    """Young? Only for a present leaf."""
    if f.software_accessed or spte_ad_enabled(f, spte):
        return bool(spte & f.accessed)
    return not is_access_track_spte(f, spte)


def is_dirty_spte(f: SpteFormat, spte: int) -> bool:
    """Written to? An A/D-disabled entry counts as dirty while it is writable (is_dirty_spte, 6.12 spte.h)."""
    return bool(spte & (f.dirty if spte_ad_enabled(f, spte) else WRITABLE))


def mark_spte_for_access_track(f: SpteFormat, spte: int) -> int:
    """The entry made old: A cleared where the hardware keeps it, else R, W and X taken away, R and X saved."""
    if spte_ad_enabled(f, spte):
        return spte & ~f.accessed
    if is_access_track_spte(f, spte):
        return spte
    kept = (spte & _SAVED_BITS) << f.saved_shift
    return (spte & ~(f.acc_track | (f.accessed if f.software_accessed else 0))) | kept


def saved_bits_clash(f: SpteFormat, spte: int) -> bool:
    """Would mark_spte_for_access_track() WARN "saved bit locations are not zero"?"""
    return not spte_ad_enabled(f, spte) and not is_access_track_spte(f, spte) and bool(spte & f.saved)


def restore_acc_track_spte(f: SpteFormat, spte: int) -> int:
    """R and X put back; W stays off until a write fault asks for it."""
    return (spte & ~(f.acc_track | f.saved)) | (spte >> f.saved_shift & _SAVED_BITS)


def spte_needs_atomic_update(f: SpteFormat, spte: int) -> bool:
    """May a CPU or a thread without mmu_lock change this present leaf, so that a plain store would lose the change?

    spte_has_volatile_bits() up to 6.14, spte_needs_atomic_update() from 6.15.
    """
    if not spte & WRITABLE and spte & f.mmu_writable:
        return True
    if f.accessed_is_volatile:
        if is_access_track_spte(f, spte):
            return True
        if spte_ad_enabled(f, spte) and not spte & f.accessed:
            return True
        return spte_ad_enabled(f, spte) and bool(spte & WRITABLE) and not spte & f.dirty
    return not spte_ad_enabled(f, spte) or (bool(spte & WRITABLE) and not spte & f.dirty)


def leaf_spte_change_needs_tlb_flush(f: SpteFormat, old: int, new: int) -> bool:
    """Write-protected for shadow paging; a cleared A bit never asks for a flush (6.13)."""
    return bool(old & f.mmu_writable) and not new & f.mmu_writable


def spte_writable_invariants_hold(f: SpteFormat, spte: int) -> bool:
    """check_spte_writable_invariants(): W implies MMU_WRITABLE implies HOST_WRITABLE."""
    if spte & f.mmu_writable:
        return bool(spte & f.host_writable)
    return not spte & WRITABLE


def make_spte(
    f: SpteFormat,
    pfn: Pfn,
    level: int,
    *,
    host_writable: bool,
    guest_writable: bool = True,
    ad_disabled: bool = False,
    prefetch: bool = False,
) -> int:
    """make_spte(): a demand fault installs young, a prefetch old; D comes with W."""
    spte = MMU_PRESENT | READ | EXEC | pfn << PFN_SHIFT
    if ad_disabled:
        spte |= f.ad_disabled
    if not prefetch and (f.software_accessed or not ad_disabled):
        spte |= f.accessed
    if level > PG_LEVEL_4K:
        spte |= LARGE
    if host_writable:
        spte |= f.host_writable
        if guest_writable:
            spte |= WRITABLE | f.mmu_writable | (0 if ad_disabled and not f.software_accessed else f.dirty)
    return mark_spte_for_access_track(f, spte) if prefetch else spte


def make_nonleaf_spte(f: SpteFormat, table: Pfn, *, ad_disabled: bool) -> int:
    """An entry that points to a table of KVM's; KVM sets A at creation and never reads it again."""
    return MMU_PRESENT | RWX | table << PFN_SHIFT | (f.ad_disabled if ad_disabled else f.accessed)


def make_small_spte(huge: int, child_level: int, index: int, pages: int) -> int:
    """make_small_spte(): entry `index` of the table that replaces a huge leaf; every child inherits A, D and the rest.

    pages: 4 KiB pages that one child maps.
    """
    child = huge + (index * pages << PFN_SHIFT)
    return child if child_level > PG_LEVEL_4K else child & ~LARGE


def make_huge_spte(small: int, pages: int) -> int:
    """make_huge_spte(): one huge leaf of `pages` pages in place of a table, with the bits of the one child `small`."""
    pfn = (small & ADDRESS) >> PFN_SHIFT
    return (small & ~ADDRESS) | LARGE | (pfn - pfn % pages) << PFN_SHIFT


def hardware_allows(spte: int, *, write: bool) -> bool:
    """Does the CPU get through, or does it exit with a violation?"""
    return bool(spte & READ) and bool(spte & MMU_PRESENT) and (not write or bool(spte & WRITABLE))


def hardware_bits(f: SpteFormat, spte: int, *, write: bool) -> int:
    """A and D bits that the CPU still has to set for this access; 0 in A/D-disabled entries."""
    if not spte_ad_enabled(f, spte):
        return 0
    return (f.accessed | (f.dirty if write else 0)) & ~spte
