"""The list of secondary MMUs: walked while it changes, and with several on it."""

from __future__ import annotations

from typing import Any, Final

from agewalk.checker.system import Result, System, Thread, at_end, monitor, sometimes
from agewalk.checker.systems import monitors as m
from agewalk.checker.systems.aging import NEIGHBOUR, NOT_FAST, TARGET, WALK, ask, primary
from agewalk.checker.systems.hosts import BASE, Host, build, kvm_kernel
from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.direct import Direct
from agewalk.core.effects import Acquire, Choose, Free, Load, Release, Step, Store, Warn
from agewalk.core.units import Gfn, Hva, Pages
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.kvm_main import kvm_create_vm, new_kvm
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.kvm.mmu.spte import is_accessed_spte
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm, MmuNotifier, MmuNotifierOps
from agewalk.model.protocols.base import AgingProtocol

NO_LATE: Final = "no callback runs after unregister returned"
OPTED: Final = m.OPTED_IN
NO_FLAG: Final = "this protocol has no flag: fast_only goes to all"
NOT_OLD: Final = "a page young in any subscriber is not taken for old"
STRANGER_SEEN: Final = "an eviction finds a page that only a stranger uses"


class Driver(Object):
    """A subscriber's own data, freed when it has unregistered."""

    __slots__ = ("data",)

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.data = Cell(self, "data", 1)


def driver(label: str, *, young: bool, opt_in: bool = True) -> tuple[Driver, MmuNotifier]:
    """A subscriber that is no KVM. young: has young operations, as none in the kernel but KVM does (6.12). opt_in: there is a
    flag by which subscribers say that they know fast_only (`AgingProtocol.opt_in`)."""
    owner = Driver(label)

    def asked(sub: MmuNotifier, _mm: Mm, _start: Hva, _end: Hva, fast_only: bool) -> Step[int]:
        yield Load(owner.data)
        if fast_only and opt_in and not sub.has_fast_aging:
            yield Warn(OPTED)
        return 0

    ops = MmuNotifierOps(label, clear_young=asked, clear_flush_young=asked) if young else MmuNotifierOps(label)
    return owner, MmuNotifier(f"{label}.mn", ops, owner)


def walk_vs_register(protocol: AgingProtocol, mmu: str) -> System:
    """A subscriber registers, unregisters and is freed while MGLRU walks the list."""
    host = build(protocol, mmu, write=True)
    owner, sub = driver("dev", young=True, opt_in=protocol.opt_in)
    entry = primary(host)

    def walker() -> Step[bool]:
        return (yield from ask(host, entry, TARGET))

    def comes_and_goes() -> Step[None]:
        yield from mmu_notifier.register(host.mm, sub)
        yield from mmu_notifier.unregister(host.mm, sub)
        yield Free(sub)
        yield Free(owner)

    return System(
        "walk-vs-register",
        (Thread("ager", walker), Thread("driver", comes_and_goes)),
        (
            monitor(m.COVERED),
            monitor(m.OPTED_IN),
            *m.word_rules(protocol),
            at_end("the page was young", bool, Result("ager")),
        ),
        about=(walk_vs_register.__doc__ or "").strip(),
    )


def second_vm(host: Host) -> Kvm:
    """Another VM on the same process memory, registered later, so asked first. Its SPTE is young, the first VM's old."""
    host.age()
    slot = Memslot("slot2", Gfn(0), Pages(1), BASE, level_bits=1)
    kvm = new_kvm(
        "kvm2",
        host.mm,
        host.kvm.host,
        host.kvm.protocol,
        kvm_kernel(host.protocol),
        config=host.kvm.config,
        slots=(slot,),
    )
    run = Direct().run
    run(kvm_create_vm(kvm))
    run(guest_access(kvm.vcpus[0], 0, write=True))
    return kvm


