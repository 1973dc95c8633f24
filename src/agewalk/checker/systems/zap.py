"""Aging while mappings and tables are taken away."""

from __future__ import annotations

from typing import Any, Final

from agewalk.checker.ghost import Ghost
from agewalk.checker.system import Result, System, Thread, always, at_end, sometimes
from agewalk.checker.systems.aging import TARGET, WALK, ager, dirty_kept, guest, primary, spte_rules, unseen
from agewalk.checker.systems.hosts import BASE, Host, build
from agewalk.core.cells import Cell, Object
from agewalk.core.effects import Acquire, Release, Step, Store
from agewalk.model.kvm.kvm_main import kvm_delete_memslot, kvm_mmu_zap_all_fast
from agewalk.model.kvm.mmu.spte import is_shadow_present_pte, spte_to_pfn
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import NotifierRange
from agewalk.model.protocols.base import AgingProtocol

GONE: Final = "nothing maps a page between invalidate_range_start and its end"
CURRENT: Final = "in the end the VM maps the frame that its process maps"
UNLOCKED: Final = "every chain is left unlocked"


def _invalidate_roots(host: Host) -> Any:
    def run() -> Step[None]:
        yield Acquire(host.kvm.slots_lock)
        yield from kvm_mmu_zap_all_fast(host.kvm)
        yield Release(host.kvm.slots_lock)

    return run


def age_vs_zap(protocol: AgingProtocol, mmu: str) -> System:
    """All tables of a VM are zapped and freed (RCU; for shadow pages after the chains are unlinked) while MGLRU asks."""
    host = build(protocol, mmu, levels=2, write=True)
    head = host.kvm.memslots[0].value[0][0].rmap(1, 0)
    return System(
        "age-vs-zap",
        (Thread("ager", ager(host, primary(host), TARGET)), Thread("zapper", _invalidate_roots(host))),
        (
            *spte_rules(host, host.leaf()),
            at_end(UNLOCKED, lambda head: not head & 2, head),
            sometimes("the eviction comes first", lambda r: r == (TARGET, True), Result("ager")),
            sometimes("the zap comes first", lambda r: r == (TARGET, False), Result("ager")),
        ),
        about=(age_vs_zap.__doc__ or "").strip(),
    )


def age_vs_memslot(protocol: AgingProtocol, mmu: str) -> System:
    """The VM's memory slot is deleted (invalid, zapped, out of the list, freed) while MGLRU asks about its page."""
    host = build(protocol, mmu, levels=2, write=True)
    slot = host.kvm.memslots[0].value[0][0]

    def delete() -> Step[None]:
        yield from kvm_delete_memslot(host.kvm, slot)

    return System(
        "age-vs-memslot",
        (Thread("ager", ager(host, primary(host), TARGET)), Thread("delete", delete)),
        (
            *spte_rules(host, host.leaf()),
            at_end("the slot is gone", lambda slots: slots == (), host.kvm.memslots[0]),
            sometimes("the eviction comes first", lambda r: r == (TARGET, True), Result("ager")),
            sometimes("the deletion comes first", lambda r: r == (TARGET, False), Result("ager")),
        ),
        about=(age_vs_memslot.__doc__ or "").strip(),
    )


def invalidate_vs_fault(protocol: AgingProtocol, mmu: str) -> System:
    """The process loses a page (reclaim, migration) while a vCPU faults on it and MGLRU asks: sequence counts."""
    host = build(protocol, mmu, write=True, new_frames=True)
    ghost = Object("ghost")
    window, done = Cell(ghost, "invalidated", value=False), Cell(ghost, "wrote", value=False)
    spte = host.leaf()
    host.unmap()
    rng = NotifierRange(host.mm, BASE, host.end)

    def invalidate() -> Step[None]:
        yield from mmu_notifier.invalidate_range_start(rng)
        yield Ghost(Store(window, True))
        yield Store(host.pages.present[0], 0)
        yield Ghost(Store(window, False))
        yield from mmu_notifier.invalidate_range_end(rng)

    def gone(inside: bool, value: int) -> bool:
        return not (inside and is_shadow_present_pte(value))

    def current(value: int, pte: int) -> bool:
        return not is_shadow_present_pte(value) or spte_to_pfn(value) == pte - 1

    return System(
        "invalidate-vs-fault",
        (
            Thread("invalidate", invalidate),
            Thread("vcpu", guest(host, done)),
            Thread("ager", ager(host, primary(host), WALK)),
        ),
        (
            *spte_rules(host, spte),
            always(GONE, gone, window, spte),
            at_end(CURRENT, current, spte, host.pages.present[0]),
            sometimes(
                "the vCPU maps the new frame", lambda v: is_shadow_present_pte(v) and v >> 12 & 0xFFF == 0x110, spte
            ),
        ),
        about=(invalidate_vs_fault.__doc__ or "").strip(),
    )


def age_vs_fault(protocol: AgingProtocol, mmu: str) -> System:
    """Two vCPUs fault on one page while MGLRU asks: fast page faults give W, R and X back without mmu_lock."""
    host = build(protocol, mmu, vcpus=2, write=True)
    host.clean()
    host.age()
    host.pages.dirty.value = 0
    spte, done = host.leaf(), Cell(Object("ghost"), "wrote", value=False)
    return System(
        "age-vs-fault",
        (
            Thread("writer", guest(host, done, vcpu=0)),
            Thread("reader", guest(host, write=False, vcpu=1)),
            Thread("ager", ager(host, primary(host), TARGET)),
        ),
        (*spte_rules(host, spte), dirty_kept(host, done, spte), unseen(host, spte)),
        about=(age_vs_fault.__doc__ or "").strip(),
    )
