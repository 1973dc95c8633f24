"""Changing a folio's flags word as the kernel does: one compare-exchange that is repeated when another CPU was faster."""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.core.effects import Again, CompareExchange, Load, Step


def set_mask_bits(cell: Cell, mask: int, bits: int) -> Step[int]:
    """set_mask_bits() (include/linux/bitops.h): word = word & ~mask | bits; answers the word as it was before."""
    old: int = yield Load(cell)
    while True:
        found: int = yield CompareExchange(cell, old, old & ~mask | bits)
        if found == old:
            return old
        old = found
        yield Again(cell.name, old)
