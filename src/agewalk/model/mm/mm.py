"""Addresses and VMAs, as include/linux/mm.h and mm/mmap.c."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

from agewalk.core.units import PAGE_SHIFT, PAGE_SIZE, PTRS_PER_PTE, Hva
from agewalk.model.mm.mm_types import Vma


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
