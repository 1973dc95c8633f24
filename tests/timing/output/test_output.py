"""What people look at: the Perfetto timeline and the charts."""

from pathlib import Path
from typing import Any

import pytest

from agewalk.timing.experiment import load_experiment
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.output.charts import experiment_chart, sensitivity_chart, write_charts
from agewalk.timing.output.timeline import _CPU, _HOLDS, write_perfetto
from agewalk.timing.recorder import Recorder
from agewalk.timing.run import run_all, run_row
from agewalk.timing.sensitivity import Sensitivity, Swing


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

    experiment = load_experiment("access-tracking")
    recorder = Recorder()
    row = run_row(experiment, experiment.variants[1], 4, load_costs(), factor=8192, recorder=recorder)
    path = tmp_path_factory.mktemp("perfetto") / "trace.pftrace"
    packets = write_perfetto(recorder, path, title="test")
    trace = Trace()
    trace.ParseFromString(path.read_bytes())
    assert len(trace.packet) == packets
    return trace, row


def test_cpus_are_tracks(timeline: Any) -> None:
    names = {
        p.track_descriptor.uuid: p.track_descriptor.name for p in timeline[0].packet if p.HasField("track_descriptor")
    }
    assert {f"cpu {n}" for n in range(5)} <= set(names.values())
    used = {p.track_event.track_uuid for p in timeline[0].packet if p.HasField("track_event")}
    assert used <= set(names)


def test_slices_nest_on_every_track(timeline: Any) -> None:
    depth: dict[int, int] = {}
    last: dict[int, int] = {}
    kinds: set[str] = set()
    for packet in timeline[0].packet:
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        assert packet.timestamp >= last.get(event.track_uuid, 0)
        last[event.track_uuid] = packet.timestamp
        if event.type == event.TYPE_SLICE_BEGIN:
            depth[event.track_uuid] = depth.get(event.track_uuid, 0) + 1
            kinds.add(event.name)
        elif event.type == event.TYPE_SLICE_END:
            depth[event.track_uuid] -= 1
            assert depth[event.track_uuid] >= 0
    assert set(depth.values()) == {0}
    assert {"fault", "aging pass", "waits for kvm.mmu_lock", "kvm.mmu_lock (write)"} <= kinds


def test_arrows_go_from_a_holder_to_a_waiter(timeline: Any) -> None:
    given = {i: p for p in timeline[0].packet for i in p.track_event.flow_ids}
    taken = {i: p for p in timeline[0].packet for i in p.track_event.terminating_flow_ids}
    assert given
    assert given.keys() == taken.keys()
    ended = {
        (p.track_event.track_uuid - _HOLDS, p.timestamp)
        for p in timeline[0].packet
        if p.track_event.type == p.track_event.TYPE_SLICE_END and p.track_event.track_uuid >= _HOLDS
    }
    for flow, start in given.items():
        assert start.timestamp <= taken[flow].timestamp
        assert start.track_event.track_uuid != taken[flow].track_event.track_uuid
        assert (start.track_event.track_uuid - _CPU, start.timestamp) in ended  # it begins where the lock is given back


def test_counters_follow_young_pages(timeline: Any) -> None:
    values = [p.track_event.counter_value for p in timeline[0].packet if p.track_event.type == 4]
    assert len(values) == timeline[1].passes
    assert max(values) > 0


def test_what_did_not_fit_is_counted() -> None:
    recorder = Recorder(limit=1)
    for at in (1, 2):
        recorder.slice(0, "run", "x", "t", at * 1000, at * 1000 + 500)
        recorder.flow(0, 1, 0, 1, "x")
        recorder.gauge("g", at, 1)
    recorder.slice(0, "run", "nothing", "t", 5, 5)
    assert (len(recorder.slices), len(recorder.flows), len(recorder.gauges), recorder.dropped) == (1, 1, 1, 3)


def test_charts_need_no_network(tmp_path: Path) -> None:
    experiment = load_experiment("access-tracking")
    rows = run_all(experiment, load_costs(), vcpus=[1, 2], factor=8192)
    written = write_charts(experiment_chart(experiment, rows), tmp_path / "c")
    assert [p.suffix for p in written] == [".html", ".svg", ".png"]
    svg = written[1].read_text(encoding="utf-8")
    assert "mean pass" in svg
    assert "no-opt" in svg
    assert "<script src=" not in written[0].read_text(encoding="utf-8")
    assert not list(tmp_path.glob("*.part"))


def test_sensitivity_chart_draws() -> None:
    experiment = load_experiment("access-tracking")
    found = Sensitivity((Swing("line.hit", -0.1, 0.1, -0.2, 0.2), Swing("tlb.kick", 0, 0, 0, 0)), 0.05, 0.01, 3)
    spec = str(sensitivity_chart(experiment, found, 4).to_dict())
    assert "'cost': 'line.hit'" in spec
    assert "'cost': 'tlb.kick'" not in spec
    assert "no effect: tlb.kick" in spec
    assert "{'from': -0.05, 'to': 0.05}" in spec
