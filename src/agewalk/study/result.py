"""What one run says: the numbers of `agewalk compare --json`, and how refaults came over time. Formulas: docs/metrics.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import Bytes, Ns

BINS: Final = 400  # of a time line, at most
FIRST_BIN: Final = Ns(50_000_000)


@dataclass(frozen=True, slots=True)
class Member:
    """One VM or process at the end of a run.

    working_set_pages: pages that the policy holds for in use (the two youngest generations; the active list), the mean
    over all aging passes; None where a policy has no such notion. working_set_true_pages: pages that were truly used within
    the aging interval, the mean over the same passes.
    """

    name: str
    resident_pages: int
    refaults: int
    evictions: int
    working_set_pages: int | None = None
    working_set_true_pages: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a policy did with a stream of accesses. None: the policy has no such thing (a baseline walks no page tables).

    aging: sums over all assessed passes and causes (`agewalk.study.quality`). refault_intervals: refaults by the bit length of
    the ticks that the page was away.
    """

    accesses: int
    faults: int
    refaults: int
    evictions: int
    hot_evictions: int
    vms: list[Member]
    cold_recall: float | None = None
    cold_precision: float | None = None
    age_rank_correlation: float | None = None
    ptes_walked: int | None = None
    notifier_calls: int | None = None
    mmu_lock_write_ns: int | None = None
    vcpu_stall_ns: int
    aging: dict[str, Any] | None = None
    refault_intervals: list[int] | None = None


@dataclass(frozen=True, slots=True)
class TimeLine:
    """Refaults against time: `refaults[m][i]` of member m from `i * bin_ns` to `(i + 1) * bin_ns`. Bins double as a run grows
    longer: any long run has 200 to 400 of them."""

    bin_ns: int
    refaults: list[list[int]]


@dataclass(frozen=True, slots=True)
class Maps:
    """Where and when: `refaults[m][row][i]` of member m, its pages from `row * pages_per_row[m]` on, from `i * bin_ns` on; so are
    evictions. young: per mille of the pages on a list that are in the two youngest generations at the end of bin i, -1 where
    there are none; empty without generations."""

    bin_ns: int
    pages_per_row: list[int]
    refaults: list[list[list[int]]]
    evictions: list[list[list[int]]]
    young: list[list[list[int]]]


@dataclass(frozen=True, slots=True)
class Run:
    """One policy on one memory size: what `compare` yields. `seconds`: how long the simulation took (wall clock)."""

    policy: str
    memory_bytes: Bytes
    measured: Measured
    seconds: float
    engine: str
    timeline: TimeLine | None = field(default=None)
    maps: Maps | None = field(default=None)

    @property
    def refaults(self) -> int:
        """Faults on pages that had been evicted."""
        return self.measured.refaults

    def row(self) -> dict[str, Any]:
        """The entry of `results` in the machine-readable output."""
        numbers = asdict(self.measured)
        vms = [{k: v for k, v in vm.items() if v is not None} for vm in numbers.pop("vms")]
        more = {key: numbers.pop(key) for key in ("aging", "refault_intervals")}
        return {
            "policy": self.policy,
            "memory_bytes": self.memory_bytes,
            **numbers,
            "seconds": round(self.seconds, 3),
            "vms": vms,
            **{key: value for key, value in more.items() if value is not None},
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, for the result store; `from_json` reads it."""
        return asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "Run":
        """The run that `to_json` wrote."""
        numbers = dict(raw["measured"])
        numbers["vms"] = [Member(**vm) for vm in numbers["vms"]]
        line = raw["timeline"]
        return Run(
            raw["policy"],
            Bytes(raw["memory_bytes"]),
            Measured(**numbers),
            raw["seconds"],
            raw["engine"],
            TimeLine(**line) if line else None,
            Maps(**raw["maps"]) if raw["maps"] else None,
        )


class TimeLineBuilder:
    """Collects how a row of cumulative counts grows, one bin after the other."""

    def __init__(self, members: int) -> None:
        self._bin_ns = int(FIRST_BIN)
        self._totals: list[NDArray[np.int64]] = []
        self._members = members

    @property
    def next_ns(self) -> int:
        """When the bin that is filling ends."""
        return (len(self._totals) + 1) * self._bin_ns

    def close(self, totals: Sequence[int] | NDArray[np.int64]) -> None:
        """The filling bin has ended with these cumulative counts."""
        self._totals.append(np.array(totals, np.int64))
        if len(self._totals) == BINS:
            self._totals = self._totals[1::2]
            self._bin_ns *= 2

    def ends(self, totals: Sequence[int] | NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
        """(length of a bin in ns, int64[bins + 1, counts]): the counts at the start and at the end of each bin; what came after
        the last full bin is in a last one."""
        rows = [np.zeros(self._members, np.int64), *self._totals, np.array(totals, np.int64)]
        return self._bin_ns, np.array(rows)

    def done(self, totals: Sequence[int] | NDArray[np.int64]) -> TimeLine:
        """The time line."""
        bin_ns, ends = self.ends(totals)
        return TimeLine(bin_ns, np.diff(ends, axis=0).T.tolist())
