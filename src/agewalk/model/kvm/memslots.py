"""Memory slots: which guest frames a VM has, and at which addresses of the process they live.

include/linux/kvm_host.h (struct kvm_memory_slot) and virt/kvm/kvm_main.c. A VM has one set of slots per address space
(x86: 0 normal, 1 system management mode); two slots may show the same addresses (an alias).
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from agewalk.core.cells import Cell, Object
from agewalk.core.units import PAGE_SHIFT, PAGE_SIZE, Gfn, Hva, Pages


class Memslot(Object):
    """struct kvm_memory_slot: `npages` guest frames from `base_gfn`, at process addresses from `userspace_addr` on.

    `rmap(level, gfn)` is the head of the chain of shadow SPTEs that map the gfn at that level (struct kvm_rmap_head in
    slot->arch.rmap[level - 1]): 0, an address of one SPTE, or of a pte_list_desc with KVM_RMAP_MANY (`rmap.py`).
    """

    __slots__ = ("_rmaps", "as_id", "base_gfn", "end_gfn", "end_hva", "level_bits", "npages", "userspace_addr")

    def __init__(
        self, label: str, base_gfn: Gfn, npages: Pages, userspace_addr: Hva, *, as_id: int = 0, level_bits: int = 9
    ) -> None:
        super().__init__(label)
        self.base_gfn = base_gfn
        self.npages = npages
        self.userspace_addr = userspace_addr
        self.end_gfn = Gfn(base_gfn + npages)  # the first after the slot
        self.end_hva = Hva(userspace_addr + (npages << PAGE_SHIFT))
        self.as_id = as_id
        self.level_bits = level_bits
        self._rmaps: dict[tuple[int, int], Cell] = {}

    def rmap(self, level: int, gfn: int) -> Cell:
        """gfn_to_rmap(): the head for `gfn` at `level`."""
        shift = self.level_bits * (level - 1)
        key = level, (gfn >> shift) - (self.base_gfn >> shift)
        head = self._rmaps.get(key)
        if head is None:
            head = self._rmaps[key] = Cell(self, f"rmap{level}[{key[1]}]", 0)
        return head

    def hva_of(self, gfn: int) -> Hva:
        """gfn_to_hva_memslot()."""
        return Hva(self.userspace_addr + ((gfn - self.base_gfn) << PAGE_SHIFT))

    def gfn_of(self, hva: int) -> Gfn:
        """hva_to_gfn_memslot(): rounds down."""
        return Gfn(self.base_gfn + ((hva - self.userspace_addr) >> PAGE_SHIFT))


class GfnRange(NamedTuple):
    """struct kvm_gfn_range: frames [start, end) of `slot`. lockless: the caller holds no mmu_lock (6.15)."""

    slot: Memslot
    start: Gfn
    end: Gfn
    lockless: bool = True
    may_block: bool = False


SlotSet: TypeAlias = tuple[tuple[Memslot, bool], ...]  # (slot, KVM_MEMSLOT_INVALID); the value of a memslots cell


def slot_of_gfn(slots: SlotSet, gfn: int) -> tuple[Memslot, bool] | None:
    """__gfn_to_memslot(): the slot that holds `gfn` and whether it is being deleted, or None (MMIO)."""
    for entry in slots:
        if entry[0].base_gfn <= gfn < entry[0].end_gfn:
            return entry
    return None


def gfn_ranges(slots: SlotSet, start: int, end: int, *, lockless: bool, may_block: bool) -> list[GfnRange]:
    """The parts of [start, end) (bytes of the process) that slots show, as gfns: {gfn(page) | page meets the range}."""
    found = []
    for slot, _ in slots:
        if slot.userspace_addr < end and start < slot.end_hva:
            first = slot.gfn_of(max(start, slot.userspace_addr))
            last = slot.gfn_of(min(end, slot.end_hva) + PAGE_SIZE - 1)
            found.append(GfnRange(slot, first, last, lockless, may_block))
    return found
