"""Baselines against libcachesim 0.3.5, against each other, and against cases worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from tests.engine.helpers import U32, libcachesim_misses, real, scans, zipf

from agewalk.core.errors import UsageError
from agewalk.engine.baselines.curve import LruCurve, Shards
from agewalk.engine.baselines.opt import opt
from agewalk.engine.baselines.queues import Queue

TRACES = {
    "zipf": zipf(60_000, 5_000, 1),
    "scan": scans(60_000, 3_000, 2),
    "sqlite": real("sqlite-vm", 120_000),
    "redis": real("redis-vm", 120_000),
}


def misses(policy: str, pages: U32, capacity: int, cut: int = 7_001) -> int:
    queue = Queue(policy, capacity, int(pages.max()) + 1)
    for start in range(0, len(pages), cut):
        queue.feed(pages[start : start + cut])
    return queue.misses


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("share", [0.05, 0.7])
@pytest.mark.parametrize(("policy", "theirs"), [("lru", "LRU"), ("fifo", "FIFO"), ("clock", "Clock")])
def test_as_libcachesim(trace: str, share: float, policy: str, theirs: str, tmp_path: Path) -> None:
    pages = TRACES[trace]
    capacity = int(len(np.unique(pages)) * share)
    assert misses(policy, pages, capacity) == libcachesim_misses(theirs, pages, capacity, tmp_path)


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_opt_as_belady(trace: str, share: float, tmp_path: Path) -> None:
    pages = TRACES[trace]
    capacity = int(len(np.unique(pages)) * share)
    (tally,) = opt(pages, capacity, int(pages.max()) + 1)
    assert tally.faults == libcachesim_misses("Belady", pages, capacity, tmp_path, future=True)


@pytest.mark.parametrize("trace", TRACES)
def test_the_curve_is_lru_at_every_size(trace: str) -> None:
    pages = TRACES[trace]
    curve = LruCurve(int(pages.max()) + 1)
    for start in range(0, len(pages), 999):
        curve.feed(pages[start : start + 999])
    for capacity in (1, 2, 17, 500, 1500, 2999):
        assert curve.misses()[capacity] == misses("lru", pages, capacity)
    assert curve.misses()[0] == len(pages)
    assert curve.misses()[-1] == len(np.unique(pages))


def test_beladys_example() -> None:
    """Silberschatz, Galvin, Gagne, "Operating System Concepts", ch. 10: 20 references, 3 frames: OPT 9, LRU 12, FIFO 15."""
    pages = np.array([7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1], np.uint32)
    assert [t.faults for t in opt(pages, 3, 8)] == [9]
    assert misses("lru", pages, 3) == 12
    assert misses("fifo", pages, 3) == 15


def test_beladys_anomaly() -> None:
    """Belady, Nelson, Shedler, CACM 12(6), 1969: FIFO misses 9 times with 3 frames and 10 times with 4."""
    pages = np.array([1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5], np.uint32)
    assert [misses("fifo", pages, frames) for frames in (3, 4)] == [9, 10]


def test_owners_and_hot_evictions_by_hand() -> None:
    """Two owners, two frames, FIFO: 0 a, 1 b fill; 2 a evicts 0 (idle 20), then 0 a evicts 1 (idle 15)."""
    owner = np.array([0, 1, 0], np.uint16)
    queue = Queue("fifo", 2, 3, owner=owner, hot_after_ns=20)
    queue.feed(np.array([0, 1, 2, 0], np.uint32), np.array([0, 10, 20, 25]))
    a, b = queue.tallies()
    assert (a.faults, a.refaults, a.evictions, a.hot_evictions, a.resident) == (3, 1, 1, 0, 2)
    assert (b.faults, b.refaults, b.evictions, b.hot_evictions, b.resident) == (1, 0, 1, 1, 0)


def test_random_lies_between_and_repeats() -> None:
    pages = TRACES["zipf"]
    assert misses("random", pages, 1000) == misses("random", pages, 1000, cut=123)
    assert opt(pages, 1000, 5000)[0].faults < misses("random", pages, 1000) < len(pages)


def test_shards_error_bar_covers_the_exact_curve() -> None:
    pages = zipf(200_000, 20_000, 3)
    curve, shards = LruCurve(20_000), Shards(20_000, rate=0.25, seed=5)
    curve.feed(pages)
    shards.feed(pages)
    exact = curve.misses() / len(pages)
    footprint = len(np.unique(pages))
    close = [
        abs(shards.estimate(size, footprint).ratio - exact[size]) <= shards.estimate(size, footprint).error
        for size in range(500, 15_000, 500)
    ]
    assert sum(close) >= 0.9 * len(close)
    assert max(shards.estimate(size, footprint).error for size in range(500, 15_000, 500)) < 0.1


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(UsageError, match="no replacement policy 'mru'"):
        Queue("mru", 1, 1)
    with pytest.raises(UsageError, match="0 pages"):
        opt(np.zeros(1, np.uint32), 0, 1)
    with pytest.raises(UsageError, match="sample"):
        Shards(10, rate=2)
