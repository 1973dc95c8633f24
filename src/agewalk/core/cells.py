"""The places that two CPUs can touch at once.

Model code never reads or writes a `value` itself: it yields an effect (`agewalk.core.effects`) and is sent the answer. Only an
executor (direct, exhaustive, timed) looks inside. Building a host, before anything runs, may set values freely.

Every cell belongs to an `Object`, an allocation: cells live and die together, and an executor that sees a cell used after its
object was freed has found a bug. Names are made on demand: a quarter of a million pages have no need of strings.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from agewalk.core.errors import ModelError


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

    line: the timed executor's alone, where the cell is in the caches.
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
    """A spinlock, reader-writer lock or mutex of an owner. writer: is it held exclusively? readers: how many hold it shared."""

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

    def add(self, member: Object, *, tail: bool) -> None:
        """list_add(), or list_add_tail(). Raises ModelError for a member that is linked already."""
        if member in self.items:
            hint = "list_add() of a linked member corrupts the list"
            raise ModelError(f"{member!r} is on {self!r} already", hint=hint)
        self.items[member] = None
        if not tail:
            self.items.move_to_end(member, last=False)

    def remove(self, member: Object) -> None:
        """list_del(). Raises ModelError for a member of no list, or of another one."""
        if member not in self.items:
            hint = "list_del() of a member of another list corrupts that list"
            raise ModelError(f"{member!r} is not on {self!r}", hint=hint)
        del self.items[member]

    def end(self, *, head_side: bool) -> Object | None:
        """The member at the head, or at the tail; None if the list is empty."""
        return next(iter(self.items) if head_side else reversed(self.items), None)

    def __repr__(self) -> str:
        return self.label


class Slab:
    """A kmem_cache: `Alloc` takes Objects of one kind from it. `make(i)` builds the i-th, always the same one for the same i.

    reuse: freed memory comes back from `Alloc` with its old values; its new user initialises what it reads. Without, every
    allocation is new memory.
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

    def take(self) -> Object:
        """kmem_cache_alloc(): freed memory first, if the slab reuses it; it is alive from now on."""
        if self.free:
            memory = self.free.pop(0)
            memory.freed = False
            return memory
        return self.object(len(self.objects))

    def __repr__(self) -> str:
        return self.label
