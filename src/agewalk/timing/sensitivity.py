"""How much a result depends on each cost: one cost at a time is moved down and up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import stdev
from typing import Final

from agewalk.core.errors import UsageError
from agewalk.timing.experiment import Experiment
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.run import Row, run_row

SWING: Final = 1.5  # each cost is divided and multiplied by this
_SMALL_COUNT: Final = 16  # a count below moves by one instead


@dataclass(frozen=True)
class Swing:
    """The effect of moving a cost down and up: relative changes of the ratio of pass times (first ager / second) and of the first
    ager's wall time."""

    cost: str
    pass_low: float
    pass_high: float
    wall_low: float
    wall_high: float

    @property
    def size(self) -> float:
        """The largest of the four."""
        return max(abs(v) for v in (self.pass_low, self.pass_high, self.wall_low, self.wall_high))


@dataclass(frozen=True)
class Sensitivity:
    """swings: largest first. pass_noise, wall_noise: relative difference between two runs with the same costs, as two standard
    errors of a difference of means over the seeds; a smaller swing is not significant. 0 with a single seed."""

    swings: tuple[Swing, ...]
    pass_noise: float
    wall_noise: float
    seeds: int


def moved(name: str, value: float, unit: str) -> tuple[float, float]:
    """The lower and the higher value: by a factor; by one for small counts; off and on for a flag."""
    if unit == "flag":
        return 0.0, 1.0
    if unit == "count" and value < _SMALL_COUNT:
        return max(1.0 if name.startswith("topology.") else 0.0, value - 1), value + 1
    return value / SWING, value * SWING


def sensitivity(
    experiment: Experiment,
    costs: CostTable,
    *,
    vcpus: int,
    factor: int | None = None,
    seeds: Iterable[int] = (0,),
    names: Iterable[str] | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> Sensitivity:
    """Move each of the named costs (default: all). Raises UsageError if the experiment has fewer than two variants that age."""
    agers = [v for v in experiment.variants if v.host][:2]
    if len(agers) < 2:
        raise UsageError(f"{experiment.name} has no two variants that age", hint="nothing to compare")
    drawn = tuple(seeds)

    def at(table: CostTable) -> list[tuple[Row, Row]]:
        first, second = (
            [run_row(experiment, variant, vcpus, table, factor=factor, seed=seed) for seed in drawn]
            for variant in agers
        )
        return list(zip(first, second, strict=True))

    base = at(costs)
    ratio, wall = _ratio(base), _wall(base)
    swings: list[Swing] = []
    for name in names if names is not None else costs:
        told(name)
        changed = [at(costs.with_values({name: value})) for value in moved(name, costs[name].value, costs[name].unit)]
        low, high = ((_ratio(rows) / ratio - 1, _wall(rows) / wall - 1) for rows in changed)
        swings.append(Swing(name, low[0], high[0], low[1], high[1]))
    return Sensitivity(
        tuple(sorted(swings, key=lambda s: -s.size)),
        _noise([_ratio([pair]) for pair in base]),
        _noise([_wall([pair]) for pair in base]),
        len(drawn),
    )


def _ratio(rows: list[tuple[Row, Row]]) -> float:
    return sum(a.pass_s or 0.0 for a, _ in rows) / sum(b.pass_s or 0.0 for _, b in rows)


def _wall(rows: list[tuple[Row, Row]]) -> float:
    return sum(a.wall_s for a, _ in rows) / len(rows)


def _noise(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return 2 * sqrt(2 / len(values)) * stdev(values) / mean
