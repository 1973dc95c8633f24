"""Reading recorded workloads: one line of JSON is one run of a trace under one kernel and one limit (docs/workload.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from agewalk.core.errors import WitnessError
from agewalk.core.parse import parse_json
from agewalk.core.text import printable
from agewalk.core.units import PAGE_SIZE

BACKINGS: Final = ("host", "tdp", "legacy", "shadow")
NEVER, RESIDENT, SWAPPED = 0, 1, 2  # states of a page at the end
MOST_PAGES: Final = 1 << 32  # 16 TiB: more is a mistake in the file
_KEYS: Final = frozenset(
    [
        "schema",
        "kernel",
        "backing",
        "trace",
        "memory_percent",
        "memory_max_bytes",
        "aging_every_s",
        "lru_gen",
        "series",
        "pages_at_end",
        "resident",
        "swapped",
    ]
)
_COUNTS: Final = (
    "accesses", "agings", "workingset_refault_anon", "pgsteal", "pgscan", "anon_pages", "pswpin"
)  # fmt: skip
_HINT: Final = "'agewalk docs workload' says what a line holds"

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """Counters at one mark, from the start of the run. pswpin: pages that came back from swap. anon_pages: in use now."""

    accesses: int
    agings: int
    workingset_refault_anon: int
    pgsteal: int
    pgscan: int
    anon_pages: int
    pswpin: int


@dataclass(frozen=True)
class Workload:
    """One recorded run (a cell).

    where: file and line, for messages. memory_max: of the cgroup, in pages. aging_every_s: seconds of the trace between two
    commands to age, or None. lru_gen: MGLRU, or the two lists. series: at each mark, the last one at the end.
    pages_at_end: [state, count] runs over the trace's memory, None where they could not be read.
    """

    where: str
    kernel: str
    backing: str
    trace: str
    memory_percent: int
    memory_max: int
    aging_every_s: float | None
    lru_gen: bool
    series: tuple[Sample, ...]
    pages_at_end: tuple[tuple[int, int], ...] | None
    resident: int

    @property
    def refaults(self) -> int:
        """Pages that came back from swap."""
        return self.series[-1].pswpin

    @property
    def steals(self) -> int:
        """Pages that reclaim took."""
        return self.series[-1].pgsteal

    def describe(self) -> str:
        """The run in a line."""
        aging = f"aged every {self.aging_every_s:g} s" if self.aging_every_s else "not aged"
        lists = "MGLRU" if self.lru_gen else "two lists"
        return f"{self.trace}, Linux {self.kernel}, {self.backing}, {self.memory_percent} % of memory, {aging}, {lists}"


def read_workloads(path: Path) -> list[Workload]:
    """The runs of a file, in its order. Raises WitnessError with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise WitnessError(f"{path}: {error.strerror or error}", hint="a file of recorded workloads, *.jsonl") from None
    except UnicodeDecodeError:
        raise WitnessError(f"{path}: not a text file", hint="recorded workloads are lines of JSON in UTF-8") from None
    cells = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            cells.append(_workload(f"{path}: line {number}", line))
    if not cells:
        raise WitnessError(f"{path}: it is empty", hint=_HINT)
    return cells


def _workload(where: str, line: str) -> Workload:
    try:
        data = parse_json(line)
    except json.JSONDecodeError as error:
        raise WitnessError(f"{where}: {error.msg}", hint="not JSON, or cut off: copy the file again") from None
    except ValueError as error:
        raise WitnessError(f"{where}: {error}", hint=_HINT) from None
    if not isinstance(data, dict):
        raise WitnessError(f"{where}: not a JSON object", hint=_HINT)
    missing, unknown = sorted(_KEYS - set(data)), sorted(set(data) - _KEYS)
    if missing:
        raise WitnessError(f"{where}: key {missing[0]!r} is missing", hint=_HINT)
    if unknown:
        raise WitnessError(f"{where}: unknown key {printable(unknown[0])!r}", hint=_HINT)
    if data["schema"] != 1:
        raise WitnessError(f"{where}: schema {printable(str(data['schema']))}", hint="this agewalk reads schema 1")
    get = _Getter(where, data)
    every = None if data["aging_every_s"] is None else get("aging_every_s", float, 0.001, 1e6)
    cell = Workload(
        where=where,
        kernel=get.text("kernel"),
        backing=get.text("backing"),
        trace=get.text("trace"),
        memory_percent=get("memory_percent", int, 1, 1000),
        memory_max=get("memory_max_bytes", int, PAGE_SIZE, MOST_PAGES * PAGE_SIZE) // PAGE_SIZE,
        aging_every_s=every,
        lru_gen=get("lru_gen", bool, False, True),
        series=_series(where, data["series"]),
        pages_at_end=_runs(where, data["pages_at_end"]),
        resident=get("resident", int, 0, MOST_PAGES),
    )
    if cell.backing not in BACKINGS:
        raise WitnessError(f"{where}: backing {printable(cell.backing)!r}", hint=f"one of: {', '.join(BACKINGS)}")
    return cell


class _Getter:
    """Values of one object, checked for type and range."""

    def __init__(self, where: str, data: dict[str, Any]) -> None:
        self.where = where
        self.data = data

    def __call__(self, key: str, type_: Callable[..., T], low: Any, high: Any) -> T:
        value = self.data[key]
        is_bool = isinstance(value, bool)
        right = is_bool if type_ is bool else isinstance(value, (int, float) if type_ is float else int) and not is_bool
        if not right or not low <= value <= high:
            raise WitnessError(
                f"{self.where}: {key} is {printable(str(value)[:40])}", hint=f"from {low} to {high}; {_HINT}"
            )
        return type_(value)

    def text(self, key: str) -> str:
        """A short string."""
        value = self.data[key]
        if not isinstance(value, str) or not 0 < len(value) <= 200:
            raise WitnessError(f"{self.where}: {key} is not a name", hint=_HINT)
        return value


def _series(where: str, data: Any) -> tuple[Sample, ...]:
    if not isinstance(data, list) or not data:
        raise WitnessError(f"{where}: series is empty", hint=_HINT)
    out = []
    for number, sample in enumerate(data):
        if not isinstance(sample, dict) or set(sample) != set(_COUNTS):
            raise WitnessError(f"{where}: series[{number}] has other keys than {', '.join(_COUNTS)}", hint=_HINT)
        get = _Getter(f"{where}: series[{number}]", sample)
        out.append(Sample(*(get(key, int, 0, 1 << 62) for key in _COUNTS)))
    return tuple(out)


def _runs(where: str, data: Any) -> tuple[tuple[int, int], ...] | None:
    if data is None:
        return None
    try:
        runs = tuple((int(state), int(count)) for state, count in data)
    except (TypeError, ValueError):
        raise WitnessError(f"{where}: pages_at_end is no list of [state, count]", hint=_HINT) from None
    if any(state not in (NEVER, RESIDENT, SWAPPED) or count < 0 for state, count in runs):
        raise WitnessError(f"{where}: pages_at_end: states are 0, 1 and 2, counts positive", hint=_HINT)
    if sum(count for _, count in runs) > MOST_PAGES:
        raise WitnessError(f"{where}: pages_at_end counts more than {MOST_PAGES} pages", hint=_HINT)
    return runs
