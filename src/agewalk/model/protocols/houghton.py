"""James Houghton's six steps, the mail that the seed mail answers."""

from __future__ import annotations

from typing import ClassVar, Final

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young
from agewalk.model.protocols.base import YOUNG, AgingProtocol, Verdict

SLOW: Final = (
    1 << 1
)  # "return (slow)"; its absence is "return (fast)", so that one slow subscriber makes an answer slow


class Houghton(AgingProtocol):
    """TDP MMU first; the shadow MMU only if it must be checked and time allows. The caller learns if it was fast.

    There is no has_fast_aging: `fast_only` is passed to clear_young() of every subscriber, and each decides what it can do
    without waiting. One that knows nothing of the argument waits.

    must_check: what step 4 asks: kvm_has_shadow_mmu_sptes() ("sptes") or kvm_memslots_have_rmaps() ("rmaps"); he meant
    either. The mail leaves MGLRU's side open: here, a young answer that was fast leads to a look-around.
    """

    name = "houghton"
    summary = (
        "Six steps: the TDP MMU first, the shadow MMU under mmu_lock if it must be checked; the answer says which."
    )
    cite = "the six steps of June 2024, quoted in the seed mail ZmjtEBH42u7NUWRc@google.com"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"must_check": ("sptes", "rmaps")}
    fast_only = True
    opt_in = False
    features: ClassVar[dict[str, object]] = {"walk_notifies": True, "look_around_tests_target": True}
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False}

    def flags(self, answer: int, *, fast_only: bool) -> tuple[str, ...]:
        """Names the flag in the answer."""
        return ("SLOW",) if answer & SLOW else ("FAST",)

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """Steps 1 to 6."""
        fast = False
        if kvm.tdp_mmu_enabled:
            fast = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
        if (fast and not clear) or fast_only:
            return int(fast)
        must_check = self.has_rmaps if self.chosen["must_check"] == "rmaps" else self.may_have_shadow_sptes
        if not (yield from must_check(kvm)):
            return int(fast)
        slow = yield from self.age_shadow_mmu(kvm, rng, clear=clear, locked=True)
        return int(fast or slow) | SLOW

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """The fast answer, and the primary entry."""
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size), fast_only=True, opt_in=False)
        return primary or bool(secondary & YOUNG)

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """The full answer; a look-around unless it took the slow path."""
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        young = bool(secondary & YOUNG)
        return Verdict(referenced=primary or young, look_around=primary or (young and not secondary & SLOW))
