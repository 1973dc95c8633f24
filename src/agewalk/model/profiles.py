"""Kernels as bundles of named features. Nothing else in agewalk asks what version a kernel has.

6.1, 6.12, 6.18 and 7.3 are recorded (docs/witness.md). 6.9, 6.13 and 6.15 lie between recorded ones: they are put together
from commits, and no recording says that they are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final

from agewalk.core.errors import UsageError
from agewalk.core.features import cites
from agewalk.model.kvm.features import KERNELS as KVM
from agewalk.model.kvm.features import KvmFeatures
from agewalk.model.mglru.features import MGLRU, MglruFeatures
from agewalk.model.mm.features import KERNELS as MM
from agewalk.model.mm.features import MmFeatures


@dataclass(frozen=True, slots=True)
class Profile:
    """A kernel: what its mm/, its KVM and its MGLRU do, and the name of the protocol between them."""

    name: str
    summary: str
    recorded: bool
    protocol: str
    mm: MmFeatures
    kvm: KvmFeatures
    mglru: MglruFeatures


_ABOUT: Final = {
    "6.1": ("long-term; MGLRU's second release, guests invisible to aging", True, "linux-6.9"),
    "6.9": ("memcg LRU, batches of 31; guests invisible to aging", False, "linux-6.9"),
    "6.12": ("long-term, 6.12.117: walks ask secondary MMUs, as in 6.13", True, "linux-6.13"),
    "6.13": ("walks ask secondary MMUs, under mmu_lock; KVM stops propagating accessed bits", False, "linux-6.13"),
    "6.15": ("KVM ages without mmu_lock; MGLRU reworked (6.14)", False, "linux-6.15"),
    "6.18": ("long-term; the reworked MGLRU with proportional protection", True, "linux-6.18"),
    "7.3": ("anonymous pages are marked at fault, reclaim works off a fixed budget", True, "linux-7.3"),
}

PROFILES: Final[dict[str, Profile]] = {
    name: Profile(name, summary, recorded, protocol, MM[name], KVM[name], MGLRU[name])
    for name, (summary, recorded, protocol) in _ABOUT.items()
}


NEWEST: Final = list(PROFILES)[-1]


def profile(name: str) -> Profile:
    """The kernel called `name`. Raises UsageError for one that we do not have."""
    if name not in PROFILES:
        raise UsageError(f"no profile {name!r}", hint=f"profiles: {', '.join(PROFILES)}")
    return PROFILES[name]


@dataclass(frozen=True, slots=True)
class Feature:
    """One named difference, as `agewalk profile show` prints it. `cite`: what it is and since when, in one text."""

    part: str
    name: str
    value: Any
    cite: str


def features(kernel: Profile) -> Iterator[Feature]:
    """Every feature of a kernel with its citation."""
    for part, bundle in (("mm", kernel.mm), ("kvm", kernel.kvm), ("mglru", kernel.mglru)):
        texts = cites(type(bundle))
        for field in fields(bundle):
            yield Feature(part, field.name, getattr(bundle, field.name), texts[field.name])
