"""The sample that ships: what it must keep, and that its cutter does what its metadata says."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from agewalk.core.units import Bytes, Ns
from agewalk.trace import MemoryTrace, Phase, TraceMeta, open_trace, write_trace
from agewalk.trace.format import Batch
from agewalk.trace.memory import load

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src/agewalk/data"
VMS = ("sqlite-vm.parquet", "redis-vm.parquet")


def pages_in(trace: MemoryTrace, start: int, end: int) -> set[int]:
    time = trace.columns.time_ns
    return set(trace.columns.gfn[(time >= start) & (time < end)].tolist())


def test_size_and_work() -> None:
    assert sum((DATA / vm).stat().st_size for vm in VMS) < 3 << 20
    traces = [load(open_trace(DATA / vm)) for vm in VMS]
    assert 100_000 <= sum(t.rows for t in traces) <= 200_000
    assert 10_000 <= sum(len(np.unique(t.columns.gfn)) for t in traces) <= 16_000


@pytest.mark.parametrize("vm", VMS)
def test_keeps_a_phase_change_an_idle_phase_and_a_scan(vm: str) -> None:
    trace = load(open_trace(DATA / vm))
    starts = [p.time_ns for p in trace.meta.phases]
    ends = [*starts[1:], int(trace.columns.time_ns[-1]) + 1]
    spans: dict[str, tuple[int, int]] = {}
    for phase, start, end in zip(trace.meta.phases, starts, ends, strict=True):
        spans.setdefault(phase.text, (start, end))
    hot = [pages_in(trace, *span) for text, span in spans.items() if "A 60" in text or "B 60" in text]
    assert len(hot) == 2
    assert len(hot[0] & hot[1]) < 0.5 * len(hot[0] | hot[1]), "the hot set changes"
    rate = {t: len(pages_in(trace, *s)) / (s[1] - s[0]) * 1e9 for t, s in spans.items()}
    assert rate["idle 60 s"] < 0.5 * rate[next(t for t in rate if "B 60" in t)]
    scan = next(r for t, r in rate.items() if t in {"scan 0 s", "bgsave"})
    assert scan > 10 * max(r for t, r in rate.items() if t not in {"scan 0 s", "bgsave"}), "the scan stands out"


@pytest.mark.parametrize("vm", VMS)
def test_metadata_says_how_it_was_made(vm: str) -> None:
    meta = open_trace(DATA / vm).meta
    made = json.loads(meta.other["sample"])
    assert (ROOT / made["script"]).is_file()
    assert made["source_rows"] > 10_000_000
    assert meta.memory_bytes == len(made["source_regions"]) * 512 * 4096
    assert meta.licence
    assert meta.vcpus == 2


def cutter() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cut_sample", ROOT / "tools/cut_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["cut_sample"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_cutter_on_a_hand_made_trace(tmp_path: Path) -> None:
    """Two regions (0 and 2) of four are touched; the hotter is dropped, times and gfns move, writes are or-ed."""
    tool = cutter()
    time = [0, 10, 20, 20, 30, 40, 50, 60]
    gfn = [1, 1030, 1029, 5, 1030, 1030, 6, 7]
    write = [0, 0, 0, 0, 1, 0, 0, 0]
    phases = (Phase(1, Ns(0), "boot"), Phase(2, Ns(20), "A"), Phase(3, Ns(60), "end"))
    meta = TraceMeta(memory_bytes=Bytes(4 * 512 * 4096), vcpus=1, phases=phases)
    write_trace(tmp_path / "t.parquet", MemoryTrace(meta, Batch.of(time, gfn, write=write)))
    recipe = tool.Recipe("x", (tool.Piece(2, 10, 2, 30),), every_nth_region=2, first_rank=0, slot_ns=20)
    got = tool.cut(open_trace(tmp_path / "t.parquet"), recipe)
    # the piece is 20..60 (from 10 on, rounded up); slots: 20..40 has 1029 5 1030w, 40..60 has 1030 6; region 2 leads by 3:2
    assert got.columns.time_ns.tolist() == [0, 0, 20]
    assert got.columns.gfn.tolist() == [5, 6, 6]
    assert got.columns.write.tolist() == [False, True, False]
    assert got.meta.memory_bytes == 512 * 4096
    assert got.meta.phases == (Phase(2, Ns(0), "A"),)
