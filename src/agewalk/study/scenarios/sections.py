"""The tables of a scenario file: host, aging, VMs and processes with their traces, what to compare."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from agewalk.core.errors import ScenarioError
from agewalk.core.units import Ns
from agewalk.model.protocols.base import AgingProtocol
from agewalk.study.scenarios.values import Mthp, Name, Period, Size, Source, Thp, Time
from agewalk.trace import Trace, open_trace


class Section(BaseModel):
    """A table of a scenario file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Swap(Section):
    """[host.swap]: what one page costs, in nanoseconds."""

    read: Time = Ns(80_000)
    write: Time = Ns(60_000)


class HostSection(Section):
    """[host]: memory for guest and process pages (bytes), the profile, the seed of whatever is drawn."""

    memory: Size
    kernel: str = "6.18"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 7
    swap: Swap = Swap()


class Aging(Section):
    """[aging]: proactive aging every so many nanoseconds; None leaves it to memory pressure."""

    every: Period | None = None


class Member(Section):
    """A trace and how it is replayed. trace: a path, or a trace in memory."""

    name: Name
    trace: Source

    @property
    def trace_name(self) -> str:
        """What messages call the trace."""
        return self.trace if isinstance(self.trace, str) else str(self.trace.name)

    def opened(self) -> Trace:
        """The trace. Raises TraceError."""
        trace: Trace = open_trace(self.trace) if isinstance(self.trace, str) else self.trace
        return trace


class VmSection(Member):
    """[[vm]]: a trace replayed through KVM's tables and the process's."""

    mmu: Literal["tdp", "legacy", "shadow"] = "tdp"
    ad_bits: bool = True
    thp: Thp = "never"
    mthp: Mthp = []
    start: Time = Ns(0)


class ProcessSection(Member):
    """[[process]]: a trace replayed through the primary MMU alone."""

    thp: Thp = "never"
    mthp: Mthp = []
    start: Time = Ns(0)


class Choice(Section):
    """One entry of `protocols`: a name (or file.py:Class) and its options; or a protocol that Python made (`of`)."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    name: Name
    _made: AgingProtocol | None = PrivateAttr(None)

    @classmethod
    def of(cls, protocol: AgingProtocol) -> "Choice":
        """The entry for a protocol that is an object."""
        choice = cls(name=protocol.full_name)
        choice._made = protocol
        return choice

    @property
    def made(self) -> AgingProtocol | None:
        """The protocol, if Python made it; None: `spec` names it."""
        return self._made

    @property
    def spec(self) -> str:
        """As the command line writes it: `houghton:must_check=rmaps`, `path/own.py:Mine`."""
        options = dict(self.model_extra or {})
        said = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
        return f"{self.name}:{said}" if said else self.name

    @property
    def label(self) -> str:
        """As results name it: the spec, a user's own file without its folder."""
        _, slash, rest = self.spec.rpartition("/")
        return rest if slash and ".py:" in rest else self.spec

    @property
    def file(self) -> Path | None:
        """A user's own file."""
        head, colon, _ = self.name.partition(".py:")
        return Path(head + ".py") if colon else None


def _choice(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class CompareSection(Section):
    """[compare]: the policies side by side, and memory sizes for a curve."""

    protocols: list[Annotated[Choice, BeforeValidator(_choice)]] | None = None  # None: `Scenario.protocols`
    baselines: list[Name] = ["two-list"]
    memory: Annotated[list[Size], Field(min_length=1)] | None = None


def named_once(name: str, compare: CompareSection) -> None:
    """Raise ScenarioError if a policy is named twice, or none is."""
    if compare.protocols is None:
        return
    labels = [choice.label for choice in compare.protocols] + compare.baselines
    if not labels:
        raise ScenarioError(f"{name}: compare.protocols and compare.baselines are both empty", hint="name at least one")
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ScenarioError(f"{name}: compare names {twice!r} twice", hint="once is enough: runs are deterministic")


#: Tables of a scenario, by their keys.
SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "host": HostSection,
    "host.swap": Swap,
    "aging": Aging,
    "vm": VmSection,
    "process": ProcessSection,
    "compare": CompareSection,
}
