"""KVM's own memory: page tables (struct kvm_mmu_page) and the descriptors of rmap chains.

SPTEs and rmap heads hold integers, as in the kernel. A table's frame number and a descriptor's address are names that
`Kvm.page_at()` and `Kvm.desc_at()` turn back into objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agewalk.core.cells import Cell, Object
from agewalk.core.units import Pfn

if TYPE_CHECKING:
    from agewalk.model.kvm.kvm import GuestTables

PTE_LIST_EXT: Final = 14  # sptes[] of one pte_list_desc (arch/x86/kvm/mmu/mmu.c)


class MmuPage(Object):
    """struct kvm_mmu_page with its table. What never changes for as long as it is allocated is an attribute.

    pfn: frame number of the table. level: PG_LEVEL_* of its entries. base: first address that it translates: a gfn for
    direct tables, for others an address of `tables`' guest. direct: maps gfns one to one, shadows no guest table.
    invalid (role.invalid), refcount (tdp_mmu_root_count) and scheduled (tdp_mmu_scheduled_root_to_zap): roots of the TDP
    MMU. next, pprev: link on tdp_mmu_roots. parent: address of the SPTE that points here, or 0 (shadow pages).
    """

    __slots__ = (
        "_entries", "_mask", "_shift", "_translations", "ad_disabled", "as_id", "base", "direct", "invalid", "level", "next",
        "nonpresent", "parent", "pfn", "pprev", "refcount", "scheduled", "tables",
    )  # fmt: skip

    def __init__(
        self,
        label: str,
        pfn: Pfn,
        level: int,
        *,
        nonpresent: int,
        as_id: int = 0,
        base: int = 0,
        direct: bool = True,
        ad_disabled: bool = False,
        tables: GuestTables | None = None,
        level_bits: int = 9,
    ) -> None:
        super().__init__(label)
        self.pfn = pfn
        self.level = level
        self.nonpresent = nonpresent
        self.as_id = as_id
        self.base = base
        self.direct = direct
        self.ad_disabled = ad_disabled
        self.tables = tables
        self._shift = level_bits * (level - 1)
        self._mask = (1 << level_bits) - 1
        self._entries: dict[int, Cell] = {}
        self._translations: dict[int, Cell] = {}
        nobody: MmuPage | None = None
        link: Cell | None = None
        self.next = Cell(self, "next", nobody)
        self.pprev = Cell(self, "pprev", link)
        self.invalid = Cell(self, "invalid", value=False)
        self.scheduled = Cell(self, "scheduled", value=False)
        self.refcount = Cell(self, "refcount", 0)
        self.parent = Cell(self, "parent", 0)

    def entry(self, index: int) -> Cell:
        """spt[index]."""
        cell = self._entries.get(index)
        if cell is None:
            cell = self._entries[index] = Cell(self, index, self.nonpresent)
        return cell

    def entry_of(self, address: int) -> Cell:
        """The entry that translates `address` (in frames): spt[SPTE_INDEX(address, level)]."""
        index = address >> self._shift & self._mask
        cell = self._entries.get(index)
        return self.entry(index) if cell is None else cell

    def translation(self, index: int) -> Cell:
        """shadowed_translation[index]: the gfn that entry `index` maps, where that does not follow from its place."""
        cell = self._translations.get(index)
        if cell is None:
            cell = self._translations[index] = Cell(self, f"translation{index}", 0)
        return cell

    def address_of(self, index: int) -> int:
        """Address of entry `index`: what an rmap chain holds."""
        return self.pfn << 12 | index << 3

    @property
    def has_gptes(self) -> bool:
        """sp_has_gptes(): does it shadow guest page tables?"""
        return not self.direct


class PteListDesc(Object):
    """struct pte_list_desc: up to 14 SPTE addresses; only the head of a chain may be partly full."""

    __slots__ = ("address", "more", "spte_count", "sptes", "tail_count")

    def __init__(self, label: str, address: int) -> None:
        super().__init__(label)
        self.address = address
        self.more = Cell(self, "more", 0)  # address of the next descriptor, or 0
        self.spte_count = Cell(self, "spte_count", 0)
        self.tail_count = Cell(self, "tail_count", 0)
        self.sptes = [Cell(self, f"sptes{i}", 0) for i in range(PTE_LIST_EXT)]
