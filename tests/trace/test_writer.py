"""Writing: pyarrow reads back what was meant, equal rows give equal bytes, failures leave nothing behind."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agewalk.core.errors import TraceError, UsageError
from agewalk.core.units import Bytes, Ns
from agewalk.trace import MemoryTrace, Phase, TraceMeta, TraceWriter, open_trace, write_trace
from agewalk.trace.format import Batch, recut

META = TraceMeta(
    memory_bytes=Bytes(16 * 4096),
    vcpus=2,
    workload="w",
    kernel="k",
    row_epoch_ns=Ns(20),
    phases=(Phase(1, Ns(5), "A"), Phase(2, Ns(7), "B ü")),
    capture="c",
    licence="l",
    other={"clock": "x"},
)
ROWS = Batch.of(list(range(0, 100, 10)), [i * 7 % 16 for i in range(10)], vcpu=[i % 2 for i in range(10)], write=True)


def test_round_trip_as_pyarrow_sees_it(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.parquet", MemoryTrace(META, ROWS))
    table = pq.read_table(tmp_path / "t.parquet")
    assert {f.name: str(f.type) for f in table.schema} == {
        "time_ns": "uint64", "vcpu": "uint8", "gfn": "uint32", "write": "bool", "context": "uint8",
    }  # fmt: skip
    assert table["gfn"].to_pylist() == [i * 7 % 16 for i in range(10)]
    assert table.schema.metadata[b"memory_bytes"] == b"65536"
    assert open_trace(tmp_path / "t.parquet").meta == META
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_bytes_do_not_depend_on_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agewalk.trace.writer.GROUP_ROWS", 4)
    made = []
    for size in (1, 3, 4, 10):
        with TraceWriter(tmp_path / f"{size}.parquet", META) as writer:
            for at in range(0, 10, size):
                writer.write(ROWS[at : at + size])
        made.append((tmp_path / f"{size}.parquet").read_bytes())
    assert len(set(made)) == 1
    groups = pq.ParquetFile(tmp_path / "1.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [4, 4, 2]


def test_metadata_may_come_last(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t.parquet", context=False) as writer:
        writer.write(ROWS)
        writer.close_meta(META)
    trace = open_trace(tmp_path / "t.parquet")
    assert trace.meta == META
    assert pq.read_schema(tmp_path / "t.parquet").names == ["time_ns", "vcpu", "gfn", "write"]


@pytest.mark.parametrize(
    ("batch", "final", "text"),
    [
        (Batch.of([5, 4], [0, 0]), META, "row 1: time runs back"),
        (Batch.of([0], [16]), TraceMeta(memory_bytes=Bytes(16 * 4096)), "gfn 16 is past"),
        (Batch.of([0], [1], vcpu=2), META, "vcpu 2, but the metadata says 2"),
        (Batch.of([], []), META, "no rows to write"),
        (
            Batch.of([0], [1]),
            TraceMeta(memory_bytes=Bytes(1 << 53)),
            "metadata 'memory_bytes' is 9007199254740992, outside",
        ),
        (Batch.of([0], [1]), replace(META, workload="\udcff"), "metadata 'workload' is not UTF-8 text"),
    ],
)
def test_bad_rows_leave_nothing(tmp_path: Path, batch: Batch, final: TraceMeta, text: str) -> None:
    target = tmp_path / "t.parquet"
    target.write_bytes(b"as before")
    with pytest.raises(TraceError, match=text), TraceWriter(target) as writer:  # noqa: PT012
        writer.write(batch)
        writer.close_meta(final)
    assert target.read_bytes() == b"as before"
    assert list(tmp_path.iterdir()) == [target]


def test_interruption_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TraceWriter(tmp_path / "t.parquet", META) as writer:  # noqa: PT012
        writer.write(ROWS)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "t.parquet", "-"):
        with pytest.raises(UsageError), TraceWriter(path, META):
            raise AssertionError("not reached")


def parts(cuts: list[int]) -> Iterator[Batch]:
    at = 0
    for cut in cuts:
        yield ROWS[at : at + cut]
        at += cut


@pytest.mark.parametrize("cuts", [[10], [1] * 10, [3, 0, 7], [0, 10], [6, 4]])
@pytest.mark.parametrize(("rows", "want"), [(4, [4, 4, 2]), (10, [10]), (11, [10]), (5, [5, 5])])
def test_recut(cuts: list[int], rows: int, want: list[int]) -> None:
    got = list(recut(parts(cuts), rows))
    assert [len(b) for b in got] == want
    assert Batch.concatenate(got).gfn.tolist() == ROWS.gfn.tolist()


def test_progress_counts_every_row(tmp_path: Path) -> None:
    told: list[Any] = []
    write_trace(tmp_path / "t.parquet", MemoryTrace(META, ROWS), progress=told.append)
    assert sum(told) == 10


@pytest.mark.parametrize("text", ["\ud800", "a\udcff"])
def test_text_that_is_no_character_is_refused(tmp_path: Path, text: str) -> None:
    for meta in (
        replace(META, workload=text),
        replace(META, other={"x": text}),
        replace(META, phases=(Phase(1, Ns(0), text),)),
    ):
        with pytest.raises(TraceError, match="is not UTF-8 text"):
            write_trace(tmp_path / "t.parquet", MemoryTrace(meta, ROWS))
        assert not list(tmp_path.iterdir())
