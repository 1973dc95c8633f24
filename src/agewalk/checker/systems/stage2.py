"""arm64's stage 2 beside MGLRU: the lock that aging takes there, and the access flag with and without hardware."""

from __future__ import annotations

from typing import Final

from agewalk.checker.ghost import Ghost
from agewalk.checker.system import Result, System, Thread, at_end, sometimes
from agewalk.checker.systems.hosts import BASE, PFN
from agewalk.core.cells import Cell, Object
from agewalk.core.direct import Direct
from agewalk.core.effects import Choose, Load, Step, Store
from agewalk.core.units import PAGE_SIZE, Hva, Pfn
from agewalk.model.kvm.stage2 import AF, MERGED, POSTED, POSTED_V5, Pgtable, Stage2, guest_access
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm_types import Mm, Vma
from agewalk.model.protocols.base import AgingProtocol

MMUS: Final = {
    "arm64": "arm64's stage 2, the CPU sets the access flag",
    "arm64-noaf": "arm64's stage 2, the access flag is set by a fault",
}
AF_SEEN: Final = "an eviction that begins after an access, with no other question between, finds the page young"
FOUND_YOUNG: Final = "the eviction finds it young"
END: Final = Hva(BASE + PAGE_SIZE)


def locking_of(protocol: AgingProtocol) -> str:
    """How arm64 ages under a protocol: v4 to v6 brought a patch for it; all others leave it as merged."""
    return {"v4": POSTED, "v5": POSTED_V5, "v6": POSTED}.get(protocol.name, MERGED)


def build(protocol: AgingProtocol, mmu: str) -> tuple[Mm, Stage2, Pgtable, Cell]:
    """A process with one page that its VM has mapped and used; the process's entry is old."""
    mm = Mm("mm", (Vma(BASE, END),))
    mm.kvm_likely_fast = False  # kvm_arch_young_notifier_likely_fast() is x86's
    vm = Stage2("kvm", BASE, pages=1, hardware_af=mmu == "arm64", locking=locking_of(protocol))
    Direct().run(mmu_notifier.register(mm, vm.notifier))
    pgt: Pgtable = vm.pgt.value
    return mm, vm, pgt, Cell(Object("pt"), 0, p.make_pte(Pfn(PFN), writable=True, young=False))


def stage2_vs_exit(protocol: AgingProtocol, mmu: str) -> System:
    """The process of an arm64 VM exits, which frees stage 2, while its notifiers are asked about a page."""
    mm, vm, _, _ = build(protocol, mmu)

    def ager() -> Step[bool]:
        if (yield Choose(2, "question")):
            return bool((yield from mmu_notifier.clear_young(mm, BASE, END)))
        return bool((yield from mmu_notifier.test_young(mm, BASE)))

    return System(
        "stage2-vs-exit",
        (Thread("ager", ager), Thread("exit", lambda: mmu_notifier.release(mm))),
        (
            at_end("stage 2 is gone", lambda pgt: pgt is None, vm.pgt),
            sometimes("the question comes first", bool, Result("ager")),
            sometimes("the exit comes first", lambda r: r is False, Result("ager")),
        ),
        about=(stage2_vs_exit.__doc__ or "").strip(),
    )


def stage2_vs_guest(protocol: AgingProtocol, mmu: str) -> System:
    """Eviction asks twice about a page of an arm64 VM while a vCPU goes on using it."""
    mm, vm, pgt, entry = build(protocol, mmu)
    pgt.ptes[0].value &= ~AF
    used = Cell(Object("ghost"), "used", value=0)

    def vcpu() -> Step[None]:
        yield from guest_access(vm, pgt, 0)
        yield Ghost(Store(used, 1))

    def ager() -> Step[tuple[bool, bool]]:
        first = yield from protocol.target(mm, entry, BASE)
        before: int = yield Load(used)
        then = yield from protocol.target(mm, entry, BASE)
        return bool(before) and not first.referenced, then.referenced

    return System(
        "stage2-vs-guest",
        (Thread("ager", ager), Thread("vcpu", vcpu)),
        (
            at_end(AF_SEEN, lambda r: r is None or not r[0] or r[1], Result("ager")),
            sometimes(FOUND_YOUNG, lambda r: r is not None and r[1], Result("ager")),
            sometimes("the eviction finds it old", lambda r: r is not None and not r[1], Result("ager")),
        ),
        about=(stage2_vs_guest.__doc__ or "").strip(),
    )
