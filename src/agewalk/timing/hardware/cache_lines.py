"""The cache lines of the cells, and which CPUs have them: the state that contention comes from.

`layout.py` says which cells share a line. A line is modified or exclusive in one cache (`owner`), clean in several (`sharers`),
or only in memory.
"""

from __future__ import annotations

from typing import Any, Final

from agewalk.core.cells import Cell, ListHead, Lock, Object
from agewalk.timing.hardware.layout import (
    PER_CPU,
    PER_CPU_OWNERS,
    VMEMMAP,
    WORDS_PER_LINE,
    group_of,
    is_per_cpu,
    is_struct_page,
)

NO_CPU: Final = -1


class Line:
    """One cache line. busy: when its last transfer ends. watched: how many threads spin on a cell of it. no_copies: a zero for
    each CPU, shared by all lines that no CPU shares."""

    __slots__ = (
        "array", "busy", "copies", "element", "group", "kept_until", "lines", "memory", "no_copies", "owner", "shared", "sharers",
        "watched",
    )  # fmt: skip

    def __init__(self, memory: object, group: int | str, no_copies: bytearray, lines: LineMap | None = None) -> None:
        self.lines = lines  # the machine's; None for a per-CPU variable's line, which no cell refers to
        self.memory = memory  # the Object (or list) it belongs to
        self.group: Any = group
        self.array = group.__class__ is int
        # Array elements and the struct pages of tables leave caches; lines of other fields are used all the time and stay.
        self.element = self.array or group == "ptdesc"
        self.owner = NO_CPU
        self.sharers = 0  # how many CPUs have it, while no CPU owns it
        self.copies = self.no_copies = no_copies  # 1 for each of those CPUs
        self.busy = 0
        self.shared = False  # two CPUs have touched it
        self.watched = 0
        self.kept_until = 0  # CpuState.fills at which the CPU that used it last has evicted it

    def share(self, cpu: int) -> None:
        """A CPU has a copy."""
        if not self.sharers:
            self.copies = bytearray(len(self.no_copies))
        if not self.copies[cpu]:
            self.copies[cpu] = 1
            self.sharers += 1

    def own(self, cpu: int) -> None:
        """A CPU has the only copy."""
        self.owner = cpu
        if self.sharers:
            self.sharers = 0
            self.copies = self.no_copies

    def __repr__(self) -> str:
        return f"{self.memory!r}/{self.group}"


def place(memory: Any, field: str | int) -> tuple[object, Any]:
    """(memory, line of it) for a field. All fields of a folio are on its struct page's line."""
    if field.__class__ is int:
        return memory, field // WORDS_PER_LINE
    kind = type(memory)
    groups = _groups.get(kind)
    if groups is None:
        groups = _groups[kind] = {}
    group = groups.get(field)
    if group is None:
        group = groups[field] = VMEMMAP if is_struct_page(kind) else group_of(memory, field)
    return (VMEMMAP, memory.pfn) if group is VMEMMAP else (memory, group)


_groups: dict[type, dict[str | int, Any]] = {}  # lines of named fields, by the class of their owner


class PerCpu:
    """A per-CPU variable: its cell and that cell's line on each CPU, None before first use."""

    __slots__ = ("cells", "lines")

    def __init__(self, cpus: int) -> None:
        self.cells: list[Any] = [None] * cpus
        self.lines: list[Any] = [None] * cpus


class LineMap:
    """Finds the line of a cell, lock or list; makes it on first use.

    While a machine runs, `Cell.line` holds the line, unless the owner is freed or the cell is a per-CPU variable. dead: objects
    that were freed and not allocated again, of those that were used. per_cpu: the per-CPU variables that were used.
    """

    __slots__ = ("_lines", "_per_cpu_owner", "_placed", "dead", "no_copies", "per_cpu")

    def __init__(self, cpus: int = 1) -> None:
        self.dead: set[Object] = set()
        self.no_copies = bytearray(cpus)
        self.per_cpu: dict[Cell, PerCpu] = {}
        self._per_cpu_owner: dict[type, bool] = {}  # whether cells of a class of owners can be per-CPU variables
        self._placed: dict[Object, list[Cell]] = {}  # cells whose `line` is set, by owner
        self._lines: dict[object, dict[int | str, Line]] = {}  # by owner and group

    def at(self, memory: object, group: int | str) -> Line:
        """The line `group` of `memory`."""
        lines = self._lines.get(memory)
        if lines is None:
            lines = self._lines[memory] = {}
        line = lines.get(group)
        if line is None:
            line = lines[group] = Line(memory, group, self.no_copies, self)
        return line

    def cell(self, cell: Cell) -> Line:
        """The line of a cell that is not a per-CPU variable."""
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
        """The per-CPU variable of a cell, with this CPU's cell and line filled in; None if it is none. CPU 0 has the
        original cell."""
        kind = type(cell.owner)
        can_be = self._per_cpu_owner.get(kind)
        if can_be is None:
            can_be = self._per_cpu_owner[kind] = kind in PER_CPU_OWNERS
        if not can_be:
            return None
        mine = self.per_cpu.get(cell)
        if mine is None:
            if not is_per_cpu(cell):
                return None
            mine = self.per_cpu[cell] = PerCpu(len(self.no_copies))
        if mine.cells[cpu] is None:
            start = PER_CPU.get(kind, cell)
            mine.cells[cpu] = cell if cpu == 0 or start is cell else Cell(cell.owner, f"{cell.field}@{cpu}", start)
            mine.lines[cpu] = Line(cell.owner, f"{cell.field}@{cpu}", self.no_copies)
        return mine

    def bury(self, owner: Object) -> None:
        """The memory has been freed: its cells no longer hold their lines, so that the next use is noticed."""
        self.dead.add(owner)
        for cell in self._placed.pop(owner, ()):
            cell.line = None

    def forget(self) -> None:
        """The machine has stopped: its cells no longer hold their lines, and another machine may run on them."""
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
