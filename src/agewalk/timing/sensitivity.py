"""How much a result hangs on each cost: one cost at a time up and down, everything else as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agewalk.core.errors import UsageError
from agewalk.timing.costs import CostTable
from agewalk.timing.experiment import Experiment
from agewalk.timing.run import run_row

SWING: Final = 0.3
#: Costs whose sources leave room; those without effect on an experiment come out as nought.
ASKED: Final = (
    "cpu.step", "line.hit", "line.core_to_core", "line.socket_to_socket", "line.memory", "line.sequential", "line.retention",
    "atomic.local", "call.retpoline", "call.function", "count.kvm_tdp_mmu_map", "fault.other_lines", "fault.other_visits",
    "cache.lines", "work.rest_of_fault", "work.zero_page", "work.rmqueue", "work.pass_overhead", "noise.work",
)  # fmt: skip


@dataclass(frozen=True)
class Swing:
    """What a cost's change by -30 % and +30 % does: relative changes of the ratio of pass times (first ager / second) and
    of the first ager's wall time."""

    cost: str
    pass_low: float
    pass_high: float
    wall_low: float
    wall_high: float

    @property
    def size(self) -> float:
        """The largest of the four."""
        return max(abs(v) for v in (self.pass_low, self.pass_high, self.wall_low, self.wall_high))


def sensitivity(
    experiment: Experiment,
    costs: CostTable,
    *,
    vcpus: int,
    factor: int | None = None,
    seeds: tuple[int, ...] = (0,),
    names: tuple[str, ...] = ASKED,
    told: Callable[[str], None] = lambda _: None,
) -> list[Swing]:
    """Swings, largest first. Counts move by one instead of 30 %."""
    agers = [v for v in experiment.variants if v.host][:2]
    if len(agers) < 2:
        raise UsageError(f"{experiment.name} has no two variants that age", hint="nothing to compare")

    def at(table: CostTable) -> tuple[float, float]:
        passes, walls = [0.0, 0.0], [0.0, 0.0]
        for seed in seeds:
            for i, variant in enumerate(agers):
                row = run_row(experiment, variant, vcpus, table, factor=factor, seed=seed)
                passes[i] += row.pass_s or 0.0
                walls[i] += row.wall_s
        return passes[0] / passes[1], walls[0]

    ratio, wall = at(costs)
    swings: list[Swing] = []
    for name in names:
        told(name)
        cost = costs[name]
        by = 1.0 if cost.unit == "count" and cost.value < 16 else SWING * cost.value
        low = at(costs.with_values({name: max(0.0, cost.value - by)}))
        high = at(costs.with_values({name: cost.value + by}))
        swings.append(Swing(name, low[0] / ratio - 1, high[0] / ratio - 1, low[1] / wall - 1, high[1] / wall - 1))
    return sorted(swings, key=lambda s: -s.size)
