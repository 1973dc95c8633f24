"""Walks and look-around that ask about many pages at once, as v2 and v3 were posted (test_spte_young() and its two partners).

A window of up to 64 pages is tested when the walk comes to its first page, and cleared, by one call, at its last: the pages
that were found young and not passed over since.
"""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SHIFT, PAGE_SIZE, Hva
from agewalk.model.mglru.aging.generations import MIN_LRU_BATCH
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import ptep_test_and_clear_young


class YoungBitmap:
    """The window of one walk, which ends at `end`. Local to a thread: start, bits and last, the window's last page."""

    def __init__(self, lruvec: LruGen, mm: Mm, end: int) -> None:
        self.protocol = lruvec.protocol
        self.mm = mm
        self.end = end
        self.start = self.last = -1
        self.bits = 0

    def found(self, entry: int, address: int) -> Step[bool]:
        """test_spte_young(): is the page young, in its entry or in a secondary MMU?"""
        if address > self.last:
            self.start = address
            window = Hva(min(address + MIN_LRU_BATCH * PAGE_SIZE, self.end))
            self.last = window - PAGE_SIZE
            self.bits = yield from self.protocol.test_bitmap(self.mm, Hva(address), window)
        return p.pte_young(entry) or bool(self.bits >> (address - self.start >> PAGE_SHIFT) & 1)

    def taken(self, cell: Cell, entry: int, address: int) -> Step[None]:
        """clear_spte_young(), and the page's own entry."""
        yield from self._clear(address)
        if p.pte_young(entry):
            yield from ptep_test_and_clear_young(cell)

    def passed(self, address: int) -> Step[None]:
        """skip_spte_young(): the page is not aged, so its bit stays."""
        if address <= self.last:
            self.bits &= ~(1 << (address - self.start >> PAGE_SHIFT))
            yield from self._clear(address)

    def _clear(self, address: int) -> Step[None]:
        if address != self.last or not self.bits:
            return
        first = (self.bits & -self.bits).bit_length() - 1
        start = Hva(self.start + (first << PAGE_SHIFT))
        end = Hva(self.start + (self.bits.bit_length() << PAGE_SHIFT))
        yield from self.protocol.clear_bitmap(self.mm, start, end, self.bits >> first)


def young_bitmap(lruvec: LruGen, mm: Mm, end: int) -> YoungBitmap | None:
    """For a walk up to `end`, or None where each page is asked about by itself."""
    return YoungBitmap(lruvec, mm, end) if lruvec.features.asks_by_bitmap else None
