"""Which cells share a cache line, and who owns it: the state from which contention comes.

Rule: cells of one owner share lines. Words of an array (integer fields: PTEs, SPTEs) lie eight to a line; named fields
and the locks of an owner lie on one line, unless `LAYOUT` says that the kernel's struct keeps them apart. A line is
modified or exclusive in one cache (`owner`), clean in several (`sharers`), or only in memory.
"""

from __future__ import annotations

import re
from typing import Any, Final
from zlib import crc32

from agewalk.core.cells import Cell, ListHead, Lock, Object

WORDS_PER_LINE: Final = 8  # 64 bytes
NOBODY: Final = -1

# Owner class -> field -> line of that owner; what is not named is on line "".
LAYOUT: Final[dict[str, dict[str, str]]] = {
    # struct mm_struct (include/linux/mm_types.h, 6.12): mm_count has a line to itself; then page_table_lock and
    # mmap_lock with its owner and wait list follow one another; the notifier pointer is far down. pmd_ptl is in the
    # struct page of the PMD table.
    "Mm": {
        "mmap_lock": "mmap_lock",
        "page_table_lock": "mmap_lock",
        "pmd_ptl": "pmd_page",
        "used_since_walk": "lru_gen",
        "vmas": "mm_mt",
    },
    # struct kvm (include/linux/kvm_host.h, 6.12): mmu_lock is first; slots and notifier counts follow lines later;
    # indirect_shadow_pages and tdp_mmu_roots are in kvm->arch.
    "Kvm": {
        "mmu_lock": "mmu_lock",
        "indirect_shadow_pages": "arch",
        "shadow_root_allocated": "arch",
        "tdp_mmu_roots": "roots",
        "tdp_mmu_pages_lock": "tdp_mmu_pages_lock",
    },
    # a page table's split lock is in its struct page / ptdesc, not in the table
    "PteTable": {"ptl": "ptdesc"},
    # struct lruvec (include/linux/mmzone.h, 6.12): lists, then lru_lock, then lrugen, whose sizes fill lines of their own
    "Lruvec": {"lru_lock": "lru_lock", "max_seq": "lrugen", "min_seq": "lrugen", "nr_pages": "nr_pages"},
}
# Owners whose cells are per-CPU variables (struct cpu_fbatches), and what those start as: each CPU has its own value.
PER_CPU: Final[dict[str, object]] = {"FolioBatches": ()}
# Counters that the kernel keeps per CPU and folds now and then (vm_stat of a zone, and its free pages behind the per-CPU
# page lists): one value here, but a line of its own on each CPU.
PER_CPU_COUNTERS: Final = frozenset({("Memory", "free"), ("Memory", "swap_used")})
PER_CPU_OWNERS: Final = frozenset({*PER_CPU, *(kind for kind, _ in PER_CPU_COUNTERS)})
# Named fields that are words of an array all the same: `pmd0x1f`.
_INDEXED: Final = re.compile(r"^([a-z_]+\d*?)(?:(0x[0-9a-f]+|\d+)|\[(\d+)\])$")


class Line:
    """One cache line. `busy` is when the last transfer of it ends; `watched` counts who spins on a cell of it.

    nobody: zeros, one for each CPU.
    """

    __slots__ = (
        "array", "busy", "copies", "element", "group", "kept_until", "lines", "memory", "nobody", "owner", "shared", "sharers",
        "watched",
    )  # fmt: skip

    def __init__(self, memory: object, group: int | str, nobody: bytearray, lines: LineMap | None = None) -> None:
        self.lines = lines  # of which machine; None if it is that of a per-CPU variable, which no cell names
        self.memory = memory  # the Object (or list) it belongs to
        self.group: Any = group
        self.array = group.__class__ is int
        # An element of an array, or a table's struct page; lines of other fields are used all the time and stay in caches.
        self.element = self.array or group == "ptdesc"
        self.owner = NOBODY
        self.sharers = 0  # how many CPUs have it, while nobody owns it
        self.copies = self.nobody = nobody  # which: 1 for each of them
        self.busy = 0
        self.shared = False  # two CPUs have touched it
        self.watched = 0
        self.kept_until = 0  # how many lines its last reader will have fetched when this one is no longer cached

    def share(self, cpu: int) -> None:
        """A CPU has a copy."""
        if not self.sharers:
            self.copies = bytearray(len(self.nobody))
        if not self.copies[cpu]:
            self.copies[cpu] = 1
            self.sharers += 1

    def own(self, cpu: int) -> None:
        """A CPU has the only copy."""
        self.owner = cpu
        if self.sharers:
            self.sharers = 0
            self.copies = self.nobody

    def __repr__(self) -> str:
        return f"{self.memory!r}/{self.group}"


class _Memmap:
    """The array of struct pages (vmemmap): folios of neighbouring frames are neighbours there, a line each."""

    def __repr__(self) -> str:
        return "vmemmap"


VMEMMAP: Final = _Memmap()


def _layout_of(memory: Any) -> dict[str, str]:
    for cls in type(memory).__mro__:
        if cls.__name__ in LAYOUT:
            return LAYOUT[cls.__name__]
    return {}


