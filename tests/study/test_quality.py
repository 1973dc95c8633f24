"""Time lines and maps by hand, under both executors; skew; miss curves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.study.test_metrics import S, job

from agewalk.core.units import Bytes
from agewalk.engine.baselines.curve import Shards
from agewalk.study.job import Bands, Space
from agewalk.study.miss_ratio_curves import curves
from agewalk.study.policies import protocol_policy
from agewalk.study.quality import lines_and_maps, rows, trimmed
from agewalk.study.replay import replay
from agewalk.study.result import Measured, Member, Run, TimeLineBuilder
from agewalk.study.scenarios.sections import Choice
from agewalk.study.store import Store
from agewalk.trace import Batch, MemoryTrace, TraceMeta, write_trace
from agewalk.trace.memory import load
from agewalk.trace.synth import Synthesis, SyntheticTrace


def test_bands_are_powers_of_two_of_pages() -> None:
    bands = Bands([Space("a", 64, "tdp", True, False), Space("b", 1000, "", True, False)])
    assert (bands.shifts, bands.counts, bands.firsts, bands.total) == ([1, 5], [32, 32], [0, 32], 64)
    many = Bands([Space(str(i), 1000, "", True, False) for i in range(200)])
    assert many.total == 200


def test_maps_fold_to_few_columns() -> None:
    """Two bands of one VM, 250 bins: refaults grow by 1 in every bin, in the first band; folded by 3 that is 83 columns of 3 and
    one of 2 (the last bin, after the last close, holds the rest)."""
    bands = Bands([Space("a", 64, "tdp", True, False)])
    builder = TimeLineBuilder(4 * bands.total)
    counts = np.zeros((bands.total, 4), np.int64)
    for _ in range(250):
        counts[0, 0] += 1
        counts[0, 2:] = 10, 4
        builder.close(counts.ravel())
    line, maps = lines_and_maps(builder, bands, counts, generations=True)
    assert sum(line.refaults[0]) == 250
    assert maps.refaults[0][0] == [3] * 83 + [1]
    assert maps.bin_ns == 3 * line.bin_ns
    assert set(maps.young[0][0]) == {400}
    assert set(maps.young[0][1]) == {-1}  # nothing is on a list there
    assert np.sum(maps.evictions) == 0


def test_both_executors_draw_the_same(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    times = [i * S // 150 for i in range(1200)]
    pages = [i * 7 % 40 if i % 3 else i // 3 % 200 for i in range(1200)]
    trace = write("t", times, pages, pages=256)
    runs = [
        replay(job(trace, "linux-6.18", baseline=False, engine=engine, every="1 s", frames=120))
        for engine in ("direct", "compiled")
    ]
    assert runs[0].maps == runs[1].maps
    assert runs[0].timeline == runs[1].timeline
    maps, measured = runs[0].maps, runs[0].measured
    assert maps is not None
    assert np.sum(maps.refaults) == measured.refaults > 0
    assert np.sum(maps.evictions) == measured.evictions
    assert np.max(maps.young) > 0
    assert sum(measured.refault_intervals or []) == measured.refaults
    store, policy = Store(tmp_path / "runs"), protocol_policy(Choice(name="linux-6.18"), "6.18")
    store.put("k", runs[1])
    assert store.get("k", policy, runs[1].memory_bytes, runs[1].engine) == runs[1]


def test_refault_intervals_by_hand(write) -> None:  # type: ignore[no-untyped-def]
    """16 frames, LRU-like: page 0 is evicted when page 16 comes at 16 s and is back 1 s later: 50 ticks of 20 ms, 6 bits."""
    measured = replay(
        job(write("t", [*[i * S for i in range(17)], 17 * S], [*range(17), 0]), "linux-6.18", baseline=False)
    ).measured
    assert measured.refaults == 1
    assert measured.refault_intervals is not None
    assert measured.refault_intervals[6] == 1
    assert trimmed([0, 3, 0, 0]) == [0, 3]


def run(policy: str, evictions: list[int]) -> Run:
    vms = [Member(name, 1, 0, n) for name, n in zip("ab", evictions, strict=True)]
    total = sum(evictions)
    measured = Measured(
        accesses=9, faults=total, refaults=0, evictions=total, hot_evictions=0, vms=vms, vcpu_stall_ns=0
    )
    return Run(policy, Bytes(1 << 20), measured, 0.5, "compiled", 0)


def test_skew_stands_beside_each_vm_where_opt_ran() -> None:
    """30 and 10 against OPT's 10 and 10: shares 3/4 and 1/4 against 1/2 each."""
    found: list[dict[str, Any]] = rows([run("v7", [30, 10]), run("opt", [10, 10])])
    assert [vm["eviction_skew"] for vm in found[0]["vms"]] == [0.25, -0.25]
    assert "eviction_skew" not in rows([run("v7", [30, 10])])[0]["vms"][0]


def test_curves_by_hand(write) -> None:  # type: ignore[no-untyped-def]
    """20 pages, round and round, three times: LRU hits nothing below 20 pages and misses each once from there on; OPT with 16 of
    them misses 20 times and then, at best, what does not fit."""
    path: Path = write("t", [0] * 60, list(range(20)) * 3)
    found = curves(job(path, "lru", baseline=True).scenario)
    assert found is not None
    assert (found.accesses, found.footprint) == (60, 20)
    lru = dict(found.lru)
    assert lru[19] == 1.0
    assert lru[20] == pytest.approx(1 / 3)
    opt = dict(found.opt)
    assert opt[20] == pytest.approx(1 / 3)
    assert 1 / 3 < opt[16] < 1
    assert all(ratio - error >= 0 and ratio + error <= 2 for _, ratio, error in found.shards)


@pytest.mark.parametrize(("kind", "touched", "guest"), [("zipf", 4000, 64 << 30), ("scan", 5000, 32 << 30)])
def test_a_sample_of_a_large_guest_that_is_little_used(tmp_path: Path, kind: str, touched: int, guest: int) -> None:
    """Its rate follows the pages touched, not the guest's size, and its error bar covers LRU's exact curve."""
    rows = load(SyntheticTrace(Synthesis(kind=kind, pages=touched, rows=40_000, seed=3))).columns
    spread = rows.gfn * np.uint64(guest // 4096 // touched)
    meta = TraceMeta(memory_bytes=Bytes(guest))
    write_trace(tmp_path / "t.parquet", MemoryTrace(meta, Batch.of(rows.time_ns, spread)))
    found = curves(job(tmp_path / "t.parquet", "lru", baseline=True).scenario)
    assert found is not None
    assert found.footprint <= touched
    assert found.rate == 0.5
    exact = dict(found.lru)
    assert all(abs(ratio - exact[n]) <= error + 1e-9 for n, ratio, error in found.shards)
    assert any(error < 0.1 for _, _, error in found.shards)


def test_parts_without_a_page_say_nothing() -> None:
    sample = Shards(1000, rate=0.5)
    sample.feed(np.zeros(100, np.uint32))  # one page, always: one part knows it, or none
    found = sample.estimate(1000, 1)
    assert found.error == 1.0
    assert 0 < found.ratio <= 1
