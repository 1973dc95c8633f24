"""Fits the free costs to published rows, and compares predictions with published numbers.

Free costs (`FREE`) are in no data sheet; all other entries of the cost table keep the value of their source. The fit is damped
Gauss-Newton on the logarithms of wall and pass times, and uses only rows with `fit = true`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Final

from agewalk.core.errors import UsageError
from agewalk.timing.experiment import Experiment, Published
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.run import Row, run_all

FREE: Final = (
    "work.rest_of_fault", "line.core_to_core", "cpu.step", "work.pass_overhead", "count.kvm_tdp_mmu_map", "line.sequential",
)  # fmt: skip
SOCKETS_FARTHER: Final = 2.2  # line.socket_to_socket / line.core_to_core is held there; its sources say 1.8 to 2.4
_STEP: Final = 0.15  # of a cost, for the derivative
_REACH: Final = 0.5  # of a cost's logarithm, in one iteration


@dataclass(frozen=True)
class Fit:
    """error: root mean square of weighted log residuals, before each iteration and after the last."""

    costs: CostTable
    errors: tuple[float, ...]
    runs: int


@dataclass(frozen=True)
class Compared:
    """A predicted and a published number. fitted: calibration used it. spread: half of the range over seeds."""

    vcpus: int
    what: str
    published: float
    predicted: float
    fitted: bool
    spread: float = 0.0

    @property
    def off(self) -> float:
        """Predicted / published - 1."""
        return self.predicted / self.published - 1


def with_free(costs: CostTable, values: Mapping[str, float]) -> CostTable:
    """The table with other free costs; `line.socket_to_socket` is changed in proportion to `line.core_to_core`."""
    changed = dict(values)
    if "line.core_to_core" in changed:
        changed["line.socket_to_socket"] = SOCKETS_FARTHER * changed["line.core_to_core"]
    return costs.with_values(changed, fitted=True)


def residuals(rows: list[Row], published: tuple[Published, ...]) -> list[float]:
    """Weighted log(predicted / published) of the rows with `fit`. A mean of n passes has weight n / (n + 2), because the last
    pass ends after the vCPUs."""
    mine = means(rows)
    found: list[float] = []
    for row in published:
        if not row.fit:
            continue
        got = mine[row.vcpus, row.variant]
        found.append(log(got.wall_s / row.wall_s))
        if row.pass_s is not None and got.pass_s is not None:
            passes = row.wall_s / row.pass_s
            found.append(passes / (passes + 2) * log(got.pass_s / row.pass_s))
    return found


def fit(
    experiment: Experiment,
    costs: CostTable,
    *,
    iterations: int = 2,
    factor: int | None = None,
    seeds: tuple[int, ...] = (0,),
    workers: int = 1,
    free: tuple[str, ...] = FREE,
    told: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Fit `free`. Raises UsageError if the experiment has no row to fit on."""
    seen = sorted({r.vcpus for r in experiment.published if r.fit})
    if not seen:
        raise UsageError(f"{experiment.name} publishes nothing to fit on", hint="mark rows with fit = true")
    runs = 0

    def at(point: list[float]) -> list[float]:
        nonlocal runs
        runs += 1
        table = with_free(costs, {name: exp(x) for name, x in zip(free, point, strict=True)})
        rows = run_all(experiment, table, vcpus=seen, factor=factor, seeds=seeds, workers=workers)
        return residuals(rows, experiment.published)

    point = [log(costs[name].value) for name in free]
    here = at(point)
    errors = [_rms(here)]
    for _ in range(iterations):
        told(f"error {errors[-1]:.3f} at " + ", ".join(f"{n} {exp(x):.3g}" for n, x in zip(free, point, strict=True)))
        slopes = []
        for i in range(len(free)):
            moved = list(point)
            moved[i] += _STEP
            slopes.append([(b - a) / _STEP for a, b in zip(here, at(moved), strict=True)])
        step = _solve(slopes, here)
        for shrink in (1.0, 0.5, 0.25):
            tried = [x + max(-_REACH, min(_REACH, shrink * d)) for x, d in zip(point, step, strict=True)]
            there = at(tried)
            if _rms(there) < errors[-1]:
                point, here = tried, there
                break
        errors.append(_rms(here))
    return Fit(with_free(costs, {name: exp(x) for name, x in zip(free, point, strict=True)}), tuple(errors), runs)


