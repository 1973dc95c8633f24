"""A page table of the primary MMU: 512 PTEs under one lock."""

from __future__ import annotations

from collections.abc import Iterator

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.units import PTRS_PER_PTE, Pfn


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
