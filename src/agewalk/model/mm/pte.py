"""Entries of the primary MMU's page tables, as x86 lays them out, and what may be concluded from one.

An entry is one integer in one cell. A leaf PMD maps 2 MiB and has PSE set; a non-leaf PMD holds the frame of its page
table and an accessed bit of its own (arch/x86/include/asm/pgtable_types.h).
"""

from typing import Final, TypeAlias

from agewalk.core.cells import Cell
from agewalk.core.effects import FetchAnd, Load, Step
from agewalk.core.units import Pfn

PRESENT: Final = 1 << 0
RW: Final = 1 << 1
ACCESSED: Final = 1 << 5
DIRTY: Final = 1 << 6
PSE: Final = 1 << 7
SPECIAL: Final = 1 << 9  # no struct page behind it: the shared zero page, device memory
PFN_SHIFT: Final = 12
NONE: Final = 0
# A swapped-out page leaves a non-present entry that names its slot. Bit 1 of a non-present entry is free for us.
SWAP: Final = 1 << 1
# What a question is about: one entry, or those that map neighbouring pages of one folio (the kernel's `ptep` and `nr`).
Entry: TypeAlias = Cell | tuple[Cell, ...]


def make_pte(pfn: Pfn, *, writable: bool, young: bool = True, dirty: bool = False, special: bool = False) -> int:
    """A present 4 KiB entry (or, with PSE or-ed in, a 2 MiB one)."""
    return (
        pfn << PFN_SHIFT
        | PRESENT
        | (RW if writable else 0)
        | (ACCESSED if young else 0)
        | (DIRTY if dirty else 0)
        | (SPECIAL if special else 0)
    )


def make_swap_pte(slot: int) -> int:
    """The entry of a page that is in swap slot `slot`."""
    return slot << PFN_SHIFT | SWAP


def pte_present(pte: int) -> bool:
    """Does the hardware use this entry?"""
    return bool(pte & PRESENT)


def pte_is_swap(pte: int) -> bool:
    """Non-present, and names a swap slot."""
    return not pte & PRESENT and bool(pte & SWAP)


def pte_young(pte: int) -> bool:
    """The accessed bit."""
    return bool(pte & ACCESSED)


def pte_dirty(pte: int) -> bool:
    """The dirty bit."""
    return bool(pte & DIRTY)


def pte_pfn(pte: int) -> Pfn:
    """The frame of a present entry; of a swap entry, its slot."""
    return Pfn(pte >> PFN_SHIFT)


def entry_young(entry: Entry) -> Step[bool]:
    """Is an entry young, or one of several? Changes nothing."""
    if isinstance(entry, Cell):
        return pte_young((yield Load(entry)))
    young = False
    for cell in entry:
        young |= pte_young((yield Load(cell)))
    return young


def ptep_test_and_clear_young(entry: Entry) -> Step[bool]:
    """ptep_test_and_clear_young() / pmdp_test_and_clear_young() (arch/x86/mm/pgtable.c): no TLB flush.

    Of several entries, test_and_clear_young_ptes() (include/linux/pgtable.h, 7.3): all become old; was one of them young?
    """
    if not isinstance(entry, Cell):
        young = False
        for cell in entry:
            young |= yield from ptep_test_and_clear_young(cell)
        return young
    if not pte_young((yield Load(entry))):
        return False
    return pte_young((yield FetchAnd(entry, ~ACCESSED)))
