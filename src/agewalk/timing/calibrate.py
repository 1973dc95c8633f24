"""Fit the free costs on published rows, and hold the prediction for the others against what was published.

Free: what no data sheet says (`FREE`). Everything else in the cost table stays as its source has it. The fit is damped
Gauss-Newton on the logarithms of wall and pass times; a row without `fit = true` is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Final

from agewalk.core.errors import UsageError
from agewalk.timing.costs import CostTable
from agewalk.timing.experiment import Experiment, Published
from agewalk.timing.run import Row, run_all

FREE: Final = ("work.rest_of_fault", "line.core_to_core", "cpu.step", "work.pass_overhead")
SOCKETS_FARTHER: Final = 1.7  # line.socket_to_socket is held at this multiple of line.core_to_core (its source)
PASS_WEIGHT: Final = 0.5  # a mean over a handful of passes jumps by 1/n with their number
_STEP: Final = 0.08  # of a cost, for the derivative
_REACH: Final = 0.5  # of a cost's logarithm, in one iteration


@dataclass(frozen=True)
class Fit:
    """error: root mean square of weighted log residuals, before each iteration and after the last."""

    costs: CostTable
    errors: tuple[float, ...]
    runs: int


@dataclass(frozen=True)
class Compared:
    """A predicted number beside the published one; `fitted`: calibration had seen it."""

    vcpus: int
    what: str
    published: float
    predicted: float
    fitted: bool

    @property
    def off(self) -> float:
        """Predicted / published - 1."""
        return self.predicted / self.published - 1


def with_free(costs: CostTable, values: Mapping[str, float]) -> CostTable:
    """The table with other free costs; the distance between sockets follows that between cores."""
    changed = dict(values)
    if "line.core_to_core" in changed:
        changed["line.socket_to_socket"] = SOCKETS_FARTHER * changed["line.core_to_core"]
    return costs.with_values(changed, fitted=True)


def residuals(rows: Mapping[tuple[int, str], Row], published: tuple[Published, ...]) -> list[float]:
    """Weighted log(predicted / published) of the rows that may be seen."""
    found: list[float] = []
    for row in published:
        if not row.fit:
            continue
        mine = rows[row.vcpus, row.variant]
        found.append(log(mine.wall_s / row.wall_s))
        if row.pass_s is not None and mine.pass_s is not None:
            found.append(PASS_WEIGHT * log(mine.pass_s / row.pass_s))
    return found


def fit(
    experiment: Experiment,
    costs: CostTable,
    *,
    iterations: int = 2,
    factor: int | None = None,
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
        rows = run_all(experiment, table, vcpus=seen, factor=factor, workers=workers)
        return residuals({(r.vcpus, r.variant): r for r in rows}, experiment.published)

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
    """Every published number with its prediction: wall and pass times, and the ratios between the first two variants that
    age, which is what the change that was measured is about. Means over seeds."""
    mine = _means(rows)
    known = {(p.vcpus, p.variant): p for p in experiment.published}
    aging = [v.name for v in experiment.variants if v.host]
    out: list[Compared] = []
    for n in sorted({p.vcpus for p in experiment.published}):
        for variant in experiment.variants:
            told, got = known.get((n, variant.name)), mine.get((n, variant.name))
            if told is None or got is None:
                continue
            out.append(Compared(n, f"wall, {variant.name}", told.wall_s, got[0], told.fit))
            if told.pass_s is not None and got[1] is not None:
                out.append(Compared(n, f"pass, {variant.name}", told.pass_s, got[1], told.fit))
        if len(aging) >= 2:
            out += _ratios(n, aging[0], aging[1], known, mine)
    return out


def _means(rows: list[Row]) -> dict[tuple[int, str], tuple[float, float | None]]:
    grouped: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.vcpus, row.variant), []).append(row)
    means: dict[tuple[int, str], tuple[float, float | None]] = {}
    for key, group in grouped.items():
        passes = [r.pass_s for r in group if r.pass_s is not None]
        means[key] = sum(r.wall_s for r in group) / len(group), sum(passes) / len(passes) if passes else None
    return means


def _ratios(
    n: int,
    first: str,
    second: str,
    known: Mapping[tuple[int, str], Published],
    mine: Mapping[tuple[int, str], tuple[float, float | None]],
) -> list[Compared]:
    a, b = known.get((n, first)), known.get((n, second))
    x, y = mine.get((n, first)), mine.get((n, second))
    if a is None or b is None or x is None or y is None:
        return []
    out = [Compared(n, f"wall ratio, {first} / {second}", a.wall_s / b.wall_s, x[0] / y[0], a.fit)]
    if a.pass_s and b.pass_s and x[1] and y[1]:
        out.append(Compared(n, f"pass ratio, {first} / {second}", a.pass_s / b.pass_s, x[1] / y[1], a.fit))
    return out
