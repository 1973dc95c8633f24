"""The two Bloom filters that tell a page-table walk where to look (mm/vmscan.c, 6.12).

A filter has 2^15 bits, here one integer in one cell, and two hash functions; the item is the *address of a PMD entry*. A
real kernel hashes its own pointer; ours is a stand-in: PMD pages of one mm lie side by side in a direct map, those of
different mms far apart. So the false positives of a real kernel differ from ours in place, not in number.
"""

from __future__ import annotations

from typing import Final

from agewalk.core.cells import Cell
from agewalk.core.effects import FetchOr, Load, Step, Store
from agewalk.core.units import PMD_SHIFT, Hva

BLOOM_FILTER_SHIFT: Final = 15
NR_BLOOM_FILTERS: Final = 2
GOLDEN_RATIO_64: Final = 0x61C8864680B583EB  # include/linux/hash.h
_DIRECT_MAP: Final = 0xFFFF_8880_0000_0000
_MM_STRIDE: Final = 1 << 30  # room for the PMD pages of 47 bits of addresses


def hash_ptr(address: int, bits: int) -> int:
    """hash_ptr() on a 64-bit machine."""
    return (address * GOLDEN_RATIO_64 & (1 << 64) - 1) >> 64 - bits


def pmd_entry_address(mm_number: int, hva: Hva) -> int:
    """Where the PMD entry that translates `hva` in the `mm_number`-th mm would lie."""
    return _DIRECT_MAP + mm_number * _MM_STRIDE + (hva >> PMD_SHIFT) * 8


def get_item_key(address: int) -> tuple[int, int]:
    """The two bits of an item."""
    hashed = hash_ptr(address, BLOOM_FILTER_SHIFT * 2)
    return hashed & (1 << BLOOM_FILTER_SHIFT) - 1, hashed >> BLOOM_FILTER_SHIFT


def test_bloom_filter(filters: tuple[Cell, Cell], seq: int, item: int) -> Step[bool]:
    """May the page table behind `item` be worth a visit? A filter that is not there says yes to all."""
    cell = filters[seq % NR_BLOOM_FILTERS]
    bits: int | None = yield Load(cell)
    if bits is None:
        return True
    first, second = get_item_key(item)
    if not bits >> first & 1:
        return False
    bits = yield Load(cell)
    return bits is not None and bool(bits >> second & 1)


def update_bloom_filter(filters: tuple[Cell, Cell], seq: int, item: int) -> Step[None]:
    """Remember `item`: two bits, set one after the other where they are not set yet."""
    cell = filters[seq % NR_BLOOM_FILTERS]
    bits: int | None = yield Load(cell)
    if bits is None:
        return
    for key in get_item_key(item):
        if not (yield Load(cell)) >> key & 1:
            yield FetchOr(cell, 1 << key)


def reset_bloom_filter(filters: tuple[Cell, Cell], seq: int) -> Step[None]:
    """Empty the filter of `seq`; the first time, allocate it. The kernel clears word after word; here it is one step."""
    yield Store(filters[seq % NR_BLOOM_FILTERS], 0)
