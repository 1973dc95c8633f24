"""Aging against guests, and against itself: whose accessed bits are seen, and what is never lost."""

from __future__ import annotations

from typing import Any, Final

from agewalk.checker.ghost import Ghost
from agewalk.checker.system import Property, Result, System, Thread, always, at_end, monitor, sometimes, tolerated
from agewalk.checker.systems import monitors as m
from agewalk.checker.systems.hosts import BASE, Host, build
from agewalk.core.cells import Cell, Object
from agewalk.core.effects import Choose, Step, Store
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.mmu.spte import (
    is_accessed_spte,
    is_dirty_spte,
    is_shadow_present_pte,
    spte_ad_enabled,
    spte_writable_invariants_hold,
)
from agewalk.model.mm import pte as p
from agewalk.model.protocols.base import AgingProtocol, Verdict

WALK, TARGET, NEIGHBOUR = "walk", "target", "neighbour"
DIRTY_KEPT: Final = "no write is forgotten"
WRITABLE: Final = "a writable SPTE is MMU-writable"
UNSEEN: Final = "of an access, the eviction is told or the bit stays"
NOT_FAST: Final = "this protocol has no fast_only"


def primary(host: Host, *, young: bool = False, page: int = 0) -> Cell:
    """A primary PTE of a page, for the protocol's side in mm/."""
    return Cell(Object("pt"), page, p.make_pte(host.pages.present[page].value, writable=True, young=young))


def ask(host: Host, entry: Cell, question: str, page: int = 0) -> Step[bool]:
    """One of the three questions of MGLRU about a page: does it count as young? Watched."""
    if question == TARGET:
        verdict = yield from target(host, entry, page)
        return verdict.referenced
    method = host.protocol.walk if question == WALK else host.protocol.neighbour
    inner = method(host.mm, entry, Hva(BASE + page * PAGE_SIZE))
    return (yield from m.covers(m.stays_gone(inner), host.kvm, bool, entry))


def target(host: Host, entry: Cell, page: int = 0) -> Step[Verdict]:
    """Eviction asks about a page. Watched."""
    inner = host.protocol.target(host.mm, entry, Hva(BASE + page * PAGE_SIZE))
    return m.covers(m.stays_gone(inner), host.kvm, lambda v: v.referenced, entry)


def ager(host: Host, entry: Cell, *questions: str) -> Any:
    """A thread that asks one of `questions`; returns (question, answer)."""

    def run() -> Step[tuple[str, bool]]:
        which = (yield Choose(len(questions), "question")) if len(questions) > 1 else 0
        return questions[which], (yield from ask(host, entry, questions[which]))

    return run


def guest(
    host: Host, done: Cell | None = None, *, write: bool = True, times: int = 1, vcpu: int = 0, alias: int = 0
) -> Any:
    """A vCPU that touches the first page; `done` is set in the step that completes it."""

    def run() -> Step[None]:
        for _ in range(times):
            yield from host.touch(host.kvm.vcpus[vcpu], write=write, alias=alias)
            if done is not None:
                yield Ghost(Store(done, True))

    return run


def spte_rules(host: Host, *cells: Cell) -> list[Property]:
    """Rules that hold of every SPTE at every moment."""
    f = host.kvm.format

    def writable(*sptes: int) -> bool:
        return all(spte_writable_invariants_hold(f, s) for s in sptes if is_shadow_present_pte(s))

    return [
        always(WRITABLE, writable, *cells), monitor(m.COVERED), monitor(m.STAYS_GONE), *m.word_rules(host.protocol),
    ]  # fmt: skip


def dirty_kept(host: Host, done: Cell, cell: Cell) -> Property:
    """At the end a write shows: in the SPTE's D bit (W where there is none), or on the page.

    From 6.13 on a page is marked dirty as soon as it is mapped writable, so without D bits nothing can be lost.
    """
    f = host.kvm.format
    marked_early = host.kvm.features.fault_marks_dirty

    def kept(wrote: bool, spte: int, dirty: int) -> bool:
        if not wrote or dirty or (marked_early and not spte_ad_enabled(f, spte)):
            return True
        return is_shadow_present_pte(spte) and is_dirty_spte(f, spte)

    return at_end(DIRTY_KEPT, kept, done, cell, host.pages.dirty)


def unseen(host: Host, cell: Cell) -> Property:
    """An eviction that says old leaves the bit of a later access alone: who asks again is told."""
    f = host.kvm.format

    def seen(found: tuple[str, bool] | None, value: int) -> bool:
        return found is None or found[1] or (is_shadow_present_pte(value) and is_accessed_spte(f, value))

    return tolerated(UNSEEN, seen, Result("ager"), cell)


def age_vs_guest(protocol: AgingProtocol, mmu: str) -> System:
    """A young, clean page that a vCPU writes to while MGLRU asks about it twice, in a walk or at eviction, then at eviction."""
    host = build(protocol, mmu, write=True)
    host.clean()
    entry, done, spte = primary(host), Cell(Object("ghost"), "wrote", value=False), host.leaf()
    first, then = ager(host, entry, WALK, TARGET), ager(host, entry, TARGET)

    def asks_twice() -> Step[tuple[str, bool]]:
        yield from first()
        second: tuple[str, bool] = yield from then()
        return second

    return System(
        "age-vs-guest",
        (Thread("ager", asks_twice), Thread("vcpu", guest(host, done))),
        (
            *spte_rules(host, spte),
            dirty_kept(host, done, spte),
            sometimes("the eviction finds it young", lambda r: r == (TARGET, True), Result("ager")),
            sometimes("the eviction finds it old", lambda r: r == (TARGET, False), Result("ager")),
        ),
        about=(age_vs_guest.__doc__ or "").strip(),
    )


def age_vs_refault(protocol: AgingProtocol, mmu: str) -> System:
    """A vCPU uses a page for ever, again and again, while MGLRU asks about it: does the question ever end?"""
    host = build(protocol, mmu, write=True)
    entry = primary(host)

    def vcpu() -> Step[None]:
        while True:
            yield from host.touch(write=False)

    return System(
        "age-vs-refault",
        (Thread("ager", ager(host, entry, TARGET)), Thread("vcpu", vcpu, daemon=True)),
        (
            *spte_rules(host, host.leaf()),
            sometimes("the eviction finds it young", lambda r: r == (TARGET, True), Result("ager")),
        ),
        about=(age_vs_refault.__doc__ or "").strip(),
    )


def two_agers(protocol: AgingProtocol, mmu: str) -> System:
    """Two CPUs ask about one young page that is not touched meanwhile: at least one is told young."""
    host = build(protocol, mmu, write=True)
    entry = primary(host)
    told = at_end("one of two agers finds a young page young", lambda rs: any(r and r[1] for r in rs), Result("ager"))
    once = tolerated("one access counts as young once", lambda rs: not all(r and r[1] for r in rs), Result("ager"))
    return System(
        "two-agers",
        (Thread("ager", ager(host, entry, TARGET), n=2),),
        (*spte_rules(host, host.leaf()), told, once),
        about=(two_agers.__doc__ or "").strip(),
    )
