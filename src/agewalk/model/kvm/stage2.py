"""arm64's stage 2 as a secondary MMU of its own (arch/arm64/kvm/mmu.c, hyp/pgtable.c; read in 6.12 and 7.3).

One level of tables. Without hardware management of the access flag (FEAT_HAFDBS) an access to an old entry faults, and
handle_access_fault() makes the entry young under mmu_lock for read. Invalidations, permission faults and nested stage 2 are
not modelled.
"""

from __future__ import annotations

from typing import Final, cast

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.effects import (
    READ,
    WRITE,
    Acquire,
    Again,
    CompareExchange,
    Count,
    Free,
    Load,
    Release,
    Step,
    Store,
    Work,
)
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm.mm_types import Mm, MmuNotifier, MmuNotifierOps

VALID: Final = 1 << 0
AF: Final = 1 << 10  # KVM_PTE_LEAF_ATTR_LO_S2_AF

MERGED: Final = "mmu_lock for write"
POSTED: Final = "mmu_lock for read"
POSTED_V5: Final = "mmu_lock for read, kept where there is no pgt"


class Pgtable(Object):
    """struct kvm_pgtable with its leaf entries."""

    __slots__ = ("ptes",)

    def __init__(self, label: str, pages: int) -> None:
        super().__init__(label)
        self.ptes = [Cell(self, i, VALID | AF) for i in range(pages)]


class Stage2(Object):
    """struct kvm with its kvm_s2_mmu, and its subscription. base: where its memory lies in the process.

    hardware_af: the CPU sets the access flag (VTCR_EL2.HA). locking: MERGED, POSTED (v4 and v6), POSTED_V5.
    """

    __slots__ = ("base", "hardware_af", "locking", "mmu_lock", "notifier", "pgt")

    def __init__(self, label: str, base: Hva, *, pages: int, hardware_af: bool, locking: str) -> None:
        super().__init__(label)
        self.base = base
        self.hardware_af = hardware_af
        self.locking = locking
        self.mmu_lock = Lock(self, "mmu_lock")
        table: Pgtable | None = Pgtable(f"{label}.pgt", pages)
        self.pgt = Cell(self, "pgt", table)
        self.notifier = MmuNotifier(f"{label}.mmu_notifier", OPS, self, has_fast_aging=False)


def stage2_try_set_pte(cell: Cell, old: int, new: int, *, shared: bool) -> Step[bool]:
    """stage2_try_set_pte(): a plain store under the lock for write, a cmpxchg if the walk is shared."""
    if not shared:
        yield Store(cell, new)
        return True
    return bool((yield CompareExchange(cell, old, new)) == old)


def kvm_pgtable_stage2_test_clear_young(pgt: Pgtable, first: int, end: int, *, mkold: bool, shared: bool) -> Step[bool]:
    """kvm_pgtable_stage2_test_clear_young(), stage2_age_walker(): young even if the entry changes under the walker's hands."""
    young = False
    for i in range(first, end):
        old: int = yield Load(pgt.ptes[i])
        if old & VALID and old & AF:
            young = True
            if mkold:
                yield from stage2_try_set_pte(pgt.ptes[i], old, old & ~AF, shared=shared)
    return young


def _age_gfn(vm: Stage2, start: Hva, end: Hva, *, mkold: bool) -> Step[int]:
    """kvm_age_gfn() or kvm_test_age_gfn(), with the lock that it or kvm_handle_hva_range() takes."""
    yield Count("kvm_age_gfn" if mkold else "kvm_test_age_gfn")
    shared = vm.locking != MERGED
    mode = READ if shared else WRITE
    yield Acquire(vm.mmu_lock, mode)
    pgt: Pgtable | None = yield Load(vm.pgt)
    if pgt is None:
        if vm.locking != POSTED_V5:
            yield Release(vm.mmu_lock, mode)
        return 0
    first, last = (start - vm.base) // PAGE_SIZE, (end - 1 - vm.base) // PAGE_SIZE
    young = yield from kvm_pgtable_stage2_test_clear_young(pgt, first, last + 1, mkold=mkold, shared=shared)
    yield Release(vm.mmu_lock, mode)
    return int(young)


def stage2_clear_young(sub: MmuNotifier, _mm: Mm, start: Hva, end: Hva, _fast_only: bool) -> Step[int]:
    """kvm_mmu_notifier_clear_young(), and clear_flush_young() without its flush."""
    return _age_gfn(cast("Stage2", sub.owner), start, end, mkold=True)


def stage2_test_young(sub: MmuNotifier, _mm: Mm, address: Hva, _fast_only: bool) -> Step[int]:
    """kvm_mmu_notifier_test_young()."""
    return _age_gfn(cast("Stage2", sub.owner), address, Hva(address + 1), mkold=False)


def kvm_free_stage2_pgd(sub: MmuNotifier, _mm: Mm) -> Step[None]:
    """kvm_mmu_notifier_release(): kvm_free_stage2_pgd() takes the tables away under mmu_lock, then destroys them."""
    vm = cast("Stage2", sub.owner)
    yield Acquire(vm.mmu_lock)
    pgt: Pgtable | None = yield Load(vm.pgt)
    yield Store(vm.pgt, None)
    yield Release(vm.mmu_lock)
    if pgt is not None:
        yield Free(pgt)


OPS: Final = MmuNotifierOps(
    name="kvm-arm64",
    release=kvm_free_stage2_pgd,
    clear_flush_young=stage2_clear_young,
    clear_young=stage2_clear_young,
    test_young=stage2_test_young,
)


def handle_access_fault(vm: Stage2, gfn: int) -> Step[None]:
    """handle_access_fault(), kvm_pgtable_stage2_mkyoung(): a shared walk. The first CPU to change the entry wins."""
    yield Acquire(vm.mmu_lock, READ)
    pgt: Pgtable | None = yield Load(vm.pgt)
    if pgt is not None:
        old: int = yield Load(pgt.ptes[gfn])
        if old & VALID and not old & AF:
            yield from stage2_try_set_pte(pgt.ptes[gfn], old, old | AF, shared=True)
    yield Release(vm.mmu_lock, READ)


def guest_access(vm: Stage2, pgt: Pgtable, gfn: int) -> Step[None]:
    """A guest uses a page that is mapped: the CPU needs the access flag, sets it itself, or faults."""
    while True:
        pte: int = yield Load(pgt.ptes[gfn])
        if pte & AF:
            return
        if vm.hardware_af:
            if (yield CompareExchange(pgt.ptes[gfn], pte, pte | AF)) == pte:
                return
        else:
            yield Work("vm_exit")
            yield from handle_access_fault(vm, gfn)
            yield Work("vm_entry")
        yield Again(gfn)
