"""The base class of effects, and the effects on memory: loads, stores, atomic operations, allocation.

They are in one file because Cython makes objects faster whose base class it compiles with them (timing/compiled.py).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, TypeAlias, TypeVar

from agewalk.core.cells import Cell, Object, Slab
from agewalk.core.errors import ModelError

T = TypeVar("T")
Step: TypeAlias = Generator["Effect", Any, T]

# Memory order of an access. PLAIN may be torn from its neighbours by compiler and CPU; ONCE is READ_ONCE / WRITE_ONCE.
PLAIN: Final = "plain"
ONCE: Final = "once"
ACQUIRE: Final = "acquire"
RELEASE: Final = "release"
FULL: Final = "full"

# How a lock is held.
WRITE: Final = "write"  # exclusively; the only way to hold a spinlock or mutex
READ: Final = "read"


class Effect:
    """One indivisible step on shared state."""

    __slots__ = ()

    def __repr__(self) -> str:
        slots = (s for c in reversed(type(self).__mro__) for s in getattr(c, "__slots__", ()))
        return f"{type(self).__name__}({', '.join(str(getattr(self, s)) for s in slots)})"


def used_after_free(cell: Cell) -> ModelError:
    """Raised by every executor for a cell whose object has been freed."""
    return ModelError(
        f"{cell.name} used after it was freed", hint="a walker outlived the lock or grace period that kept it"
    )


class Load(Effect):
    """Read a cell; answers its value."""

    __slots__ = ("cell", "order")

    def __init__(self, cell: Cell, order: str = ONCE) -> None:
        self.cell = cell
        self.order = order


class Store(Effect):
    """Write a cell; answers None."""

    __slots__ = ("cell", "order", "value")

    def __init__(self, cell: Cell, value: Any, order: str = ONCE) -> None:
        self.cell = cell
        self.value = value
        self.order = order


class ReadModifyWrite(Effect):
    """Read, modify, write in one step; answers the value found."""

    __slots__ = ("cell", "operand", "order")

    def __init__(self, cell: Cell, operand: Any, order: str = FULL) -> None:
        self.cell = cell
        self.operand = operand
        self.order = order

    def apply(self, found: Any) -> Any:
        """The value left behind when `found` was there."""
        raise NotImplementedError


class FetchAnd(ReadModifyWrite):
    """cell &= operand (atomic_fetch_and; LOCK AND, or LOCK BTR with a mask of one cleared bit)."""

    __slots__ = ()

    def apply(self, found: int) -> int:
        return found & int(self.operand)


class FetchOr(ReadModifyWrite):
    """cell |= operand (atomic_fetch_or; also what the hardware does to an accessed or dirty bit)."""

    __slots__ = ()

    def apply(self, found: int) -> int:
        return found | int(self.operand)


class FetchAdd(ReadModifyWrite):
    """cell += operand (atomic_fetch_add)."""

    __slots__ = ()

    def apply(self, found: int) -> int:
        return found + int(self.operand)


class Exchange(ReadModifyWrite):
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


class WaitFor(Effect):
    """Spin with cpu_relax() until cell & mask == want, then go on with a fresh load; answers that value."""

    __slots__ = ("cell", "mask", "want")

    def __init__(self, cell: Cell, mask: int, want: int) -> None:
        self.cell = cell
        self.mask = mask
        self.want = want


class Free(Effect):
    """kfree(): gone at once; a second free or a later use is a bug that every executor reports."""

    __slots__ = ("memory",)

    def __init__(self, memory: Object) -> None:
        self.memory = memory


class Reuse(Effect):
    """An allocator hands out memory that was free: from now on it is alive again. Answers the memory."""

    __slots__ = ("memory",)

    def __init__(self, memory: Object) -> None:
        self.memory = memory


class Alloc(Effect):
    """kmem_cache_alloc(): answers an unused Object of the slab, freed memory first if the slab reuses it."""

    __slots__ = ("slab",)

    def __init__(self, slab: Slab) -> None:
        self.slab = slab
