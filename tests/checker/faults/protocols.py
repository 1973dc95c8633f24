"""Faults in protocols: what is asked, what is answered, and in whose words."""

from __future__ import annotations

from typing import Any

from tests.checker.faults.base import Fault
from tests.checker.faults.mm import asks_everybody, of

from agewalk.checker.systems import monitors as m
from agewalk.checker.systems.nested import AFTER, NEXT
from agewalk.checker.systems.notifiers import STRANGER_SEEN
from agewalk.checker.systems.questions import CLEARS, FAST_FINDS, FULL_FINDS, LOOKS_AT_FAST, WALK_FINDS
from agewalk.core.effects import Step
from agewalk.model.protocols.base import YOUNG, AgingProtocol, Verdict
from agewalk.model.protocols.christopherson import WAS_FAST, Christopherson
from agewalk.model.protocols.linux_6_15 import Linux615
from agewalk.model.protocols.v7 import V7

SAYS = 1 << 3  # WAS_FAST in a word of another layout


class AlwaysOld(Linux615):
    """Eviction asks nobody."""

    def target(self, mm: Any, entry: Any, hva: Any, size: int = 4096) -> Step[Verdict]:
        return Verdict(referenced=False, look_around=False)
        yield


class LateCount(Linux615):
    """indirect_shadow_pages is read twice: what the second look finds is cleared, and not told if the first found none."""

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        told = yield from self.may_have_shadow_sptes(kvm)
        young = yield from super().age_gfn(kvm, rng, clear=clear, fast_only=fast_only)
        return young if told else 0


class Assigns(Linux615):
    """The shadow MMU's answer replaces the TDP MMU's."""

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        young = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        if (yield from self.may_have_shadow_sptes(kvm)):
            young = yield from self.age_shadow_mmu(kvm, rng, clear=clear)
        return int(young)


class AssignsBackwards(Linux615):
    """The TDP MMU's answer replaces the shadow MMU's."""

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        if (yield from self.may_have_shadow_sptes(kvm)):
            yield from self.age_shadow_mmu(kvm, rng, clear=clear)
        return int((yield from self.age_tdp_mmu(kvm, rng, clear=clear)))


class NeverClears(Linux615):
    """A clear is a test."""

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        return (yield from super().age_gfn(kvm, rng, clear=False, fast_only=fast_only))


class NeverFast(V7):
    """A fast_only question reads nothing."""

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        return 0 if fast_only else (yield from super().age_gfn(kvm, rng, clear=clear, fast_only=False))


class WordForTheLock(AgingProtocol):
    """Another protocol with this word, in a bit of its own: said whenever the page is young, so for the shadow MMU too.

    wrong: the questions about which it lies."""

    name = "word-for-the-lock"
    fast_only = True
    has_fast_aging = True
    wrong = (False, True)  # tests, clears

    def flags(self, answer: int, *, fast_only: bool) -> tuple[str, ...]:
        return ("WAS_FAST",) if answer & SAYS else ()

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        slow = False
        if not fast_only and (yield from self.may_have_shadow_sptes(kvm)):
            slow = yield from self.age_shadow_mmu(kvm, rng, clear=clear, locked=True)
        fast = kvm.tdp_mmu_enabled and (yield from self.age_tdp_mmu(kvm, rng, clear=clear))
        return (YOUNG if slow or fast else 0) | (SAYS if fast or (slow and self.wrong[clear]) else 0)


class WordInTests(WordForTheLock):
    """The same, in tests alone."""

    wrong = (True, False)


class WordIfOld(WordForTheLock):
    """WAS_FAST whenever no lock was taken."""

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        return SAYS | (yield from super().age_gfn(kvm, rng, clear=clear, fast_only=fast_only))


class WordForgotten(Christopherson):
    """No answer says WAS_FAST."""

    def age_gfn(self, kvm: Any, rng: Any, *, clear: bool, fast_only: bool) -> Step[int]:
        return (yield from super().age_gfn(kvm, rng, clear=clear, fast_only=fast_only)) & ~WAS_FAST


class OnlyFast(V7):
    """Eviction asks only who opted in."""

    def target(self, mm: Any, entry: Any, hva: Any, size: int = 4096) -> Step[Verdict]:
        young = yield from self.walk(mm, entry, hva)
        return Verdict(referenced=young, look_around=young)


TDP, SHADOW = "young-in-tdp-mmu", "young-in-shadow-mmu"
FAULTS = (
    Fault("eviction asks nobody", "", AFTER, build=of("age-vs-nested-count", AlwaysOld, "nested")),
    Fault("a bit cleared and not told", "", NEXT, build=of("age-vs-nested-count", LateCount, "nested"), first=False),
    Fault("the TDP MMU's answer is replaced", "", FULL_FINDS, build=of(TDP, Assigns, "nested")),
    Fault("a bit of the TDP MMU is lost", "", m.COVERED, build=of(TDP, Assigns, "nested-noad")),
    Fault("the shadow MMU's answer is replaced", "", m.COVERED, build=of(SHADOW, AssignsBackwards, "nested")),
    Fault("a clear that tests", "", CLEARS, build=of(SHADOW, NeverClears, "nested")),
    Fault("fast_only reads nothing", "", FAST_FINDS, build=of(TDP, NeverFast, "nested")),
    Fault("walks learn nothing", "", WALK_FINDS, build=of(TDP, NeverFast, "nested-noad")),
    Fault("WAS_FAST in a full clear", "", m.WAS_FAST_SOUND, build=of(SHADOW, WordForTheLock, "nested")),
    Fault("WAS_FAST in a test", "", m.WAS_FAST_SOUND, build=of(SHADOW, WordInTests, "nested-noad")),
    Fault("WAS_FAST at eviction", "", m.WAS_FAST_SOUND, build=of("age-vs-guest", WordForTheLock, "nested")),
    Fault("WAS_FAST to a second VM", "", m.WAS_FAST_SOUND, build=of("subscribers", WordIfOld, "tdp")),
    Fault("WAS_FAST without TDP MMU", "", m.WAS_FAST_SOUND, build=of("questions-vs-guest", WordInTests, "legacy")),
    Fault("WAS_FAST forgotten", "", LOOKS_AT_FAST, build=of("look-around-decision", WordForgotten, "tdp")),
    Fault("a stranger asked fast_only", "stranger/v7/tdp", m.NO_WAIT, (("mm.mmu_notifier._ask", asks_everybody),)),
    Fault("a stranger never asked", "", STRANGER_SEEN, build=of("stranger", OnlyFast, "tdp")),
)
