"""What all parts of a modelled machine share: its prices, CPUs, lines and caches, and the books."""

from __future__ import annotations

from dataclasses import dataclass, field

from agewalk.core.counters import Counters
from agewalk.timing.hardware.cache_lines import LineMap
from agewalk.timing.hardware.coherence import Caches
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.hardware.prices import Prices
from agewalk.timing.hardware.topology import busy_cpus
from agewalk.timing.recorder import Recorder
from agewalk.timing.threads import FOREVER, CpuState


@dataclass
class Hardware:
    """The record that the parts are built from. recorder: receives the timeline, if one is wanted."""

    prices: Prices
    cpus: list[CpuState]
    lines: LineMap
    caches: Caches
    recorder: Recorder | None = None
    counters: Counters = field(default_factory=Counters)


def new_hardware(
    cpus: int, costs: CostTable, *, cached: int | None, modified: int | None, recorder: Recorder | None
) -> Hardware:
    """A machine of so many busy CPUs. cached: lines that the caches of a CPU hold (None: all). modified: how many of those
    other CPUs find there rather than in memory (None: all)."""
    prices = Prices(costs)
    busy = busy_cpus(cpus, costs)
    held = cached if cached is not None else FOREVER
    caches = Caches(prices, busy, held, modified if modified is not None else held)
    return Hardware(prices, busy, LineMap(len(busy)), caches, recorder)