def _rms(values: list[float]) -> float:
    return sqrt(sum(v * v for v in values) / len(values))


def _solve(slopes: list[list[float]], found: list[float], damping: float = 0.02) -> list[float]:
    """The step d of least squares, (S S^T + damping) d = -S r, by elimination."""
    n = len(slopes)
    a = [
        [sum(x * y for x, y in zip(slopes[i], slopes[j], strict=True)) + damping * (i == j) for j in range(n)]
        for i in range(n)
    ]
    b = [-sum(x * y for x, y in zip(slopes[i], found, strict=True)) for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(a[k][i]))
        a[i], a[pivot], b[i], b[pivot] = a[pivot], a[i], b[pivot], b[i]
        for k in range(i + 1, n):
            ratio = a[k][i] / a[i][i]
            a[k] = [x - ratio * y for x, y in zip(a[k], a[i], strict=True)]
            b[k] -= ratio * b[i]
    for i in reversed(range(n)):
        b[i] = (b[i] - sum(a[i][j] * b[j] for j in range(i + 1, n))) / a[i][i]
    return b


def compare_published(experiment: Experiment, rows: list[Row]) -> list[Compared]:
    """Every published number with its prediction: wall and pass times, and their ratios between the first two variants that age.
    Predictions are means over seeds and ratios of means; spreads are from seed to seed."""
    known = {(p.vcpus, p.variant): p for p in experiment.published}
    aging = [v.name for v in experiment.variants if v.host]
    out: list[Compared] = []
    for n in sorted({p.vcpus for p in experiment.published}):
        for variant in experiment.variants:
            told, got = known.get((n, variant.name)), _of(rows, n, variant.name)
            if told is None or not got:
                continue
            for what, theirs in (("wall", told.wall_s), ("pass", told.pass_s)):
                mine = [value for r in got if (value := _number(r, what)) is not None]
                if theirs is not None and mine:
                    mean = sum(mine) / len(mine)
                    out.append(Compared(n, f"{what}, {variant.name}", theirs, mean, told.fit, _half_range(mine)))
        if len(aging) >= 2:
            out += _ratios(n, aging[0], aging[1], known, rows)
    return out


@dataclass(frozen=True)
class Mean:
    """Means over the seeds of a row. pass_s: of `Row.pass_whole_s`, as the published test counts."""

    wall_s: float
    pass_s: float | None


def means(rows: list[Row]) -> dict[tuple[int, str], Mean]:
    """Mean over seeds, by number of vCPUs and variant."""
    found: dict[tuple[int, str], Mean] = {}
    for key in dict.fromkeys((r.vcpus, r.variant) for r in rows):
        group = _of(rows, *key)
        passes = [r.pass_whole_s for r in group if r.pass_whole_s is not None]
        found[key] = Mean(sum(r.wall_s for r in group) / len(group), sum(passes) / len(passes) if passes else None)
    return found


def _of(rows: list[Row], vcpus: int, variant: str) -> list[Row]:
    return [r for r in rows if (r.vcpus, r.variant) == (vcpus, variant)]


def _number(row: Row, what: str) -> float | None:
    return row.wall_s if what == "wall" else row.pass_whole_s  # what was published is the test's own mean


def _half_range(values: list[float]) -> float:
    return (max(values) - min(values)) / 2


def _ratios(
    n: int, first: str, second: str, known: Mapping[tuple[int, str], Published], rows: list[Row]
) -> list[Compared]:
    a, b = known.get((n, first)), known.get((n, second))
    pairs = list(zip(_of(rows, n, first), _of(rows, n, second), strict=False))
    if a is None or b is None or not pairs:
        return []
    out: list[Compared] = []
    for what, over, under in (("wall", a.wall_s, b.wall_s), ("pass", a.pass_s, b.pass_s)):
        mine = [(x, y) for p, q in pairs if (x := _number(p, what)) and (y := _number(q, what))]
        if over and under and mine:
            ratio = sum(x for x, _ in mine) / sum(y for _, y in mine)
            spread = _half_range([x / y for x, y in mine])
            out.append(Compared(n, f"{what} ratio, {first} / {second}", over / under, ratio, a.fit, spread))
    return out
