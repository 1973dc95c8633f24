"""A process's address space: VMAs, page tables, and the list of secondary MMUs that mirror it.

Page tables have two levels here, the two that MGLRU reads bits from: PMD entries (one per 2 MiB) and PTEs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from agewalk.core.cells import Cell, Lock, Object, Srcu
from agewalk.core.units import PAGE_SHIFT, PAGE_SIZE, PMD_SHIFT, PTRS_PER_PTE, Hva, Pfn
from agewalk.model.mm import pte as p
from agewalk.model.mm.mmu_notifier import NotifierSubscriptions

if TYPE_CHECKING:
    from agewalk.model.mm.filemap import AddressSpace


@dataclass(frozen=True)
class Vma:
    """A mapping of [start, end), bytes, page aligned. `special` = VM_SPECIAL (no look-around), `inaccessible` = PROT_NONE.

    file: what is mapped, shared, if not `anon`; `file_page` is the page of it that `start` shows. huge: take 2 MiB pages where
    they fit (THP "always").
    """

    start: Hva
    end: Hva
    anon: bool = True
    locked: bool = False
    special: bool = False
    inaccessible: bool = False
    sequential: bool = False  # VM_SEQ_READ or VM_RAND_READ: no recency to be learned
    file: AddressSpace | None = None
    file_page: int = 0
    huge: bool = False
    executable: bool = False  # VM_EXEC


class Ptes(dict[int, Cell]):
    """The entries of a page table, by index, each made when it is first asked for. A dict, so that finding one is quick."""

    __slots__ = ("_table",)

    def __init__(self, table: PteTable) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, index: int) -> Cell:
        if not 0 <= index < PTRS_PER_PTE:
            raise IndexError(index)
        cell = self[index] = Cell(self._table, index)
        return cell

    def every(self) -> Iterator[Cell]:
        """All 512, in their order."""
        return (self[i] for i in range(PTRS_PER_PTE))


class PteTable(Object):
    """A page table of 512 PTEs and its split lock."""

    __slots__ = ("pfn", "ptes", "ptl")

    def __init__(self, pfn: Pfn, label: str) -> None:
        super().__init__(label)
        self.pfn = pfn
        self.ptes = Ptes(self)
        self.ptl = Lock(self, "ptl")


class Mm(Object):
    """struct mm_struct.

    pmds: PMD entry cells by `hva >> 21`; a non-leaf entry's frame finds its table in `tables`. Both dictionaries only
    gain entries, when a table is built for an address (pte_alloc under page_table_lock).
    notifier_subscriptions: None until the first register, then kept for the life of the mm (mm_has_notifiers()).
    spare_subscriptions: the memory that the first register will take.
    used_since_walk: bit of mm->lru_gen.bitmap, set by lru_gen_use_mm() at a context switch.
    other_anon_pages: what the process has beside its `vmas`, and in another memcg: counted (MM_ANONPAGES), never walked.
    """

    __slots__ = (
        "mmap_lock",
        "notifier_subscriptions",
        "other_anon_pages",
        "page_table_lock",
        "pmd_ptl",
        "pmds",
        "spare_subscriptions",
        "tables",
        "used_since_walk",
        "vmas",
    )

    def __init__(self, label: str, vmas: tuple[Vma, ...] = (), srcu: Srcu | None = None) -> None:
        super().__init__(label)
        self.vmas = Cell(self, "vmas", vmas)  # ascending, disjoint; changes under mmap_lock for write
        self.mmap_lock = Lock(self, "mmap_lock", sleeps=True)
        self.page_table_lock = Lock(self, "page_table_lock")
        self.pmd_ptl = Lock(self, "pmd_ptl")
        self.pmds: dict[int, Cell] = {}
        self.tables: dict[Pfn, PteTable] = {}
        none: NotifierSubscriptions | None = None
        self.notifier_subscriptions = Cell(self, "notifier_subscriptions", none)
        self.spare_subscriptions = NotifierSubscriptions(f"{label}.subscriptions", srcu or Srcu("mmu_notifier.srcu"))
        self.other_anon_pages = 0
        self.used_since_walk = Cell(self, "used_since_walk", value=True)

    def pmd_cell(self, hva: Hva) -> Cell:
        """The PMD entry that translates `hva`; made (as none) when first asked for."""
        index = hva >> PMD_SHIFT
        if index not in self.pmds:
            self.pmds[index] = Cell(self, f"pmd{index:#x}", p.NONE)
        return self.pmds[index]

    def table_of(self, pmd: int) -> PteTable:
        """The page table that a present non-leaf PMD value points to."""
        return self.tables[p.pte_pfn(pmd)]

    def new_table(self, hva: Hva) -> PteTable:
        """A page table for the 2 MiB around `hva`, not linked yet. Its frame number is its own address space: the PMD index."""
        pfn = Pfn(hva >> PMD_SHIFT)
        table = PteTable(pfn, f"{self.label}.ptes{pfn:#x}")
        self.tables[pfn] = table
        return table


def pte_index(hva: Hva) -> int:
    """Index of `hva`'s PTE in its table."""
    return hva >> PAGE_SHIFT & PTRS_PER_PTE - 1


def page_of(hva: Hva) -> Hva:
    """Address of the 4 KiB page that holds `hva`."""
    return Hva(hva & ~(PAGE_SIZE - 1))


_end = attrgetter("end")


def find_vma(vmas: tuple[Vma, ...], hva: Hva) -> Vma | None:
    """The VMA that holds `hva`, or None. `vmas` are ascending and disjoint."""
    at = bisect_right(vmas, hva, key=_end)
    return vmas[at] if at < len(vmas) and vmas[at].start <= hva else None
