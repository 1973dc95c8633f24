"""Facts of traces small enough to count by hand, and of the sample as another program counts them."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agewalk.core.errors import UsageError
from agewalk.core.units import Bytes, Ns
from agewalk.trace import MemoryTrace, Phase, TraceMeta, open_trace
from agewalk.trace.facts import Facts, facts, window_for
from agewalk.trace.format import Batch
from agewalk.trace.picture import MAX_POINTS, _highest, chart, save_picture

SAMPLE = Path(__file__).parents[2] / "src/agewalk/data/redis-vm.parquet"
S = 10**9


def small() -> MemoryTrace:
    phases = (Phase(1, Ns(2 * S), "A"), Phase(2, Ns(13 * S), "B"))
    meta = TraceMeta(memory_bytes=Bytes(1024 * 4096), vcpus=3, phases=phases, row_epoch_ns=Ns(10**8))
    time = [t * S // 2 for t in (2, 3, 4, 4, 5, 26, 27, 30)]
    rows = Batch.of(
        time,
        [1, 2, 1, 1, 600, 1, 1, 7],
        vcpu=[0, 1, 0, 0, 0, 0, 0, 0],
        write=[1, 0, 0, 0, 0, 0, 0, 1],
        context=[0] * 7 + [1],
    )
    return MemoryTrace(meta, rows)


def test_by_hand() -> None:
    got = facts(small())
    assert (got.rows, got.first_ns, got.last_ns, got.duration_ns) == (8, S, 15 * S, 14 * S + 10**8)
    assert (got.pages, got.regions, got.writes, got.vcpu_rows, got.context_rows) == (4, 2, 2, [7, 1, 0], [7, 1, 0])
    assert got.curve == [(S, 2), (2 * S, 2), (13 * S, 1), (15 * S, 1)]
    assert (got.window_ns, got.windows) == (S, 15)
    # 11 empty windows, then 1, 1, 2, 2
    assert got.working_set() == {"min": 0, "p50": 0, "p90": 2, "p99": 2, "max": 2}
    assert [(p.rows, p.pages) for p in got.phases] == [(3, 2), (3, 2)]
    assert int(got.heat.sum()) == 8


@pytest.mark.parametrize(
    ("duration", "slot", "window"),
    [
        (0, 0, 1), (1, 0, 1), (99, 0, 1), (100, 0, 10), (10**9, 0, 10**8), (10 * S - 1, 0, 10**8), (10 * S, 0, S), (10**12, 0, S),
        (10**9, 10**8, 10**8), (10**9, 3 * 10**8, 3 * 10**8), (10**12, 10**8, S), (10**12, 2 * S, 2 * S),
    ],
)  # fmt: skip
def test_window(duration: int, slot: int, window: int) -> None:
    assert window_for(duration, slot) == window


def test_no_window_is_shorter_than_a_slot() -> None:
    slot = 100_000
    meta = TraceMeta(memory_bytes=Bytes(1024 * 4096), row_epoch_ns=Ns(slot))
    got = facts(MemoryTrace(meta, Batch.of([0, 0, slot, 2 * slot, 2 * slot], [1, 2, 1, 3, 4])))
    assert (got.window_ns, got.windows) == (slot, 3)
    assert got.working_set() == {"min": 1, "p50": 2, "p90": 2, "p99": 2, "max": 2}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3 * S), st.integers(0, 2**17 - 1), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(1, 60),
)
def test_against_dictionaries_at_any_batch_size(steps: list[tuple[int, int, int]], cut: int) -> None:
    now, time = 0, []
    for step, _, _ in steps:
        now += step
        time.append(now)
    marks = sorted(time[::7])
    meta = TraceMeta(memory_bytes=Bytes(2**17 * 4096), phases=tuple(Phase(i, Ns(t), "") for i, t in enumerate(marks)))
    trace = MemoryTrace(meta, Batch.of(time, [p for _, p, _ in steps], vcpu=[v for _, _, v in steps]))

    class Cut:
        name, meta, rows = trace.name, trace.meta, trace.rows

        def batches(self, max_rows: int = 0) -> Any:
            return trace.batches(cut)

    got = facts(Cut())
    window = window_for(time[-1] - time[0], 0)
    sets: dict[int, set[int]] = defaultdict(set)
    for t, (_, page, _) in zip(time, steps, strict=True):
        sets[t // window * window].add(page)
    assert got.curve == sorted((t, len(p)) for t, p in sets.items())
    counts = sorted([len(p) for p in sets.values()] + [0] * (got.windows - len(sets)))
    ranks = {f"p{q}": counts[-(-q * len(counts) // 100) - 1] for q in (50, 90, 99)}
    assert got.working_set() == {"min": counts[0], **ranks, "max": counts[-1]}
    assert got.pages == len({p for _, p, _ in steps})
    assert got.regions == len({p >> 9 for _, p, _ in steps})
    for phase, (start, end) in zip(got.phases, pairwise([*marks, now + 1]), strict=True):
        inside = [p for t, (_, p, _) in zip(time, steps, strict=True) if start <= t < end]
        assert (phase.rows, phase.pages) == (len(inside), len(set(inside)))


def test_sample_as_arrow_counts_it() -> None:
    got = facts(open_trace(SAMPLE))
    table = pq.read_table(SAMPLE)
    assert got.pages == pc.count_distinct(table["gfn"]).as_py()
    assert got.writes == pc.sum(table["write"]).as_py()
    assert got.vcpu_rows == [table["vcpu"].to_pylist().count(v) for v in (0, 1)]
    document = json.loads(json.dumps(got.as_json()))
    assert (document["schema"], document["rows"], document["metadata"]["page_size"]) == (1, table.num_rows, "4096")


def test_pictures(tmp_path: Path) -> None:
    got = facts(small())
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<svg"), ("a.html", b"<!doctype html>")):
        save_picture(got, tmp_path / name)
        content = (tmp_path / name).read_bytes()
        assert content.lstrip().startswith(start)
        if name != "a.png":
            assert b"guest memory" in content
    page = (tmp_path / "a.html").read_bytes()
    assert b"<script src=" not in page, "self-contained"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "a.png", "a.svg"]


def test_picture_holds_every_row() -> None:
    got: Facts = facts(open_trace(SAMPLE))
    spec = chart(got).to_dict()
    heat, curve = (spec["datasets"][part["layer"][0]["data"]["name"]] for part in spec["vconcat"])
    assert sum(cell["n"] for cell in heat) == got.rows
    assert max(point["p"] for point in curve) == got.working_set()["max"]


def test_a_picture_of_many_windows_keeps_the_highest() -> None:
    curve = [(i, 1000 if i == 7777 else i % 5) for i in range(100_000)]
    drawn = _highest(curve)
    assert len(drawn) <= MAX_POINTS
    assert (7777, 1000) in drawn
    assert _highest(curve[:MAX_POINTS]) == curve[:MAX_POINTS]


@pytest.mark.parametrize("place", ["a.gif", "a", "absent/a.png"])
def test_bad_places(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError):
        save_picture(facts(small()), tmp_path / place)
