"""Each of the notifiers' operations and of MGLRU's questions: the answers that it may give, the bits that it may clear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agewalk.checker.system import Property, Result, System, Thread, at_end, monitor, sometimes, tolerated
from agewalk.checker.systems import monitors as m
from agewalk.checker.systems.aging import NEIGHBOUR, NOT_FAST, TARGET, WALK, ask, guest, primary, spte_rules, target
from agewalk.checker.systems.hosts import BASE, Host, build
from agewalk.core.effects import Choose, FetchOr, Step
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.mmu.spte import is_accessed_spte, is_shadow_present_pte
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.protocols.base import YOUNG, AgingProtocol

FULL_FINDS: Final = "a full question finds a page that is young in one MMU"
FAST_FINDS: Final = "a fast_only question finds a young TDP SPTE"
WALK_FINDS: Final = "a walk or a look-around finds a page that is young in the TDP MMU"
CLEARS: Final = "a full clear leaves nothing young that is not used again"
LOOKS_FAST: Final = "a page young in the TDP MMU leads to a look-around, shadow MMU or not"
WALK_SLOW: Final = "a walk finds a page that is young in the shadow MMU"
NO_WORD: Final = "no word of this protocol says that a fast MMU was young"
NO_WALK: Final = "walks of this protocol ask no secondary MMU"


@dataclass(frozen=True)
class Question:
    """One of the notifiers' questions about the first page."""

    clear: bool
    fast_only: bool

    def __str__(self) -> str:
        return ("fast_only " if self.fast_only else "") + ("clear" if self.clear else "test")


def questions(protocol: AgingProtocol) -> tuple[Question, ...]:
    """All that a protocol's notifiers can be asked."""
    return tuple(
        Question(clear, fast) for fast in ((False, True) if protocol.fast_only else (False,)) for clear in (False, True)
    )


def answer(host: Host, question: Question) -> Step[int]:
    """Ask KVM through the notifiers, as the protocol's core mm does; watched. Returns the answer's bits."""
    protocol, mm, kvm = host.protocol, host.mm, host.kvm
    fast = question.fast_only
    if fast and protocol.fast_op:
        inner = mmu_notifier.test_clear_young_fast_only(mm, BASE, host.end, clear=question.clear)
    elif question.clear:
        inner = mmu_notifier.clear_young(mm, BASE, host.end, fast_only=fast, opt_in=protocol.opt_in)
    else:
        inner = mmu_notifier.test_young(mm, BASE, fast_only=fast, opt_in=protocol.opt_in)
    if question.clear:
        inner = m.covers(m.stays_gone(inner), kvm, lambda bits: bool(bits & YOUNG))
    else:
        inner = m.pure(inner)
    return m.lockless(inner, kvm) if fast else inner


def _words(protocol: AgingProtocol) -> tuple[tuple[Property, ...], dict[str, str]]:
    """WAS_FAST_SOUND where the rules of SPTEs do not have it yet, and why it does not apply then."""
    if m.has_fast_word(protocol):
        return (), {}
    return (monitor(m.WAS_FAST_SOUND),), {m.WAS_FAST_SOUND: NO_WORD}


def questions_vs_guest(protocol: AgingProtocol, mmu: str) -> System:
    """A test and then a clear, each full or fast, of a page that is young in the TDP MMU at first; a vCPU goes on using it."""
    host = build(protocol, mmu, write=True)
    if host.nested is not None:  # the page is in both MMUs
        host.direct.run(guest_access(host.vcpu, 0, write=True))
    tests = [q for q in questions(protocol) if not q.clear]
    clears = [q for q in questions(protocol) if q.clear]

    def chosen(among: list[Question]) -> Step[int]:
        which = (yield Choose(len(among), "fast_only")) if len(among) > 1 else 0
        return (yield from answer(host, among[which])) & YOUNG

    def run() -> Step[int]:
        young = yield from chosen(tests)
        yield from chosen(clears)
        return young

    fast_why = {} if protocol.fast_only else {m.NO_LOCK: NOT_FAST}
    words, why = _words(protocol)
    tdp_why = {} if host.kvm.tdp_mmu_enabled else {m.TEST_SEES: "there is no TDP MMU"}
    return System(
        "questions-vs-guest",
        (Thread("tester", run), Thread("vcpu", guest(host))),
        (
            monitor(m.PURE), monitor(m.NO_LOCK), *words, *spte_rules(host, host.leaf()),
            at_end(m.TEST_SEES, lambda young: young == 1, Result("tester")),
        ),
        about=(questions_vs_guest.__doc__ or "").strip(),
        not_applicable={**fast_why, **why, **tdp_why},
    )  # fmt: skip


# --- two MMUs -------------------------------------------------------------------------------------------------------------


def young_in_tdp_mmu(protocol: AgingProtocol, mmu: str) -> System:
    """A page is in both MMUs and young in the TDP MMU alone. One question is asked; a nested guest may use the page meanwhile."""
    return _young_in_one(protocol, mmu, fast=True)


def young_in_shadow_mmu(protocol: AgingProtocol, mmu: str) -> System:
    """A page is in both MMUs and young in the shadow MMU alone. One question is asked; the guest may use the page meanwhile."""
    return _young_in_one(protocol, mmu, fast=False)


@dataclass(frozen=True)
class Told:
    """The answer to one question. question: its name."""

    question: str
    young: bool
    look_around: bool = False


