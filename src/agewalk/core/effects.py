"""The vocabulary in which the model is written.

A kernel function becomes a generator that yields effects and is sent their answers:

    def kvm_may_have_shadow_mmu_sptes(kvm: Kvm) -> Step[bool]:
        return not kvm.tdp_mmu_enabled or bool((yield Load(kvm.indirect_shadow_pages)))

The convention:

* whatever two CPUs can touch at once is a `Cell`, `Lock`, `Srcu` or `ListHead`, and is touched by yielding an effect;
* between two yields a function only computes: on its locals, on values it was sent, on facts fixed when the world was
  built. It never looks into a cell, keeps no state elsewhere, and is deterministic in what it is sent;
* decisions are plain functions on values; one function calls another by `yield from`;
* a loop that another CPU may keep alive for ever begins each round with `Again(...)`, naming all it still depends on.

`perform` is the direct reading of an effect: one CPU, one step after the other. The exhaustive (`agewalk.check`) and
the timed reading (`agewalk.timing`) have their own tables and use the classes and their fields alone.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from agewalk.core.cells import Cell, ListHead, Lock, Object, Slab, Srcu
from agewalk.core.errors import ModelError

if TYPE_CHECKING:
    from agewalk.core.direct import Direct

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

    def perform(self, cpu: Direct) -> Any:
        """Do it now, alone; the answer is what the generator is sent."""
        raise NotImplementedError(type(self).__name__)

    def __repr__(self) -> str:
        slots = (s for c in reversed(type(self).__mro__) for s in getattr(c, "__slots__", ()))
        return f"{type(self).__name__}({', '.join(str(getattr(self, s)) for s in slots)})"


def _used_after_free(cell: Cell) -> ModelError:
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
            raise _used_after_free(cell)
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
            raise _used_after_free(cell)
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
            raise _used_after_free(cell)
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
            raise _used_after_free(cell)
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
            raise _used_after_free(cell)
        if cell.value & self.mask != self.want:
            raise ModelError(f"waits for ever on {cell.name}", hint="nobody else runs who could change it")
        return cell.value


class Acquire(Effect):
    """Take a lock, waiting as long as it takes."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode

    def perform(self, cpu: Direct) -> None:
        lock = self.lock
        if lock.writer or (lock.readers and self.mode == WRITE):
            raise ModelError(f"waits for ever for {lock.name}", hint="it is held already, by this very path")
        cpu.hold(lock, self.mode)


class TryAcquire(Effect):
    """Take a lock if nobody has to be waited for; answers whether it is held now."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode

    def perform(self, cpu: Direct) -> bool:
        lock = self.lock
        if lock.writer or (lock.readers and self.mode == WRITE):
            return False
        cpu.hold(lock, self.mode)
        return True


class Release(Effect):
    """Give a lock back."""

    __slots__ = ("lock", "mode")

    def __init__(self, lock: Lock, mode: str = WRITE) -> None:
        self.lock = lock
        self.mode = mode

    def perform(self, cpu: Direct) -> None:
        cpu.drop(self.lock, self.mode)


class IsContended(Effect):
    """Does somebody wait for this lock (spin_is_contended)? Alone: no."""

    __slots__ = ("lock",)

    def __init__(self, lock: Lock) -> None:
        self.lock = lock

    def perform(self, cpu: Direct) -> bool:
        return False


class PreemptDisable(Effect):
    """preempt_disable()."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        cpu.atomic += 1


class PreemptEnable(Effect):
    """preempt_enable()."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        cpu.atomic -= 1


class RcuReadLock(Effect):
    """rcu_read_lock(): nothing deferred from now on is freed before the matching unlock."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        cpu.rcu += 1


