"""Synthetic traces: laws that can be computed by hand, and reproducibility to the byte."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agewalk.core.errors import UsageError
from agewalk.trace import Batch, open_trace, write_trace
from agewalk.trace.memory import load
from agewalk.trace.synth import BLOCK, KINDS, Synthesis, SyntheticTrace, two_vms


def columns(kind: str, **how: Any) -> Batch:
    return load(SyntheticTrace(Synthesis(kind=kind, **how))).columns


def digest(batch: Batch) -> str:
    parts = (batch.time_ns, batch.vcpu, batch.gfn, batch.write, batch.context)
    return hashlib.sha256(b"".join(np.ascontiguousarray(c).tobytes() for c in parts)).hexdigest()[:16]


def test_zipf_has_zipfs_frequencies() -> None:
    got = columns("zipf", pages=1000, rows=400_000, exponent=1.0, seed=3)
    counts = np.sort(np.bincount(got.gfn.astype(int), minlength=1000))[::-1]
    harmonic = sum(1 / k for k in range(1, 1001))
    for rank in (1, 2, 3, 10, 30):
        want = 400_000 / rank / harmonic
        assert abs(counts[rank - 1] - want) < 5 * want**0.5 + 1, rank


@pytest.mark.parametrize("exponent", [0.0, 10.0])
def test_zipf_at_its_ends(exponent: float) -> None:
    got = columns("zipf", pages=64, rows=20_000, exponent=exponent)
    counts = np.sort(np.bincount(got.gfn.astype(int), minlength=64))[::-1]
    if exponent:
        assert counts[0] > 19_950  # 1 / zeta(10) = 0.999
    else:
        assert (abs(counts - 312.5) < 5 * 312.5**0.5).all()


def test_scan_is_a_scan() -> None:
    assert columns("scan", pages=5, rows=12).gfn.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


@pytest.mark.parametrize("step", [1, 3])
def test_ladder_by_hand(step: int) -> None:
    rounds = 2
    got = columns("ladder", pages=5, step=step, rows=rounds * step * 15)
    assert np.bincount(got.gfn.astype(int)).tolist() == [rounds * step * (5 - k) for k in range(5)]
    if step == 1:
        assert got.gfn[:15].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2, 0, 1, 0]


def test_phases_move_the_hot_set_and_pause() -> None:
    trace = SyntheticTrace(
        Synthesis(kind="phases", pages=1000, hot_pages=100, hot_share=0.9, phases=3, rows=30_000, idle_ns=10**9)
    )
    got = load(trace).columns
    assert [p.text for p in trace.meta.phases] == ["hot set 1", "idle 1", "hot set 2", "idle 2", "hot set 3"]
    for phase, first in ((0, 0), (1, 10_000), (2, 20_000)):
        pages = got.gfn[first : first + 10_000]
        share = ((pages >= 100 * phase) & (pages < 100 * (phase + 1))).mean()
        assert 0.895 < share < 0.925  # 0.9, and a tenth of the rest
        assert got.time_ns[first] == trace.meta.phases[2 * phase].time_ns == phase * (10**9 + 10_000_000)
    for before, after in pairwise(trace.meta.phases):
        assert before.time_ns < after.time_ns


def test_shares() -> None:
    got = columns("scan", rows=100_000, write_share=0.3, nested_share=0.1, vcpus=4)
    assert abs(got.write.mean() - 0.3) < 0.01
    assert abs(got.context.mean() - 0.1) < 0.01
    assert (abs(np.bincount(got.vcpu) / 100_000 - 0.25) < 0.01).all()
    for share, want in ((0.0, False), (1.0, True)):
        assert (columns("scan", rows=1000, write_share=share).write == want).all()


def test_two_vms_are_busy_in_turn() -> None:
    a, b = two_vms(Synthesis(kind="two-vms", rows=20_000, rate=10_000, pages=2048, hot_pages=64, phases=2))
    first, second = load(a).columns, load(b).columns
    assert len(first) + len(second) == 20_000
    # A: 0.5 s hot, 0.5 s idle, 0.5 s hot; B: from 0.5 s on
    assert first.time_ns[4999] < 5 * 10**8
    assert first.time_ns[5000] == 10**9
    assert second.time_ns[0] == 5 * 10**8
    assert second.time_ns[-1] < 3 * 10**9 / 2


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_duration_spreads_the_rows_over_it(kind: str) -> None:
    what = Synthesis(kind=kind, pages=100, hot_pages=10, rows=601, duration_ns=300 * 10**9, phases=3, idle_ns=10**9)
    time = load(SyntheticTrace(what)).columns.time_ns.tolist()
    busy = 300 * 10**9 - (2 * 10**9 if kind == "phases" else 0)
    pause = [i * 3 // 601 * 10**9 if kind == "phases" else 0 for i in range(601)]
    assert time == [i * busy // 601 + pause[i] for i in range(601)]
    assert 299 * 10**9 < time[-1] < 300 * 10**9


def test_two_vms_of_minutes() -> None:
    for idle, phases in ((0, 4), (10**9, 4), (0, 1), (100 * 10**9, 2)):
        what = Synthesis(
            kind="two-vms", rows=20_000, pages=2048, hot_pages=64, phases=phases, idle_ns=idle, duration_ns=300 * 10**9
        )
        ends = [load(trace).columns.time_ns[-1] for trace in two_vms(what)]
        assert 250 * 10**9 < max(ends) < 300 * 10**9
    with pytest.raises(UsageError, match="no time beside their pauses"):
        Synthesis(kind="phases", phases=2, idle_ns=10**10, duration_ns=10**9).check()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS[:-1]), st.integers(1, 2 * BLOCK), st.integers(0, 2**64 - 1))
def test_rows_do_not_depend_on_batches(kind: str, cut: int, seed: int) -> None:
    trace = SyntheticTrace(
        Synthesis(kind=kind, pages=300, hot_pages=30, rows=BLOCK + 77, seed=seed, vcpus=3, nested_share=0.5)
    )
    whole = load(trace).columns
    parts = list(trace.batches(cut))
    assert max(map(len, parts)) <= cut
    assert digest(Batch.concatenate(parts)) == digest(whole)
    if kind in {"zipf", "phases"}:
        other = SyntheticTrace(Synthesis(kind=kind, pages=300, hot_pages=30, rows=BLOCK + 77, seed=seed ^ 1))
        assert (load(other).columns.gfn != whole.gfn).any()


def test_same_file_twice_and_the_seed_is_in_it(tmp_path: Path) -> None:
    trace = SyntheticTrace(Synthesis(kind="zipf", rows=BLOCK * 3, pages=4096, seed=11, nested_share=0.5))
    for name in ("a", "b"):
        write_trace(tmp_path / name, trace)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = load(open_trace(tmp_path / "a"))
    assert digest(back.columns) == digest(load(trace).columns)
    made = json.loads(back.meta.other["synth"])
    assert (made["kind"], made["seed"], made["pages"]) == ("zipf", 11, 4096)


def test_rows_of_version_1_stay_what_they_are() -> None:
    """Not an oracle: notices that a seed's rows changed, so that VERSION must be raised."""
    got = {k: digest(columns(k, rows=5000, pages=512, hot_pages=32, vcpus=3, nested_share=0.25)) for k in KINDS[:-1]}
    assert got == PINNED


