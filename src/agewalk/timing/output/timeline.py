"""Writes the timeline as a Perfetto trace, for https://ui.perfetto.dev or a local copy of it. Each CPU has tracks:

cpu N            what runs there: measured spans (a guest's fault, an aging pass), and inside them the waits for locks
cpu N: holds     locks while they are held
counters         values of `Gauge`: young pages
A flow goes from a release of a lock to its next holder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from agewalk.core.files import whole
from agewalk.core.text import printable
from agewalk.timing.recorder import Recorder, Slice

_SEQUENCE: Final = 1
_PROCESS: Final = 1  # uuid of the host's track
_CPU: Final = 1000
_HOLDS: Final = 100_000
_COUNTERS: Final = 200_000
_HOST_PID: Final = 1


def write_perfetto(recorder: Recorder, path: Path, *, title: str) -> int:
    """Write `path` by way of a temporary file; returns the number of packets. Times become nanoseconds."""
    from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

    packets = 0
    with whole(path) as part, part.open("wb") as file:
        builder = StreamingTraceProtoBuilder(file)
        for fill in (*_descriptors(recorder, title), *_events(recorder)):
            packet = builder.create_packet()
            fill(packet)
            packet.trusted_packet_sequence_id = _SEQUENCE
            builder.write_packet(packet)
            packets += 1
    return packets


def _descriptors(recorder: Recorder, title: str) -> list[Any]:
    cpus = sorted(
        {s.cpu for s in recorder.slices} | {f.cpu for f in recorder.flows} | {f.to_cpu for f in recorder.flows}
    )
    made: list[Any] = []

    def process(packet: Any) -> None:
        packet.track_descriptor.uuid = _PROCESS
        packet.track_descriptor.process.pid = _HOST_PID
        packet.track_descriptor.process.process_name = printable(title) + (
            f" ({recorder.dropped} events left out)" if recorder.dropped else ""
        )
        packet.track_descriptor.child_ordering = packet.track_descriptor.EXPLICIT

    def track(uuid: int, name: str, order: int) -> Any:
        def fill(packet: Any) -> None:
            packet.track_descriptor.uuid = uuid
            packet.track_descriptor.parent_uuid = _PROCESS
            packet.track_descriptor.name = printable(name)
            packet.track_descriptor.sibling_order_rank = order

        return fill

    def counter(uuid: int, name: str) -> Any:
        def fill(packet: Any) -> None:
            packet.track_descriptor.uuid = uuid
            packet.track_descriptor.parent_uuid = _PROCESS
            packet.track_descriptor.name = printable(name)
            packet.track_descriptor.counter.SetInParent()

        return fill

    made.append(process)
    made += [counter(_COUNTERS + n, name) for n, name in enumerate(_gauge_names(recorder))]
    for cpu in cpus:
        made.append(track(_CPU + cpu, f"cpu {cpu}", 10 + 2 * cpu))
        made.append(track(_HOLDS + cpu, f"cpu {cpu}: holds", 11 + 2 * cpu))
    return made


def _gauge_names(recorder: Recorder) -> list[str]:
    return sorted({name for name, _, _ in recorder.gauges})


def _events(recorder: Recorder) -> list[Any]:
    """Functions that fill event packets, in time order. At equal times ends come first, and longer slices begin first."""
    keyed: list[tuple[tuple[int, int, int], Any]] = []
    for piece in recorder.slices:
        start, end = piece.start // 1000, piece.end // 1000
        if end > start:
            keyed.append(((start, 1, start - end), _begin(piece, start)))
            keyed.append(((end, 0, -start), _end(piece, end)))
    for n, flow in enumerate(recorder.flows, 1):
        given, taken = flow.start // 1000, flow.end // 1000
        keyed.append(((given, 2, n), _instant(flow.cpu, f"gives {flow.what}", given, n, last=False)))
        keyed.append(
            ((max(taken, given), 3, n), _instant(flow.to_cpu, f"gets {flow.what}", max(taken, given), n, last=True))
        )
    tracks = {name: _COUNTERS + n for n, name in enumerate(_gauge_names(recorder))}
    for name, at, value in recorder.gauges:
        keyed.append(((at // 1000, 4, 0), _count(tracks[name], at // 1000, value)))
    keyed.sort(key=lambda k: k[0])
    return [fill for _, fill in keyed]


def _uuid(piece: Slice) -> int:
    return (_HOLDS if piece.kind == "hold" else _CPU) + piece.cpu


def _begin(piece: Slice, at: int) -> Any:
    def fill(packet: Any) -> None:
        packet.timestamp = at
        event = packet.track_event
        event.type = event.TYPE_SLICE_BEGIN
        event.track_uuid = _uuid(piece)
        event.name = printable(f"waits for {piece.what}" if piece.kind == "wait" else piece.what)
        event.categories.append(piece.kind)
        note = event.debug_annotations.add()
        note.name = "thread"
        note.string_value = printable(piece.of)

    return fill


def _end(piece: Slice, at: int) -> Any:
    def fill(packet: Any) -> None:
        packet.timestamp = at
        packet.track_event.type = packet.track_event.TYPE_SLICE_END
        packet.track_event.track_uuid = _uuid(piece)

    return fill


def _instant(cpu: int, name: str, at: int, flow: int, *, last: bool) -> Any:
    def fill(packet: Any) -> None:
        packet.timestamp = at
        event = packet.track_event
        event.type = event.TYPE_INSTANT
        event.track_uuid = _CPU + cpu
        event.name = printable(name)
        (event.terminating_flow_ids if last else event.flow_ids).append(flow)

    return fill


def _count(uuid: int, at: int, value: int) -> Any:
    def fill(packet: Any) -> None:
        packet.timestamp = at
        packet.track_event.type = packet.track_event.TYPE_COUNTER
        packet.track_event.track_uuid = uuid
        packet.track_event.counter_value = value

    return fill
