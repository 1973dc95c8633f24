"""Several traces as one stream: order, shifts, and no trace of how the files were cut."""

import random
from typing import Any

import pytest

from agewalk.core.units import Bytes, Ns
from agewalk.study.merge_traces import footprint, merged
from agewalk.trace import Batch, MemoryTrace, TraceMeta


def trace(rows: list[tuple[int, int]]) -> MemoryTrace:
    return MemoryTrace(TraceMeta(memory_bytes=Bytes(1 << 20)), Batch.of([t for t, _ in rows], [g for _, g in rows]))


def stream(*args: Any, **kwargs: Any) -> list[tuple[int, int, int]]:
    parts = list(merged(*args, **kwargs))
    return [
        (int(t), int(s), int(p)) for part in parts for t, s, p in zip(part.time_ns, part.space, part.page, strict=True)
    ]


def test_two_traces_by_hand() -> None:
    a, b = trace([(0, 1), (10, 2), (10, 3), (30, 4)]), trace([(0, 5), (5, 6)])
    assert stream([a, b], [Ns(0), Ns(5)]) == [(0, 0, 1), (5, 1, 5), (10, 0, 2), (10, 0, 3), (10, 1, 6), (30, 0, 4)]


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
def test_equal_to_sorting_everything_however_it_is_cut(rows: int) -> None:
    draw = random.Random(rows)
    sources = [
        sorted((draw.randrange(40), draw.randrange(256)) for _ in range(draw.randrange(1, 200))) for _ in range(4)
    ]
    starts = [Ns(draw.randrange(60)) for _ in sources]
    everything = [
        (t + start, s, g) for s, (rows_, start) in enumerate(zip(sources, starts, strict=True)) for t, g in rows_
    ]
    zero = min(everything)[0]
    expected = [
        (t - zero, s, g) for t, s, g in sorted(everything, key=lambda row: row[:2])
    ]  # a trace's own order is kept
    assert stream([trace(s) for s in sources], starts, rows=rows) == expected


def test_memory_stays_at_a_few_batches() -> None:
    long = trace([(i, i % 256) for i in range(10_000)])
    sizes = [len(part) for part in merged([long, long], [Ns(0), Ns(0)], rows=100)]
    assert sum(sizes) == 20_000
    assert max(sizes) <= 400


def test_footprint_counts_distinct_pages() -> None:
    assert footprint(trace([(0, 3), (1, 3), (2, 200)])) == 2
