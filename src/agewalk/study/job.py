"""One job of a comparison: a policy, a memory size, a scenario, and its address spaces; and all jobs of a scenario."""

from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import ScenarioError
from agewalk.core.units import PAGE_SHIFT, Bytes, Ns
from agewalk.engine.state.config import region_shift
from agewalk.study.merge_traces import Accesses, check_size
from agewalk.study.policies import Keys, Policy, baseline_policy, protocol_policy
from agewalk.study.result import Measured
from agewalk.study.scenarios.scenario import Scenario
from agewalk.study.scenarios.sections import CompareSection, VmSection
from agewalk.trace import Trace

Executor = Literal["compiled", "direct"]
EXECUTORS: Final[tuple[Executor, ...]] = ("compiled", "direct")
INTERVAL: Final = Ns(2_000_000_000)  # a page idle for so long is cold, where a scenario does not age on a clock
HOT: Final = Ns(2_000_000_000)  # a page evicted within so long of its last use was hot, whatever the aging interval
BANDS: Final = 32  # of a space, at most: where something happened
ALL_BANDS: Final = 128  # of all spaces, as long as there are no more spaces than that
TICK: Final = Ns(20_000_000)  # resolution of the truth about last uses
MOST_TICKS: Final = (1 << 31) - 1  # from the first access to the last: 16 months


@dataclass(frozen=True, slots=True)
class Space:
    """One address space: `pages` of 4 KiB; mmu "" for an ordinary process; huge: THP "always"; orders: mTHP "always" of
    these sizes, a bit an order."""

    name: str
    pages: int
    mmu: Literal["tdp", "legacy", "shadow", ""]
    ad_bits: bool
    huge: bool
    orders: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """What one run needs. scenario: without its `compare` section. rows: accesses of all traces. Picklable if its policy is."""

    scenario: Scenario
    spaces: list[Space]
    rows: int
    policy: Policy
    memory: Bytes
    engine: Executor

    @property
    def interval_ns(self) -> int:
        """A page idle for this long is cold: the aging interval, 2 s without one."""
        return self.scenario.aging.every or INTERVAL


class Bands:
    """Bands of neighbouring pages: band i of a space holds pages i << shift and on; the bands of all spaces are in one row."""

    def __init__(self, spaces: list[Space]) -> None:
        self.most = max(1, min(BANDS, ALL_BANDS // len(spaces)))
        self.shifts = [region_shift(space.pages, self.most) for space in spaces]
        self.counts = [((space.pages - 1) >> shift) + 1 for space, shift in zip(spaces, self.shifts, strict=True)]
        self.firsts = [sum(self.counts[:i]) for i in range(len(spaces))]
        self.total = sum(self.counts)


#: Columns of `Runner.bands`.
BAND_REFAULTS, BAND_EVICTIONS, BAND_LISTED, BAND_YOUNG = range(4)


class Runner(Protocol):
    """What replays a stream: `study.replay` feeds it."""

    def feed(self, rows: Accesses) -> None:
        """Take the next accesses, in time."""

    def bands(self) -> NDArray[np.int64] | None:
        """int64[bands, 4]: refaults and evictions so far; pages on a list and, of these, in the two youngest generations, as the
        last aging found them (0 without one). None if the policy knows at the end only."""

    def finish(self) -> Measured:
        """The numbers of the whole run."""


def open_traces(scenario: Scenario) -> list[Trace]:
    """The traces of all members, their heads read and checked. Raises TraceError, ScenarioError."""
    traces = [member.opened() for member in scenario.members]
    check_size(traces)
    return traces


def spaces_of(scenario: Scenario, traces: list[Trace]) -> list[Space]:
    """The address spaces, in the scenario's order."""
    return [
        Space(
            m.name,
            t.meta.pages,
            m.mmu if isinstance(m, VmSection) else "",
            m.ad_bits if isinstance(m, VmSection) else True,
            m.thp == "always",
            sum(size >> PAGE_SHIFT for size in set(m.mthp)),
        )
        for m, t in zip(scenario.members, traces, strict=True)
    ]


def _refuse_mthp(scenario: Scenario) -> None:
    """Raise ScenarioError: the engine has folios of 4 KiB and 2 MiB only."""
    for member in scenario.members:
        if member.mthp:
            raise ScenarioError(
                f"{member.name}: mthp: the compiled engine has no folios between 4 KiB and 2 MiB",
                hint="run the model: agewalk compare ... --engine direct, on a trace of up to some million accesses",
            )


def plan(scenario: Scenario, engine: Executor = "compiled", *, keys: Keys = Keys()) -> list[Job]:  # noqa: B008 - frozen
    """All runs of a comparison: for each memory size, ascending, the protocols and then the baselines.

    Each policy is made once; whatever is wrong with one is known now. keys: what messages call the scenario's keys.
    Raises TraceError, ScenarioError.
    """
    traces = open_traces(scenario)
    spaces = spaces_of(scenario, traces)
    if engine == "compiled":
        _refuse_mthp(scenario)
    rows = sum(trace.rows for trace in traces)
    kernel = scenario.host.kernel
    policies = [protocol_policy(choice, kernel, keys) for choice in scenario.protocols]
    policies += [baseline_policy(name, kernel, keys) for name in scenario.compare.baselines]
    if engine == "compiled":  # it needs the tables alone, and a class of a notebook cannot go to another process
        policies = [replace(policy, protocol=None) for policy in policies]
    bare = scenario.model_copy(update={"compare": CompareSection(protocols=[], baselines=[])})
    return [Job(bare, spaces, rows, policy, memory, engine) for memory in scenario.memories for policy in policies]