class RcuReadUnlock(Effect):
    """rcu_read_unlock()."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        cpu.leave_rcu()


class CallRcu(Effect):
    """call_rcu(): free `memory` once every RCU reader of now has left."""

    __slots__ = ("memory",)

    def __init__(self, memory: Object) -> None:
        self.memory = memory

    def perform(self, cpu: Direct) -> None:
        cpu.free_after_rcu(self.memory)


class SynchronizeRcu(Effect):
    """synchronize_rcu(): wait until every RCU reader of now has left."""

    __slots__ = ()

    def perform(self, cpu: Direct) -> None:
        if cpu.rcu:
            raise ModelError("synchronize_rcu() inside an RCU read section", hint="it would wait for itself")


class SrcuReadLock(Effect):
    """srcu_read_lock(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain

    def perform(self, cpu: Direct) -> None:
        self.domain.readers += 1


class SrcuReadUnlock(Effect):
    """srcu_read_unlock(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain

    def perform(self, cpu: Direct) -> None:
        domain = self.domain
        domain.readers -= 1
        if not domain.readers and domain.deferred:
            for memory in domain.deferred:
                cpu.free(memory)
            domain.deferred.clear()


class CallSrcu(Effect):
    """call_srcu(): free `memory` once every reader of the domain of now has left."""

    __slots__ = ("domain", "memory")

    def __init__(self, domain: Srcu, memory: Object) -> None:
        self.domain = domain
        self.memory = memory

    def perform(self, cpu: Direct) -> None:
        if self.domain.readers:
            self.domain.deferred.append(self.memory)
        else:
            cpu.free(self.memory)


class SynchronizeSrcu(Effect):
    """synchronize_srcu(domain)."""

    __slots__ = ("domain",)

    def __init__(self, domain: Srcu) -> None:
        self.domain = domain

    def perform(self, cpu: Direct) -> None:
        if self.domain.readers:
            raise ModelError(
                f"synchronize_srcu({self.domain}) inside its own read section", hint="it would wait for itself"
            )


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


class ListAdd(Effect):
    """list_add() to the head, or list_add_tail() if `tail`."""

    __slots__ = ("head", "member", "tail")

    def __init__(self, head: ListHead, member: Object, *, tail: bool = False) -> None:
        self.head = head
        self.member = member
        self.tail = tail

    def perform(self, cpu: Direct) -> None:
        items = self.head.items
        if self.member in items:
            raise ModelError(
                f"{self.member!r} is on {self.head!r} already", hint="list_add() of a linked member corrupts the list"
            )
        items[self.member] = None
        if not self.tail:
            items.move_to_end(self.member, last=False)


class ListDel(Effect):
    """list_del() from a list that it is on."""

    __slots__ = ("head", "member")

    def __init__(self, head: ListHead, member: Object) -> None:
        self.head = head
        self.member = member

    def perform(self, cpu: Direct) -> None:
        if self.member not in self.head.items:
            raise ModelError(
                f"{self.member!r} is not on {self.head!r}", hint="list_del() of a stranger corrupts its list"
            )
        del self.head.items[self.member]


class ListEnd(Effect):
    """The member at the tail (lru_to_folio), or at the head if `head_side`; None if the list is empty."""

    __slots__ = ("head", "head_side")

    def __init__(self, head: ListHead, *, head_side: bool = False) -> None:
        self.head = head
        self.head_side = head_side

    def perform(self, cpu: Direct) -> Object | None:
        items = self.head.items
        return next(iter(items) if self.head_side else reversed(items), None)


class IndirectCall(Effect):
    """A call through a pointer (a retpoline where those are on), made just before the callee's first step."""

    __slots__ = ("target",)

    def __init__(self, target: str) -> None:
        self.target = target

    def perform(self, cpu: Direct) -> None:
        cpu.counters["indirect_calls"] += 1


class Count(Effect):
    """Something that people count happened: a kernel function was entered, a PTE was read. No other CPU can see it."""

    __slots__ = ("n", "what")

    def __init__(self, what: str, n: int = 1) -> None:
        self.what = what
        self.n = n

    def perform(self, cpu: Direct) -> None:
        cpu.counters[self.what] += self.n


class Work(Effect):
    """Time spent on nothing that is shared: zeroing a page, a VM exit, a read from swap; `n` of them. No effect on cells."""

    __slots__ = ("n", "what")

    def __init__(self, what: str, n: int = 1) -> None:
        self.what = what
        self.n = n

    def perform(self, cpu: Direct) -> None:
        cpu.counters["work:" + self.what] += self.n


class FlushTlb(Effect):
    """A TLB flush with IPIs to the CPUs that run `who` (an mm or a VM), waiting for them to answer."""

    __slots__ = ("who",)

    def __init__(self, who: Object) -> None:
        self.who = who

    def perform(self, cpu: Direct) -> None:
        cpu.counters["tlb_flushes"] += 1


class Choose(Effect):
    """Anything from 0 to n - 1 may happen here; the exhaustive reading tries all, the direct one takes 0."""

    __slots__ = ("n", "what")

    def __init__(self, n: int, what: str) -> None:
        self.n = n
        self.what = what

    def perform(self, cpu: Direct) -> int:
        return 0


class Again(Effect):
    """Start of another round of a loop. All that the rest of this thread depends on is `state`, so that the exhaustive
    reading can recognise a round it has seen; for the other readings it is nothing."""

    __slots__ = ("state",)

    def __init__(self, *state: Hashable) -> None:
        self.state = state

    def perform(self, cpu: Direct) -> None:
        pass


class Warn(Effect):
    """A WARN_ON() or BUG_ON() of the kernel was hit, or a rule of the model broken: a violation in every reading."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def perform(self, cpu: Direct) -> None:
        raise ModelError(f"WARN: {self.what}", hint="the kernel would print a splat here")
