"""Neighbouring entries that map neighbouring pages of one folio (mm/internal.h, mm/util.c)."""

from __future__ import annotations

from typing import Final

from agewalk.core.effects import Load, Step
from agewalk.core.units import Hva
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import Folio, PteTable

_IGNORED: Final = p.ACCESSED | p.DIRTY | p.RW  # pte_batch_clear_ignored() without FPB_RESPECT_*


def folio_pte_batch(folio: Folio, table: PteTable, address: Hva, entry: int, most: int) -> Step[int]:
    """folio_pte_batch() (7.3): how many entries from `address` on, at most `most`, map the next pages of `folio`. They may differ
    in the accessed and dirty bit, and in being writable. entry: the one at `address`."""
    first = pte_index(address)
    most = min(most, folio.pfn + folio.pages - p.pte_pfn(entry))
    nr = 1
    while nr < most:
        found: int = yield Load(table.ptes[first + nr])
        if (found ^ entry + (nr << p.PFN_SHIFT)) & ~_IGNORED:
            break
        nr += 1
    return nr


def entries(table: PteTable, address: Hva, nr: int) -> p.Entry:
    """`nr` entries of a page table from `address` on."""
    first = pte_index(address)
    return table.ptes[first] if nr == 1 else tuple(table.ptes[first + i] for i in range(nr))
