"""What a protocol is: who is asked how old a page is, and what is concluded.

A protocol answers for both sides. KVM's side is `age_gfn`: which of its MMUs are read and cleared, under which lock,
and which word comes back. MGLRU's side is three questions about one entry of the primary page tables: `walk` (aging,
each PTE of a page-table walk), `target` (eviction, the page that is about to be reclaimed) and `neighbour` (the pages
around a young target). The defaults here are the merged design (6.13: every question goes to every MMU).

Write your own in about 15 lines: docs/your-own-protocol.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from agewalk.core.cells import Cell
from agewalk.core.effects import FetchAnd, Load, Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p

if TYPE_CHECKING:
    from agewalk.model.kvm.kvm import GfnRange, Kvm

    from agewalk.model.mm.mm import Mm

YOUNG: Final = 1 << 0  # every protocol's first bit; also v5's MMU_NOTIFIER_FAST_YOUNG
WAS_FAST: Final = 1 << 1  # Christopherson's MMU_NOTIFY_WAS_FAST, Houghton's "return (fast)"; v5 uses it as FAST_FAILED


@dataclass(frozen=True)
class Verdict:
    """About the target of an eviction: does it count as referenced, and are its neighbours looked at?"""

    referenced: bool
    look_around: bool


def ptep_test_and_clear_young(entry: Cell) -> Step[bool]:
    """ptep_test_and_clear_young() / pmdp_test_and_clear_young() (arch/x86/mm/pgtable.c): no TLB flush."""
    if not p.pte_young((yield Load(entry))):
        return False
    return p.pte_young((yield FetchAnd(entry, ~p.ACCESSED)))


class AgingProtocol:
    """Base of all protocols; subclass it and change what differs. Instances hold no state."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""  # one sentence for people
    cite: ClassVar[str] = ""  # Message-ID, or commit and release
    fast_only: ClassVar[bool] = False  # does its notifier API have the fast_only argument?
    has_fast_aging: ClassVar[bool] = False  # does KVM's subscription opt in?
    words: ClassVar[dict[int, str]] = {}  # its own names for bits of an answer, beyond "young"
    features: ClassVar[dict[str, object]] = {}  # profile features that come with it, over the profile it runs on

    # --- KVM's side -------------------------------------------------------------------------------------------------

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """kvm_age_gfn() if `clear`, kvm_test_age_gfn() if not: the answer's bits (bit 0: young)."""
        raise NotImplementedError

    # --- MGLRU's side -----------------------------------------------------------------------------------------------

    def walk(self, mm: Mm, entry: Cell, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """Aging reads one present leaf entry that maps `size` bytes at `hva`: was the page used? Clears what it reads."""
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        return primary or bool(secondary)

    def target(self, mm: Mm, entry: Cell, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """Eviction reads the entry of the page it wants to take."""
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        young = primary or bool(secondary)
        return Verdict(referenced=young, look_around=young)

    def neighbour(self, mm: Mm, entry: Cell, hva: Hva) -> Step[bool]:
        """Look-around reads a present PTE near a young target."""
        return (yield from self.walk(mm, entry, hva))
