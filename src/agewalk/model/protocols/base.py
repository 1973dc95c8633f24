"""What a protocol is: who is asked how old a page is, and what is concluded.

A protocol answers for both sides. KVM's side is `age_gfn`: which of its MMUs are read and cleared, under which lock,
and which word comes back. MGLRU's side is three questions about one entry of the primary page tables: `walk` (aging,
each PTE of a page-table walk), `target` (eviction, the page that is about to be reclaimed) and `neighbour` (the pages
around a young target). The defaults here are the merged design: 6.13's questions go to every MMU, 6.15's KVM answers
them without mmu_lock.

Write your own in about 15 lines: docs/your-own-protocol.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Final

from agewalk.core.effects import Acquire, Release, Step
from agewalk.core.errors import UsageError
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.config import KvmConfig
from agewalk.model.kvm.features import KvmFeatures
from agewalk.model.kvm.kvm_host import Kvm, SecondaryMmuAging
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu.rmap import kvm_rmap_age_gfn_range
from agewalk.model.kvm.mmu.shadow_mmu import kvm_may_have_shadow_mmu_sptes, kvm_memslots_have_rmaps
from agewalk.model.kvm.mmu.tdp_mmu import kvm_tdp_mmu_age_gfn_range, kvm_tdp_mmu_test_age_gfn
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.aging import PrimaryMmuAging, Verdict
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry, ptep_test_and_clear_young

__all__ = ["YOUNG", "AgingProtocol", "Verdict", "one_protocol", "ptep_test_and_clear_young"]

YOUNG: Final = 1 << 0  # every protocol's first bit; also v5's MMU_NOTIFIER_FAST_YOUNG


def one_protocol(lru: object, kvm: object) -> None:
    """Raises UsageError unless the LRU and the KVM of a host ask the same protocol: its answers go from one side to the other."""
    if lru is not kvm:
        raise UsageError(
            f"the LRU of this host asks {lru!r}, its KVM asks {kvm!r}",
            hint="give both the same object when building the host",
        )


class AgingProtocol(PrimaryMmuAging, SecondaryMmuAging):
    """Base of all protocols; subclass it and change what differs. Instances hold their options and no other state.

    Raises UsageError for an option that the protocol does not have, or a value that the option does not take.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""  # one sentence for people
    cite: ClassVar[str] = ""  # Message-ID, or commit and release
    profile: ClassVar[str] = ""  # `linux-*`: the kernel that it bundles; "": runs on any
    options: ClassVar[dict[str, tuple[str, ...]]] = {}  # option -> values, default first
    lockless: ClassVar[bool] = True  # False: the generic code holds mmu_lock for write around age_gfn() (up to 6.14)
    lockless_first: ClassVar[bool] = (
        False  # age_gfn() is called without mmu_lock first, and under it if it says UNRELIABLE (v2, v3)
    )
    fast_only: ClassVar[bool] = False  # does its notifier API let a caller ask for fast answers only?
    fast_op: ClassVar[bool] = False  # v5: by an operation of its own instead of the argument `fast_only`
    opt_in: ClassVar[bool] = (
        True  # False: there is no flag, fast-only questions go to every subscriber, and each decides
    )
    has_fast_aging: ClassVar[bool] = False  # does KVM's subscription opt in to being asked with fast_only?
    features: ClassVar[dict[str, Any]] = {}  # MGLRU features that come with it, over the profile it runs on
    kvm_changes: ClassVar[dict[str, Any]] = {"rmap_bit_lock": True}  # KVM features likewise

    def __init__(self, **options: str) -> None:
        self.chosen = {name: values[0] for name, values in self.options.items()}
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise UsageError(f"protocol {self.name!r} has no option {name!r}", hint=f"its options: {known}")
            if value not in self.options[name]:
                allowed = ", ".join(self.options[name])
                raise UsageError(f"{self.name}: {name}={value} is not possible", hint=f"{name} takes one of: {allowed}")
            self.chosen[name] = value

    @property
    def full_name(self) -> str:
        """Name with the options that are not the default, as the command line takes it: `houghton:must_check=rmaps`."""
        other = [f"{k}={v}" for k, v in self.chosen.items() if v != self.options[k][0]]
        return ":".join([self.name, ",".join(other)]) if other else self.name

    def mglru_changes(self) -> dict[str, Any]:
        """`features`, and what an option changes in them."""
        return self.features

    def kvm_features(self, kernel: KvmFeatures) -> KvmFeatures:
        """The KVM that this protocol needs, made from a kernel's."""
        return replace(kernel, **self.kvm_changes)

    def __repr__(self) -> str:
        return f"<protocol {self.name}>"

    def flags(self, answer: int, *, fast_only: bool) -> tuple[str, ...]:
        """The protocol's own words in a subscriber's answer, beyond "young"."""
        return ()

    def opts_in(self, config: KvmConfig) -> bool:
        """Does the subscription of a VM with these MMUs opt in to fast aging?"""
        return self.has_fast_aging

    # --- KVM's side -------------------------------------------------------------------------------------------------

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """kvm_age_gfn() if `clear`, kvm_test_age_gfn() if not: the answer's bits (bit 0: young).

        As merged in 6.15: no mmu_lock; a test stops at the first MMU that says young, an aging asks them all.
        """
        young = False
        if kvm.tdp_mmu_enabled:
            young = yield from self.age_tdp_mmu(kvm, rng, clear=clear)
            if young and not clear:
                return YOUNG
        if (yield from kvm_may_have_shadow_mmu_sptes(kvm)):
            young |= yield from self.age_shadow_mmu(kvm, rng, clear=clear)
        return int(young)

    def age_tdp_mmu(self, kvm: Kvm, rng: GfnRange, *, clear: bool) -> Step[bool]:
        """Ask the TDP MMU (the fast one): RCU, no mmu_lock."""
        age = kvm_tdp_mmu_age_gfn_range if clear else kvm_tdp_mmu_test_age_gfn
        return age(kvm, rng)

    def age_shadow_mmu(
        self, kvm: Kvm, rng: GfnRange, *, clear: bool, locked: bool = False, ad_only: bool = False
    ) -> Step[bool]:
        """Ask the shadow MMU, under mmu_lock for write if `locked`, else under the bit lock of each rmap (6.15).

        ad_only: A/D-disabled SPTEs stay young, whatever is asked (v7).
        """
        if not locked or not rng.lockless:
            return (
                yield from kvm_rmap_age_gfn_range(kvm, rng, test_only=not clear, bit_lock=rng.lockless, ad_only=ad_only)
            )
        yield Acquire(kvm.mmu_lock)
        young = yield from kvm_rmap_age_gfn_range(kvm, rng, test_only=not clear, bit_lock=False)
        yield Release(kvm.mmu_lock)
        return young

    def may_have_shadow_sptes(self, kvm: Kvm) -> Step[bool]:
        """kvm_may_have_shadow_mmu_sptes(): no TDP MMU, or a nested guest has tables now."""
        return kvm_may_have_shadow_mmu_sptes(kvm)

    def has_rmaps(self, kvm: Kvm) -> Step[bool]:
        """kvm_memslots_have_rmaps(): no TDP MMU, or there ever was a nested guest."""
        return kvm_memslots_have_rmaps(kvm)

    # --- MGLRU's side -----------------------------------------------------------------------------------------------

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """Aging reads a present leaf entry that maps `size` bytes at `hva`: was the page used? Clears what it reads.

        entry: from 7.1 on also the entries of several pages of one large folio; ptep_test_and_clear_young() takes either.
        """
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        return primary or bool(secondary)

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """Eviction reads the entry of the page it wants to take."""
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_young(mm, hva, Hva(hva + size))
        young = primary or bool(secondary)
        return Verdict(referenced=young, look_around=young)

    def neighbour(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """Look-around reads present PTEs near a young target."""
        return (yield from self.walk(mm, entry, hva, size))

    def test_bitmap(self, mm: Mm, start: Hva, end: Hva) -> Step[int]:
        """test_spte_young() of v3: every subscriber is asked."""
        return mmu_notifier.test_young_bitmap(mm, start, end, every=True)

    def clear_bitmap(self, mm: Mm, start: Hva, end: Hva, bits: int) -> Step[None]:
        """clear_spte_young() of v2 and v3."""
        return mmu_notifier.clear_young_bitmap(mm, start, end, bits)