def subscribers(protocol: AgingProtocol, mmu: str) -> System:
    """Two VMs and two drivers on one mm, one of them without young operations; MGLRU asks as it walks and evicts."""
    host = build(protocol, mmu, write=True)
    other = second_vm(host)
    run = Direct().run
    for label, young in (("iommu", False), ("dev", True)):
        run(mmu_notifier.register(host.mm, driver(label, young=young, opt_in=protocol.opt_in)[1]))
    entry = primary(host)

    def asking() -> Step[tuple[str, bool]]:
        question = (WALK, TARGET, NEIGHBOUR)[(yield Choose(3, "question"))]
        return question, (yield from ask(host, entry, question))

    def touching() -> Step[None]:
        yield from host.touch(write=False)

    f, spte = host.kvm.format, other.vcpus[0].roots[0].value.entry(0)

    def answered(found: tuple[str, bool] | None, theirs: int) -> bool:
        """The page was young in the second VM: it is said, or it still is."""
        return found is None or found[1] or is_accessed_spte(f, theirs)

    return System(
        "subscribers",
        (Thread("ager", asking), Thread("vcpu", touching)),
        (
            monitor(m.COVERED), monitor(m.OPTED_IN), *m.word_rules(protocol),
            at_end(NOT_OLD, answered, Result("ager"), spte),
            sometimes("a walk happens", lambda r: r is not None and r[0] == WALK, Result("ager")),
        ),
        about=(subscribers.__doc__ or "").strip(),
        not_applicable={m.OPTED_IN: NOT_FAST if not protocol.fast_only else NO_FLAG}
        if not (protocol.fast_only and protocol.opt_in)
        else {},
    )  # fmt: skip


def neighbours(protocol: AgingProtocol, mmu: str) -> System:
    """A look-around asks about a neighbour while a vCPU uses it: only of those who can answer fast, without mmu_lock."""
    host = build(protocol, mmu, write=True)
    entry = primary(host)

    def asking() -> Step[bool]:
        inner = m.covers(host.protocol.neighbour(host.mm, entry, BASE), host.kvm, bool, entry)
        young: Any = yield from (m.lockless(inner, host.kvm) if protocol.fast_only else inner)
        return bool(young)

    def touching() -> Step[None]:
        yield from host.touch(write=True)

    return System(
        "neighbours",
        (Thread("ager", asking), Thread("vcpu", touching)),
        (monitor(m.COVERED), monitor(m.NO_LOCK), *m.word_rules(protocol)),
        about=(neighbours.__doc__ or "").strip(),
        not_applicable={} if protocol.fast_only else {m.NO_LOCK: NOT_FAST},
    )


class Stranger(Object):
    """A secondary MMU whose driver knows nothing of fast_only: its accessed bit, and the locks that it takes for it."""

    __slots__ = ("mutex", "spinlock", "young")

    def __init__(self) -> None:
        super().__init__("stranger")
        self.young = Cell(self, "young", value=True)
        self.spinlock = Lock(self, "lock")
        self.mutex = Lock(self, "mutex", sleeps=True)

    def clear_young(self, _sub: MmuNotifier, _mm: Mm, _start: Hva, _end: Hva, _fast_only: bool) -> Step[int]:
        """It waits for a spinlock, or sleeps, whatever is asked."""
        lock = (self.spinlock, self.mutex)[(yield Choose(2, "lock"))]
        yield Acquire(lock)
        young = yield Load(self.young)
        if young:
            yield Store(self.young, False)
        yield Release(lock)
        return int(young)


def stranger(protocol: AgingProtocol, mmu: str) -> System:
    """A subscriber that knows nothing of fast_only: it waits for its lock or sleeps, while its driver holds them."""
    host = build(protocol, mmu, write=True)
    host.age()
    entry, device = primary(host), Stranger()
    ops = MmuNotifierOps("stranger", clear_young=device.clear_young, clear_flush_young=device.clear_young)
    Direct().run(mmu_notifier.register(host.mm, MmuNotifier("stranger.mn", ops, device)))
    fast = {WALK, NEIGHBOUR} if protocol.fast_only else set()

    def asking() -> Step[tuple[str, bool]]:
        question = (WALK, TARGET, NEIGHBOUR)[(yield Choose(3, "question"))]
        inner = ask(host, entry, question)
        return question, (yield from (m.patient(inner) if question in fast else inner))

    def working() -> Step[None]:
        for lock in (device.spinlock, device.mutex):
            yield Acquire(lock)
            yield Release(lock)

    def seen(found: tuple[str, bool] | None) -> bool:
        return found is None or found[0] != TARGET or found[1]

    return System(
        "stranger",
        (Thread("ager", asking), Thread("device", working)),
        (
            monitor(m.NO_WAIT), monitor(m.COVERED), *m.word_rules(protocol),
            at_end(STRANGER_SEEN, seen, Result("ager")),
            sometimes("a walk happens", lambda r: r is not None and r[0] == WALK, Result("ager")),
        ),
        about=(stranger.__doc__ or "").strip(),
        not_applicable={} if protocol.fast_only else {m.NO_WAIT: NOT_FAST},
    )  # fmt: skip
