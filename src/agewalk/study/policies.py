"""Which policies there are, by the names that scenarios use, and the kernel that a protocol runs in."""

import difflib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from agewalk.core.errors import InputError, ScenarioError, UsageError
from agewalk.model.profiles import PROFILES, Profile, profile
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.registry import get_protocol
from agewalk.model.protocols.tables.enumerate import protocol_table
from agewalk.model.protocols.tables.table import ProtocolTable
from agewalk.study.scenarios.sections import Choice

BASELINES: Final = {
    "two-list": "MGLRU off: the classic active and inactive lists, on the same host",
    "lru": "least recently used; sees every access",
    "fifo": "first in, first out",
    "clock": "FIFO with one reference bit",
    "random": "evicts any page, seeded",
    "opt": "Belady's bound: evicts what is used again last",
}
KERNEL_BASELINE: Final = "two-list"  # runs a kernel; the others see every access


@dataclass(frozen=True, slots=True)
class Keys:
    """What messages call the places that policies and the kernel come from."""

    kernel: str = "host.kernel"
    protocols: str = "compare.protocols"
    baselines: str = "compare.baselines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy that is known to exist and to run; picklable, but for a `protocol` that Python made.

    label: its name in results. name: of a baseline, or the protocol as `get_protocol` takes it. file: a user's own.
    kernel: the profile around it. features: of mm, KVM and MGLRU together, by name, and `table`: what the compiled engine
    needs of kernel and protocol; empty and None for baselines that run no kernel. protocol: the object, if Python made it.
    """

    label: str
    name: str
    baseline: bool
    file: Path | None = None
    kernel: Profile
    features: dict[str, Any] = field(default_factory=dict, repr=False)
    table: ProtocolTable | None = field(default=None, repr=False)
    protocol: AgingProtocol | None = None

    @property
    def runs_kernel(self) -> bool:
        """Does it read page tables, as a kernel does? The other baselines see every access."""
        return self.table is not None

    def made(self) -> AgingProtocol:
        """The protocol, for the direct executor; of a baseline, the kernel's own."""
        return self.protocol or get_protocol(self.kernel.protocol if self.baseline else self.name)


def protocol_policy(choice: Choice, kernel: str, keys: Keys = Keys()) -> Policy:
    """A protocol in its own kernel (`linux-*`) or in the profile called `kernel`.

    Raises ScenarioError for a protocol, option or kernel that does not exist, or a protocol of one's own that does not run.
    """
    around = _profile(kernel, keys)
    try:
        protocol = choice.made or get_protocol(choice.spec)
        around = profile(protocol.profile) if protocol.profile else around
        table = protocol_table(protocol)
    except (UsageError, InputError) as error:
        raise ScenarioError(f"{keys.protocols}: {error}", hint=error.hint) from None
    return Policy(
        label=choice.label,
        name=choice.spec,
        baseline=False,
        file=choice.file,
        kernel=around,
        features=_features(around, protocol),
        table=table,
        protocol=choice.made,
    )


def baseline_policy(name: str, kernel: str, keys: Keys = Keys()) -> Policy:
    """A baseline; one that runs a kernel gets the profile called `kernel` and the protocol that it shipped.

    Raises ScenarioError for a baseline or kernel that does not exist.
    """
    around = _profile(kernel, keys)
    if name not in BASELINES:
        near = difflib.get_close_matches(name, BASELINES, n=1)
        known = f"the baselines are {', '.join(BASELINES)}"
        hint = f"did you mean {near[0]!r}? {known}" if near else known
        raise ScenarioError(f"{keys.baselines}: there is no {name!r}", hint=hint)
    if name != KERNEL_BASELINE:
        return Policy(label=name, name=name, baseline=True, kernel=around)
    protocol = get_protocol(around.protocol)
    features, table = _features(around, protocol), protocol_table(protocol)
    return Policy(label=name, name=name, baseline=True, kernel=around, features=features, table=table)


def _features(kernel: Profile, protocol: AgingProtocol) -> dict[str, Any]:
    return {**asdict(kernel.mm), **asdict(protocol.kvm_features(kernel.kvm)), **asdict(kernel.mglru)}


def _profile(name: str, keys: Keys) -> Profile:
    if name not in PROFILES:
        raise ScenarioError(f"{keys.kernel}: there is no profile {name!r}", hint=f"one of {', '.join(PROFILES)}")
    return profile(name)
