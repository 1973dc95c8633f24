"""2 MiB folios: which pages they have, and what happens to all 512 at once (mm/huge_memory.c).

A folio of 2 MiB is mapped by one entry in each direct table, from its fault to its eviction; after that its pages come back
one by one. `agewalk.engine.state.layout` says where its bits live.
"""

import numpy as np
import numpy.typing as npt

from agewalk.engine.compiler.jit import Array, Int, entry, i64
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import HUGE_ENTRY, M_STATE, PTES


@entry
def is_huge(pmd: Array, page: Int) -> bool:
    """Is this page mapped by a 2 MiB entry? pmd: State.pmd."""
    return bool(pmd[page // PTES, M_STATE] == HUGE_ENTRY)


@entry
def folio_of(pmd: Array, page: Int) -> Int:
    """The page whose META holds generation and flags of the folio that `page` belongs to: itself, or the first of 512."""
    return i64(page // PTES * PTES) if pmd[page // PTES, M_STATE] == HUGE_ENTRY else i64(page)


@entry
def accessed(pte_bits: Array, first: Int) -> Int:
    """The or of 512 bytes of `pte_bits`: the accessed bits of the entries of 2 MiB, or of any smaller one inside."""
    bits = pte_bits[first]
    for page in range(first + 1, first + PTES):
        bits |= pte_bits[page]
    return i64(bits)


def folio_numbers(s: State, first: int, pages: int) -> npt.NDArray[np.int64]:
    """folio_of() of pages [first, first + pages), as an array."""
    numbers = np.arange(first, first + pages, dtype=np.int64)
    huge = s.pmd[numbers // PTES, M_STATE] == HUGE_ENTRY
    numbers[huge] = numbers[huge] // PTES * PTES
    return numbers
