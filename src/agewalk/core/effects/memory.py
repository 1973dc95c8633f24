"""Effects on memory: loads, stores, atomic operations, allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agewalk.core.cells import Cell, Object, Slab
from agewalk.core.effects.base import FULL, ONCE, Effect
from agewalk.core.errors import ModelError

if TYPE_CHECKING:
    from agewalk.core.direct import Direct


def used_after_free(cell: Cell) -> ModelError:
    """What every reading raises for a cell whose object is gone."""
    return ModelError(
        f"{cell.name} used after it was freed", hint="a walker outlived the lock or grace period that kept it"
    )


class Load(Effect):
    """Read a cell; answers its value."""

    __slots__ = ("cell", "order")

    def __init__(self, cell: Cell, order: str = ONCE) -> None:
        self.cell = cell
        self.order = order

    def perform(self, cpu: Direct) -> Any:
        cell = self.cell
        if cell.owner.freed:
            raise used_after_free(cell)
        return cell.value


class Store(Effect):
    """Write a cell; answers None."""

    __slots__ = ("cell", "order", "value")

    def __init__(self, cell: Cell, value: Any, order: str = ONCE) -> None:
        self.cell = cell
        self.value = value
        self.order = order

    def perform(self, cpu: Direct) -> None:
        cell = self.cell
        if cell.owner.freed:
            raise used_after_free(cell)
        cell.value = self.value


class _Rmw(Effect):
    """Read, modify, write in one step; answers the value found."""

    __slots__ = ("cell", "operand", "order")

    def __init__(self, cell: Cell, operand: Any, order: str = FULL) -> None:
        self.cell = cell
        self.operand = operand
        self.order = order

    def apply(self, found: Any) -> Any:
        """The value left behind when `found` was there."""
        raise NotImplementedError

    def perform(self, cpu: Direct) -> Any:
        cell = self.cell
        if cell.owner.freed:
            raise used_after_free(cell)
        found = cell.value
        cell.value = self.apply(found)
        return found


class FetchAnd(_Rmw):
    """cell &= operand (atomic_fetch_and; LOCK AND, or LOCK BTR with a mask of one cleared bit)."""

    __slots__ = ()

    def apply(self, found: int) -> int:
        return found & int(self.operand)


class FetchOr(_Rmw):
    """cell |= operand (atomic_fetch_or; also what the hardware does to an accessed or dirty bit)."""

    __slots__ = ()

    def apply(self, found: int) -> int:
        return found | int(self.operand)


class FetchAdd(_Rmw):
    """cell += operand (atomic_fetch_add)."""

    __slots__ = ()

    def apply(self, found: int) -> int:
        return found + int(self.operand)


class Exchange(_Rmw):
    """cell = operand (xchg)."""

    __slots__ = ()

    def apply(self, found: Any) -> Any:
        return self.operand


class CompareExchange(Effect):
    """cell = new if cell == expected (cmpxchg); answers the value found: it worked iff that equals `expected`."""

    __slots__ = ("cell", "expected", "new", "order")

    def __init__(self, cell: Cell, expected: Any, new: Any, order: str = FULL) -> None:
        self.cell = cell
        self.expected = expected
        self.new = new
        self.order = order

    def perform(self, cpu: Direct) -> Any:
        cell = self.cell
        if cell.owner.freed:
            raise used_after_free(cell)
        found = cell.value
        if found == self.expected:
            cell.value = self.new
        return found


class WaitFor(Effect):
    """Spin with cpu_relax() until cell & mask == want, then go on with a fresh load; answers that value."""

    __slots__ = ("cell", "mask", "want")

    def __init__(self, cell: Cell, mask: int, want: int) -> None:
        self.cell = cell
        self.mask = mask
        self.want = want

    def perform(self, cpu: Direct) -> Any:
        cell = self.cell
        if cell.owner.freed:
            raise used_after_free(cell)
        if cell.value & self.mask != self.want:
            raise ModelError(f"waits for ever on {cell.name}", hint="nobody else runs who could change it")
        return cell.value


class Free(Effect):
    """kfree(): gone at once; a second free or a later use is a bug that every reading reports."""

    __slots__ = ("memory",)

    def __init__(self, memory: Object) -> None:
        self.memory = memory

    def perform(self, cpu: Direct) -> None:
        cpu.free(self.memory)


class Reuse(Effect):
    """An allocator hands out memory that was free: from now on it is alive again. Answers the memory."""

    __slots__ = ("memory",)

    def __init__(self, memory: Object) -> None:
        self.memory = memory

    def perform(self, cpu: Direct) -> Object:
        self.memory.freed = False
        return self.memory


class Alloc(Effect):
    """kmem_cache_alloc(): answers an Object of the slab that nobody uses, freed memory first if the slab reuses it."""

    __slots__ = ("slab",)

    def __init__(self, slab: Slab) -> None:
        self.slab = slab

    def perform(self, cpu: Direct) -> Object:
        slab = self.slab
        if slab.free:
            memory = slab.free.pop(0)
            memory.freed = False
            return memory
        return slab.object(len(slab.objects))
