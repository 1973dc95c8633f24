"""Which pages are used when: the picture under `agewalk compare`'s report. It does not depend on a policy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import Ns
from agewalk.study.job import open_traces
from agewalk.study.merge_traces import clock_zero
from agewalk.study.result import BINS, FIRST_BIN
from agewalk.study.scenarios.scenario import Scenario
from agewalk.trace import Trace

ROWS = 128  # bands of neighbouring pages, at most


@dataclass(frozen=True, slots=True)
class Heat:
    """Accesses of one member: `counts[row, column]` in bands of `pages_per_row` pages and bins of `bin_ns`.

    phases: what the guest did from when on, (host time in ns, text).
    """

    name: str
    bin_ns: int
    pages_per_row: int
    counts: NDArray[np.uint32]
    phases: list[tuple[int, str]]


def _heat(name: str, trace: Trace, start: int) -> Heat:
    per_row = -(-trace.meta.pages // ROWS)
    rows = -(-trace.meta.pages // per_row)
    counts = np.zeros((rows, BINS), np.uint32)
    bin_ns = int(FIRST_BIN)
    last = 0
    for batch in trace.batches():
        time = batch.time_ns.astype(np.int64) + start
        last = int(time[-1])
        while last >= BINS * bin_ns:
            halved = counts[:, 0::2] + counts[:, 1::2]
            counts = np.zeros_like(counts)
            counts[:, : BINS // 2] = halved
            bin_ns *= 2
        place = (batch.gfn.astype(np.int64) // per_row) * BINS + time // bin_ns
        counts += np.bincount(place, minlength=rows * BINS).reshape(rows, BINS).astype(np.uint32)
    phases = [(max(0, int(p.time_ns) + start), p.text) for p in trace.meta.phases]
    return Heat(name, bin_ns, per_row, counts[:, : last // bin_ns + 1], phases)


def heat_maps(scenario: Scenario) -> list[Heat]:
    """One picture a member, in the scenario's order; reads each trace once."""
    traces = open_traces(scenario)
    starts = [Ns(member.start) for member in scenario.members]
    zero = clock_zero(traces, starts)
    return [
        _heat(member.name, trace, start - zero)
        for member, trace, start in zip(scenario.members, traces, starts, strict=True)
    ]