def group_of(memory: Any, field: str | int) -> int | str:
    """Which line of its owner a field is on."""
    if isinstance(field, int):
        return field // WORDS_PER_LINE
    named = _layout_of(memory).get(field.partition("[")[0])
    if named is not None:
        return named
    match = _INDEXED.match(field)
    if match:
        array, plain, bracketed = match.groups()
        number = plain or bracketed
        return crc32(array.encode()) + int(number, 16 if number.startswith("0x") else 10) // WORDS_PER_LINE
    return ""


def place(memory: Any, field: str | int) -> tuple[object, Any]:
    """(memory, line of it) for a field: struct page is an array element, whoever the folio is."""
    if field.__class__ is int:
        return memory, field // WORDS_PER_LINE
    kind = type(memory)
    groups = _groups.get(kind)
    if groups is None:
        groups = _groups[kind] = {}
    group = groups.get(field)
    if group is None:
        group = groups[field] = VMEMMAP if kind.__name__ == "Folio" else group_of(memory, field)
    return (VMEMMAP, memory.pfn) if group is VMEMMAP else (memory, group)


_groups: dict[type, dict[str | int, Any]] = {}  # of named fields, by the class of their owner


def is_per_cpu(cell: Cell) -> bool:
    """Has each CPU a line of its own for it?"""
    kind = cell.owner.__class__.__name__
    return kind in PER_CPU or (kind, cell.field) in PER_CPU_COUNTERS


class PerCpu:
    """What each CPU has in place of a per-CPU variable: its cell and that cell's line, by CPU, None before it is met."""

    __slots__ = ("cells", "lines")

    def __init__(self, cpus: int) -> None:
        self.cells: list[Any] = [None] * cpus
        self.lines: list[Any] = [None] * cpus


class LineMap:
    """Finds a cell's, lock's or list's line; makes it when first asked.

    While a machine runs, a cell itself knows its line (`Cell.line`), unless its owner is dead or it is a per-CPU variable.
    dead: what has been freed and not been handed out again, as far as somebody met it. per_cpu: the per-CPU variables met.
    """

    __slots__ = ("_lines", "_per_cpu_owner", "_placed", "dead", "nobody", "per_cpu")

    def __init__(self, cpus: int = 1) -> None:
        self.dead: set[Object] = set()
        self.nobody = bytearray(cpus)
        self.per_cpu: dict[Cell, PerCpu] = {}
        self._per_cpu_owner: dict[type, bool] = {}  # can cells of a class of owners be per-CPU variables?
        self._placed: dict[Object, list[Cell]] = {}  # cells that know their line, by owner
        self._lines: dict[object, dict[int | str, Line]] = {}  # of a memory, by group

    def at(self, memory: object, group: int | str) -> Line:
        """The line `group` of `memory`."""
        lines = self._lines.get(memory)
        if lines is None:
            lines = self._lines[memory] = {}
        line = lines.get(group)
        if line is None:
            line = lines[group] = Line(memory, group, self.nobody, self)
        return line

    def cell(self, cell: Cell) -> Line:
        """The line that a cell is on. Not for per-CPU variables, which have one on each CPU."""
        line: Line | None = cell.line
        if line is None or line.lines is not self:
            owner = cell.owner
            where = place(owner, cell.field)
            line = self.at(where[0], where[1])
            if owner.freed:
                self.dead.add(owner)
                return line
            cell.line = line
            placed = self._placed.get(owner)
            if placed is None:
                placed = self._placed[owner] = []
            placed.append(cell)
        return line

    def of_cpu(self, cell: Cell, cpu: int) -> PerCpu | None:
        """A per-CPU variable, with the cell and the line that this CPU has (CPU 0 has the original). None: it is none."""
        kind = type(cell.owner)
        can_be = self._per_cpu_owner.get(kind)
        if can_be is None:
            can_be = self._per_cpu_owner[kind] = kind.__name__ in PER_CPU_OWNERS
        if not can_be:
            return None
        mine = self.per_cpu.get(cell)
        if mine is None:
            if not is_per_cpu(cell):
                return None
            mine = self.per_cpu[cell] = PerCpu(len(self.nobody))
        if mine.cells[cpu] is None:
            start = PER_CPU.get(cell.owner.__class__.__name__, cell)
            mine.cells[cpu] = cell if cpu == 0 or start is cell else Cell(cell.owner, f"{cell.field}@{cpu}", start)
            mine.lines[cpu] = Line(cell.owner, f"{cell.field}@{cpu}", self.nobody)
        return mine

    def bury(self, owner: Object) -> None:
        """The memory has been freed: who touches a cell of it has to ask for its line."""
        self.dead.add(owner)
        for cell in self._placed.pop(owner, ()):
            cell.line = None

    def forget(self) -> None:
        """The machine has stopped: cells no longer know their lines, and another machine may run on them."""
        for cells in self._placed.values():
            for cell in cells:
                cell.line = None
        self._placed.clear()

    def lock(self, lock: Lock) -> Line:
        """The line of a lock's word."""
        return self.at(lock.owner, group_of(lock.owner, lock.field))

    def member(self, member: Object) -> Line:
        """The line of a struct list_head that is a field of what is on the list."""
        where = place(member, "lru")
        return self.at(where[0], where[1])

    def list_head(self, head: ListHead) -> Line:
        """The line of a struct list_head."""
        return self.at(head, "")