def _young_in_one(protocol: AgingProtocol, mmu: str, *, fast: bool) -> System:
    host = build(protocol, mmu, write=True)
    guests = {True: lambda: guest_access(host.vcpu, 0, write=True), False: lambda: host.touch(write=True)}
    host.direct.run(guests[True]())
    host.age()
    host.direct.run(guests[fast]())
    entry, notifiers = primary(host), questions(protocol)
    names = [*map(str, notifiers), WALK, TARGET, NEIGHBOUR]

    def run() -> Step[Told]:
        which = yield Choose(len(names), "question")
        name = names[which]
        if which < len(notifiers):
            bits = yield from answer(host, notifiers[which])
            return Told(name, bool(bits & YOUNG))
        if name == TARGET:
            verdict = yield from target(host, entry)
            return Told(name, verdict.referenced, verdict.look_around)
        return Told(name, (yield from ask(host, entry, name)))

    def using() -> Step[bool]:
        uses = bool((yield Choose(2, "uses the page")))
        if uses:
            yield from guests[not fast]()
        return uses

    f, tdp, shadow = host.kvm.format, host.tdp_leaf(), host.leaf()

    def found(*asked: str) -> Callable[[Told | None], bool]:
        return lambda r: r is None or r.question not in asked or r.young

    def cleared(r: Told | None, used: bool | None, *sptes: int) -> bool:
        return (
            bool(used)
            or r is None
            or r.question not in {"clear", TARGET}
            or not any(is_shadow_present_pte(v) and is_accessed_spte(f, v) for v in sptes)
        )

    by_mmu: tuple[Property, ...] = (tolerated(WALK_SLOW, found(WALK), Result("ager")),)
    if fast:
        by_mmu = (
            at_end(FAST_FINDS, found("fast_only test", "fast_only clear"), Result("ager")),
            at_end(WALK_FINDS, found(WALK, NEIGHBOUR), Result("ager")),
            tolerated(LOOKS_FAST, lambda r: r is None or r.question != TARGET or r.look_around, Result("ager")),
        )
    words, why = _words(protocol)
    asks = protocol.mglru_changes().get("walk_notifies", True)
    builder = young_in_tdp_mmu if fast else young_in_shadow_mmu
    return System(
        "young-in-tdp-mmu" if fast else "young-in-shadow-mmu",
        (Thread("ager", run), Thread("guest", using)),
        (
            monitor(m.PURE), monitor(m.NO_LOCK), *words, *spte_rules(host, tdp, shadow),
            at_end(FULL_FINDS, found("test", "clear", TARGET), Result("ager")),
            at_end(CLEARS, cleared, Result("ager"), Result("guest"), tdp, shadow),
            *by_mmu,
            sometimes("a question is told that it is young", lambda r: r is not None and r.young, Result("ager")),
        ),
        about=(builder.__doc__ or "").strip(),
        not_applicable={
            **({} if protocol.fast_only else {m.NO_LOCK: NOT_FAST, **({FAST_FINDS: NOT_FAST} if fast else {})}),
            **why,
            **({} if asks or not fast else {WALK_FINDS: NO_WALK}),
        },
    )  # fmt: skip


# --- look-around ------------------------------------------------------------------------------------------------------------


LOOKS: Final = "a page young in the primary MMU alone leads to a look-around"
LOOKS_AT_FAST: Final = "a page young in the TDP MMU alone leads to a look-around"
SLOW_LOOKS: Final = "a look-around starts only where a fast MMU or the primary one was young"


def look_around_decision(protocol: AgingProtocol, mmu: str) -> System:
    """Eviction meets a page that is young in one place: the primary MMU (an ordinary process), or KVM's. Does it look around?"""
    host = build(protocol, mmu, write=True)
    host.age()
    entry = primary(host)

    def evict() -> Step[tuple[int, bool, bool]]:
        where = yield Choose(2, "young where")
        if where == 0:
            yield FetchOr(entry, p.ACCESSED)
        else:
            yield from host.touch(write=False)
        verdict = yield from protocol.target(host.mm, entry, BASE)
        return where, verdict.referenced, verdict.look_around

    slow = not host.kvm.tdp_mmu_enabled or host.nested is not None
    why = {}
    if not protocol.fast_only:
        why = {SLOW_LOOKS: "this protocol makes no difference between MMUs"}
    elif not slow:
        why = {SLOW_LOOKS: "the young MMU is fast here"}
    if slow:
        why[LOOKS_AT_FAST] = "the young MMU is slow here"
    elif not protocol.mglru_changes().get("look_around_tests_target", True):
        why[LOOKS_AT_FAST] = "look-around of this protocol asks no secondary MMU"
    return System(
        "look-around-decision",
        (Thread("evict", evict),),
        (
            at_end(LOOKS, lambda r: r is None or r[0] != 0 or r[2], Result("evict")),
            at_end(LOOKS_AT_FAST, lambda r: r is None or r[0] != 1 or r[2], Result("evict")),
            at_end("a young page counts as referenced", lambda r: r is None or r[1], Result("evict")),
            tolerated(SLOW_LOOKS, lambda r: r is None or r[0] != 1 or not r[2], Result("evict")),
            *m.word_rules(protocol),
        ),
        about=(look_around_decision.__doc__ or "").strip(),
        not_applicable=why,
    )
