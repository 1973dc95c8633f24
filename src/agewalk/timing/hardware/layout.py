"""Which fields of the kernel's structs share a cache line; which are per-CPU.

Rule: words of an array (integer fields: PTEs, SPTEs) lie eight to a line; named fields and the locks of an owner lie on one line,
unless `LAYOUT` says that the kernel's struct keeps them apart. Fields are named as their `Cell` or `Lock` is.
"""

from __future__ import annotations

import re
from typing import Any, Final
from zlib import crc32

from agewalk.core.cells import Cell
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.mm.mm_types import Folio, FolioBatches, Lruvec, Memory, Mm, PteTable

WORDS_PER_LINE: Final = 8  # 64 bytes

# Class of the owner -> field -> line of that owner. Fields that are not named are on line "".
LAYOUT: Final[dict[type, dict[str, str]]] = {
    # struct mm_struct (include/linux/mm_types.h, 6.12): mm_count has a line to itself; then page_table_lock and
    # mmap_lock with its owner and wait list follow one another; the notifier pointer is far down. pmd_ptl is in the
    # struct page of the PMD table.
    Mm: {
        "mmap_lock": "mmap_lock",
        "page_table_lock": "mmap_lock",
        "pmd_ptl": "pmd_page",
        "used_since_walk": "lru_gen",
        "vmas": "mm_mt",
    },
    # struct kvm (include/linux/kvm_host.h, 6.12): mmu_lock is first; slots and notifier counts follow lines later;
    # indirect_shadow_pages and tdp_mmu_roots are in kvm->arch.
    Kvm: {
        "mmu_lock": "mmu_lock",
        "indirect_shadow_pages": "arch",
        "shadow_root_allocated": "arch",
        "tdp_mmu_roots": "roots",
        "tdp_mmu_pages_lock": "tdp_mmu_pages_lock",
    },
    # a page table's split lock is in its struct page / ptdesc, not in the table
    PteTable: {"ptl": "ptdesc"},
    # struct lruvec (include/linux/mmzone.h, 6.12): lists, then lru_lock, then lrugen, whose sizes fill lines of their own
    Lruvec: {"lru_lock": "lru_lock", "max_seq": "lrugen", "min_seq": "lrugen", "nr_pages": "nr_pages"},
}
# Owners whose cells are per-CPU variables (struct cpu_fbatches), and the value that those start with on each CPU.
PER_CPU: Final[dict[type, object]] = {FolioBatches: ()}
# Counters that the kernel keeps per CPU and folds now and then (vm_stat of a zone, and its free pages behind the per-CPU
# page lists): one value here, but a line of its own on each CPU.
PER_CPU_COUNTERS: Final = frozenset({(Memory, "free"), (Memory, "swap_used")})
PER_CPU_OWNERS: Final = frozenset({*PER_CPU, *(kind for kind, _ in PER_CPU_COUNTERS)})
# Named fields that are words of an array all the same: `pmd0x1f`.
_INDEXED: Final = re.compile(r"^([a-z_]+\d*?)(?:(0x[0-9a-f]+|\d+)|\[(\d+)\])$")


class _Memmap:
    """The array of struct pages (vmemmap): folios of neighbouring frames are neighbours there, a line each."""

    def __repr__(self) -> str:
        return "vmemmap"


VMEMMAP: Final = _Memmap()


def group_of(memory: Any, field: str | int) -> int | str:
    """The line of its owner that a field is on."""
    if isinstance(field, int):
        return field // WORDS_PER_LINE
    layout = next((LAYOUT[cls] for cls in type(memory).__mro__ if cls in LAYOUT), {})
    named = layout.get(field.partition("[")[0])
    if named is not None:
        return named
    match = _INDEXED.match(field)
    if match:
        array, plain, bracketed = match.groups()
        number = plain or bracketed
        return crc32(array.encode()) + int(number, 16 if number.startswith("0x") else 10) // WORDS_PER_LINE
    return ""


def is_struct_page(kind: type) -> bool:
    """Whether objects of a class are struct pages, elements of `VMEMMAP`."""
    return kind is Folio


def is_per_cpu(cell: Cell) -> bool:
    """Whether each CPU has a line of its own for a cell."""
    kind = type(cell.owner)
    return kind in PER_CPU or (kind, cell.field) in PER_CPU_COUNTERS