PINNED = {
    "zipf": "d48c38cd1b2f48fe",
    "scan": "737b18b9f69164ca",
    "phases": "c6110e0d8a619538",
    "ladder": "012a770b815968c5",
}


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"kind": "sawtooth"}, "unknown kind 'sawtooth'"),
        ({"kind": "two-vms"}, "unknown kind 'two-vms'"),
        ({"kind": "zipf", "rows": 0}, "rows is 0, outside 1"),
        ({"kind": "zipf", "pages": 1 << 27}, "pages is 134217728, outside"),
        ({"kind": "scan", "write_share": 1.5}, "write-share is 1.5, outside 0..1"),
        ({"kind": "scan", "write_share": float("nan")}, "write-share is nan"),
        ({"kind": "phases", "pages": 10}, "hot-pages is 1024, outside 1..10"),
        ({"kind": "phases", "rows": 3}, "phases is 4, outside 1..3"),
        ({"kind": "ladder", "step": 0}, "step is 0, outside"),
        ({"kind": "scan", "rows": 10**10, "rate": 1}, "take over 100000000 s"),
    ],
)
def test_nonsense(how: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        SyntheticTrace(Synthesis(**how))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "unused"),
    [
        ("scan", {"phases": 0, "hot_pages": 0, "hot_share": 9.0, "idle_ns": -1, "exponent": float("nan"), "step": 0}),
        ("zipf", {"phases": 4, "step": 0}),
        ("ladder", {"phases": 4, "exponent": -1.0}),
        ("phases", {"step": 0, "phases": 1}),
    ],
)
def test_what_a_kind_does_not_use_is_not_looked_at(kind: str, unused: dict[str, Any]) -> None:
    trace = SyntheticTrace(Synthesis(kind=kind, pages=3, rows=3, **{"hot_pages": 1} | unused))
    assert load(trace).rows == 3
    said = json.loads(trace.meta.other["synth"])
    assert not {k for k in unused if k != "phases" or kind != "phases"} & set(said)


@pytest.mark.parametrize("how", [{"phases": 0}, {"rate": 0}, {"rows": 0}, {"rows": 3}, {"hot_pages": 0}, {"pages": -1}])
def test_nonsense_of_two_vms(how: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="outside"):
        two_vms(Synthesis(kind="two-vms", **how))
