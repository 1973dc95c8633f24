"""What one run says: the numbers of `agewalk compare --json`, and how refaults came over time. Formulas: docs/metrics.md."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import MissingError
from agewalk.core.text import html, printable
from agewalk.core.units import Bytes, Ns, format_size, format_time

if TYPE_CHECKING:
    import pyarrow as pa

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
    aging: dict[str, int | dict[str, int]] | None = None
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


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """One policy on one memory size: what `compare` yields. seconds: how long the simulation took (wall clock). span_ns: trace
    time from the first access to the last."""

    policy: str
    memory_bytes: Bytes
    measured: Measured
    seconds: float
    engine: str
    span_ns: int
    timeline: TimeLine | None = field(default=None)
    maps: Maps | None = field(default=None)

    @property
    def refaults(self) -> int:
        """Faults on pages that had been evicted."""
        return self.measured.refaults

    def __repr__(self) -> str:
        memory = format_size(self.memory_bytes)
        return f"<Run {printable(self.policy)}, {memory}: {self.refaults:,} refaults, {self.measured.evictions:,} evictions>"

    def _repr_html_(self) -> str:
        return Runs([self])._repr_html_()

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


#: Columns of a notebook's table: heading, value of a run.
_SHOWN: Final[tuple[tuple[str, Callable[[Run], str]], ...]] = (
    ("policy", lambda run: printable(run.policy)),
    ("memory", lambda run: format_size(run.memory_bytes)),
    ("refaults", lambda run: f"{run.refaults:,}"),
    ("evictions", lambda run: f"{run.measured.evictions:,}"),
    ("hot evicted", lambda run: f"{run.measured.hot_evictions:,}"),
    ("vCPU stall", lambda run: format_time(run.measured.vcpu_stall_ns) if run.measured.vcpu_stall_ns else "0"),
)


class Runs(list[Run]):
    """The runs of a comparison: a list that becomes a table in a notebook, an Arrow table or a data frame."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        super().__init__(runs)

    def to_arrow(self) -> "pa.Table":
        """One row a run, columns as in `agewalk compare --json`; `vms` and `aging` are nested. Null: there is no such number."""
        import pyarrow as pa

        return pa.Table.from_pylist([run.row() for run in self])

    def to_pandas(self) -> Any:
        """`to_arrow` as a pandas data frame. Raises MissingError without pandas."""
        if find_spec("pandas") is None:
            hint = "pip install pandas; polars takes runs.to_arrow() as it is"
            raise MissingError("pandas is not installed", hint=hint)
        return self.to_arrow().to_pandas()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name, _ in _SHOWN)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html(value(run))}</td>" for _, value in _SHOWN) + "</tr>" for run in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


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
