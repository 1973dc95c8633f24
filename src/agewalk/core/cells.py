"""The places that two CPUs can touch at once.

Model code never reads or writes a `value` itself: it yields an effect (`effects.py`) and is sent the answer. Only a
reading (direct, exhaustive, timed) looks inside. Building a world, before anything runs, may set values freely.

Every cell belongs to an `Object`, an allocation: cells live and die together, and a reading that sees a cell used
after its object was freed has found a bug. Names are made only when somebody asks (a quarter of a million pages have
no need of strings).
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class Object:
    """An allocation: what kmalloc returned. Subclasses hang their cells on it."""

    __slots__ = ("freed", "label", "slab")

    def __init__(self, label: str) -> None:
        self.label = label
        self.freed = False
        self.slab: Slab | None = None  # where it goes back to when freed, if `Alloc` gave it out

    def __repr__(self) -> str:
        return self.label


class Cell:
    """One word of memory: an integer, a bool, None or a reference to an Object. `owner.label` + `field` is its name.

    line: the timed reading's alone, where the cell is in the caches.
    """

    __slots__ = ("field", "line", "owner", "value")

    def __init__(self, owner: Object, field: str | int, value: Any = 0) -> None:
        self.owner = owner
        self.field = field
        self.value = value
        self.line: Any = None

    @property
    def name(self) -> str:
        """As people read it: `kvm0.mmu_lock`, `pte_table3[17]`."""
        return (
            f"{self.owner.label}[{self.field}]" if isinstance(self.field, int) else f"{self.owner.label}.{self.field}"
        )

    def __repr__(self) -> str:
        return self.name


class Lock:
    """A spinlock, reader-writer lock or mutex of an owner. `writer` is who holds it exclusively, `readers` how many share it."""

    __slots__ = ("field", "owner", "readers", "sleeps", "writer")

    def __init__(self, owner: Object, field: str, *, sleeps: bool = False) -> None:
        self.owner = owner
        self.field = field
        self.sleeps = sleeps
        self.writer = False
        self.readers = 0

    @property
    def name(self) -> str:
        """As people read it: `kvm0.mmu_lock`."""
        return f"{self.owner.label}.{self.field}"

    def __repr__(self) -> str:
        return self.name


class Srcu:
    """A sleepable-RCU domain (struct srcu_struct): readers inside it, and frees that wait for them."""

    __slots__ = ("deferred", "label", "readers")

    def __init__(self, label: str) -> None:
        self.label = label
        self.readers = 0
        self.deferred: list[Object] = []

    def __repr__(self) -> str:
        return self.label


class ListHead:
    """A struct list_head with its members, in order. Its users hold the lock that the kernel's users hold, so one step
    is one effect; a list that is read under RCU is built from pointer cells instead."""

    __slots__ = ("items", "label")

    def __init__(self, label: str) -> None:
        self.label = label
        self.items: OrderedDict[Object, None] = OrderedDict()  # head first

    def __repr__(self) -> str:
        return self.label


class Slab:
    """A kmem_cache: `Alloc` takes Objects of one kind from it. `make(i)` builds the i-th, always the same one for the same i.

    reuse: does freed memory come back from `Alloc`, its cells as they were left? Whoever allocates initialises what it
    reads. Without, every allocation is new memory.
    """

    __slots__ = ("free", "label", "make", "objects", "reuse")

    def __init__(self, label: str, make: Callable[[int], Object], *, reuse: bool = False) -> None:
        self.label = label
        self.make = make
        self.reuse = reuse
        self.objects: list[Object] = []  # all that were ever made
        self.free: list[Object] = []

    def object(self, index: int) -> Object:
        """The `index`-th object, made when first asked for."""
        while len(self.objects) <= index:
            self.objects.append(self.make(len(self.objects)))
            self.objects[-1].slab = self
        return self.objects[index]

    def __repr__(self) -> str:
        return self.label
