"""The events of a run, for a timeline. The machine adds them to its recorder, if it has one; `timeline.py` writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Slice(NamedTuple):
    """A slice of a CPU's track; times in ps. of: the thread. kind: "span", "wait" or "hold"."""

    cpu: int
    kind: str
    what: str
    of: str
    start: int
    end: int


class Flow(NamedTuple):
    """A lock passes from one thread to the next: released on `cpu` at `start`, taken on `to_cpu` at `end`."""

    cpu: int
    to_cpu: int
    start: int
    end: int
    what: str


@dataclass
class Recorder:
    """Slices, flows and counters, up to `limit` of each. dropped: how many were not kept; the timeline's title says it."""

    limit: int = 200_000
    slices: list[Slice] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    gauges: list[tuple[str, int, int]] = field(default_factory=list)  # (name, ps, value)
    dropped: int = 0

    def slice(self, cpu: int, kind: str, what: str, of: str, start: int, end: int) -> None:
        """Add a slice, unless it is empty."""
        if end <= start:
            return
        if len(self.slices) < self.limit:
            self.slices.append(Slice(cpu, kind, what, of, start, end))
        else:
            self.dropped += 1

    def flow(self, cpu: int, to_cpu: int, start: int, end: int, what: str) -> None:
        """Add a hand-over."""
        if len(self.flows) < self.limit:
            self.flows.append(Flow(cpu, to_cpu, start, end, what))
        else:
            self.dropped += 1

    def gauge(self, what: str, at: int, value: int) -> None:
        """Add a value of a counter."""
        if len(self.gauges) < self.limit:
            self.gauges.append((what, at, value))
        else:
            self.dropped += 1
