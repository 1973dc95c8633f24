"""Miss ratio against memory on the stream of a scenario: LRU's whole curve in one pass, a sample's estimate of it with its error,
and OPT at some sizes. It does not depend on a policy."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import Ns, pages_of
from agewalk.study.job import Bands, open_traces, spaces_of
from agewalk.study.merge_traces import merged
from agewalk.study.runners.baselines import Numbering
from agewalk.study.scenarios.scenario import Scenario
from agewalk.trace import Trace

POINTS: Final = 240  # of LRU's curve
SIZES: Final = 12  # of OPT's, and of the sample's estimate
EXACT_ROWS: Final = 50_000_000  # LRU's exact curve costs log2(pages) steps an access; beyond, the sample stands alone
MOST_PAGES: Final = 1 << 25  # of all guests; nothing is drawn beyond
OPT_ROWS: Final = 4_000_000  # OPT holds the stream and sorts it anew for each size: up to so many accesses
SAMPLE: Final = 4096  # pages that the sample should have


@dataclass(frozen=True, slots=True)
class Curves:
    """Misses per access against memory in pages. footprint: pages touched. lru: exact, at equal steps up to the footprint; empty
    for streams of more than EXACT_ROWS accesses. opt: exact; empty for more than OPT_ROWS. shards: (pages, ratio, half the
    width of its 95 % interval), from a share `rate` of the pages."""

    accesses: int
    footprint: int
    lru: list[tuple[int, float]]
    opt: list[tuple[int, float]]
    shards: list[tuple[int, float, float]]
    rate: float


def _touched(traces: list[Trace], numbers: Numbering) -> NDArray[np.bool_]:
    """By page number: does anything touch it?"""
    seen = np.zeros(numbers.total, np.bool_)
    for trace, first in zip(traces, numbers.first.tolist(), strict=True):
        for batch in trace.batches():
            seen[first + batch.gfn.astype(np.int64)] = True
    return seen


def curves(scenario: Scenario) -> Curves | None:
    """Read the traces once to number the pages that they touch, and their merged stream once; None for guests of more than
    MOST_PAGES. Memory: 7 bytes a page of the guests, 220 a page touched, and 8 an access where OPT is drawn."""
    from agewalk.engine.baselines.curve import LruCurve, Shards
    from agewalk.engine.baselines.opt import opt

    traces = open_traces(scenario)
    spaces = spaces_of(scenario, traces)
    numbers = Numbering([space.pages for space in spaces], Bands(spaces))
    rows = sum(trace.rows for trace in traces)
    if numbers.total > MOST_PAGES:
        return None
    seen = _touched(traces, numbers)
    footprint = int(np.count_nonzero(seen))
    number = (np.cumsum(seen, dtype=np.int64) - 1).astype(np.uint32)
    exact = LruCurve(footprint if rows <= EXACT_ROWS else 1)
    held: list[NDArray[np.uint32]] = []
    rate = min(0.5, max(0.001, SAMPLE / footprint))
    sample = Shards(footprint, rate=rate, seed=scenario.host.seed)
    for part in merged(traces, [Ns(member.start) for member in scenario.members]):
        pages = number[numbers.pages(part)]
        sample.feed(pages)
        if rows <= EXACT_ROWS:
            exact.feed(pages)
        if rows <= OPT_ROWS:
            held.append(pages)
    misses = exact.misses()
    steps = sorted({max(1, footprint * i // POINTS) for i in range(1, POINTS + 1)} | {1})
    some = sorted({max(16, footprint * i // SIZES) for i in range(1, SIZES + 1)})
    asked = sorted({*some, *(pages_of(size) for size in scenario.memories if pages_of(size) < footprint)})
    bound = []
    if held:
        stream = np.concatenate(held)
        bound = [(n, sum(t.faults for t in opt(stream, n, footprint)) / rows) for n in asked]
    estimates = [(n, sample.estimate(n, footprint)) for n in some]
    return Curves(
        rows,
        footprint,
        [(n, int(misses[n]) / rows) for n in steps] if rows <= EXACT_ROWS else [],
        bound,
        [(n, e.ratio, e.error) for n, e in estimates],
        rate,
    )
