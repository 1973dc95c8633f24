"""The Parquet format: every case of bad input has its own error, with file, column and row."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agewalk.core.errors import TraceError
from agewalk.trace import MemoryTrace, open_trace
from agewalk.trace.format import Batch
from agewalk.trace.memory import load
from agewalk.trace.parquet import RecordedTrace

from .conftest import GOOD, META, Make


def read(path: Path, max_rows: int = 2) -> Batch:
    return Batch.concatenate(list(open_trace(path).batches(max_rows)))


def test_reads_what_pyarrow_wrote(make: Make) -> None:
    trace = open_trace(make({**META, "vcpus": "2", "phases": '[{"mark": 1, "time_ns": 20, "text": "A"}]', "x": "y"}))
    assert (trace.rows, trace.meta.memory_bytes, trace.meta.pages, trace.meta.vcpus) == (5, 32768, 8, 2)
    assert [(p.mark, p.time_ns, p.text) for p in trace.meta.phases] == [(1, 20, "A")]
    assert trace.meta.other == {"x": "y"}
    got = read(trace.path)
    for column, (values, _) in GOOD.items():
        assert getattr(got, column).tolist() == values
    assert [c.dtype for c in (got.time_ns, got.vcpu, got.gfn, got.write, got.context)] == ["u8", "u1", "u8", "?", "u1"]


def test_context_is_optional_and_other_columns_are_ignored(make: Make) -> None:
    got = read(make(context=None, kernel=([True] * 5, "bool"), zebra=([None] * 5, "string")))
    assert got.context.tolist() == [0] * 5


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 100])
def test_batches_are_never_longer_than_asked(make: Make, rows: int) -> None:
    parts = list(open_trace(make()).batches(rows))
    assert max(map(len, parts)) <= rows
    assert Batch.concatenate(parts).gfn.tolist() == GOOD["gfn"][0]


def test_can_be_read_again_and_into_memory(make: Make) -> None:
    trace = open_trace(make())
    twice = [Batch.concatenate(list(trace.batches())).gfn.tolist() for _ in range(2)]
    assert twice[0] == twice[1] == load(trace).columns.gfn.tolist()


COLUMN_CASES: list[tuple[dict[str, Any], str]] = [
    ({"gfn": None}, r"column 'gfn' is missing; the file has 'time_ns', 'vcpu', 'write', 'context'"),
    ({"time_ns": (GOOD["time_ns"][0], "int64")}, r"column 'time_ns' has type int64; it must be uint64"),
    ({"gfn": (GOOD["gfn"][0], "int32")}, r"column 'gfn' has type int32; it must be uint32 or uint64"),
    ({"write": (GOOD["vcpu"][0], "uint8")}, r"column 'write' has type uint8; it must be bool"),
    ({"context": (GOOD["vcpu"][0], "int8")}, r"column 'context' has type int8; it must be uint8"),
    ({"vcpu": (["a"] * 5, "string")}, r"column 'vcpu' has type string; it must be uint8"),
]
ROW_CASES: list[tuple[dict[str, Any], str]] = [
    ({"time_ns": ([0, 20, 10, 20, 40], "uint64")}, r"column 'time_ns', row 2: time runs back from 20 to 10"),
    ({"time_ns": ([0, 20, 20, 40, 39], "uint64")}, r"column 'time_ns', row 4: time runs back from 40 to 39"),
    (
        {"time_ns": ([0, 2**63 - 1, 2**63, 2**63, 2**64 - 1], "uint64")},
        r"column 'time_ns', row 2: time 9223372036854775808 is past",
    ),
    ({"gfn": ([0, 1, 2, 8, 0], "uint64")}, r"column 'gfn', row 3: gfn 8 is past memory_bytes \(8 pages"),
    ({"gfn": ([0, 2**64 - 1, 2, 8, 0], "uint64")}, r"column 'gfn', row 1: gfn 18446744073709551615 is past"),
    ({"context": ([0, 0, 0, 0, 3], "uint8")}, r"column 'context', row 4: unknown context 3"),
    ({"write": ([True, True, True, None, True], "bool")}, r"column 'write', row 3: no value \(null\)"),
    ({"gfn": ([None, 1, 1, 1, 1], "uint32")}, r"column 'gfn', row 0: no value \(null\)"),
]


@pytest.mark.parametrize(("change", "text"), COLUMN_CASES)
def test_bad_column_is_refused_when_opened(make: Make, change: dict[str, Any], text: str) -> None:
    path = make(**change)
    with pytest.raises(TraceError, match=re.escape(str(path)) + ": " + text) as caught:
        open_trace(path)
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("max_rows", [1, 2, 3, 100])
@pytest.mark.parametrize(("change", "text"), ROW_CASES)
def test_bad_row_is_named_however_the_batches_fall(
    make: Make, change: dict[str, Any], text: str, max_rows: int
) -> None:
    path = make(**change)
    with pytest.raises(TraceError, match=re.escape(str(path)) + ": " + text) as caught:
        list(open_trace(path).batches(max_rows))
    assert caught.value.hint


def test_rows_before_the_bad_one_are_not_hidden(make: Make) -> None:
    batches = open_trace(make(time_ns=([0, 20, 20, 40, 39], "uint64"))).batches(2)
    assert [len(next(batches)), len(next(batches))] == [2, 2]
    with pytest.raises(TraceError, match="row 4"):
        next(batches)


META_CASES: list[tuple[dict[str, Any], str]] = [
    ({"memory_bytes": "4096"}, "metadata 'page_size' is missing"),
    ({"page_size": "4096"}, "metadata 'memory_bytes' is missing"),
    ({}, "metadata 'page_size' is missing"),
    ({**META, "page_size": "16384"}, "metadata 'page_size' is 16384; only 4096 is supported"),
    ({**META, "page_size": "four"}, "metadata 'page_size' is 'four', not a whole number"),
    ({**META, "memory_bytes": "1_000"}, "metadata 'memory_bytes' is '1_000', not a whole number"),
    ({**META, "memory_bytes": "-4096"}, "metadata 'memory_bytes' is '-4096', not a whole number"),
    ({**META, "memory_bytes": "9" * 5000}, "metadata 'memory_bytes' is '9999.*not a whole number"),
    ({**META, "memory_bytes": "4097"}, "metadata 'memory_bytes' is 4097, not a multiple of 4096"),
    ({**META, "memory_bytes": str(1 << 60)}, "metadata 'memory_bytes' is 1152921504606846976, outside"),
    ({**META, "memory_bytes": b"\xff\xfe"}, "metadata 'memory_bytes' is not UTF-8 text"),
    ({**META, "vcpus": "0"}, "metadata 'vcpus' is 0, outside 1..256"),
    ({**META, "phases": "A, B"}, "metadata 'phases' is not JSON"),
    ({**META, "phases": "[" * 100_000}, "metadata 'phases' is not JSON"),
    ({**META, "phases": "{}"}, "metadata 'phases' is not a JSON list"),
    ({**META, "phases": "[1]"}, "metadata 'phases' entry 0 is not an object"),
    ({**META, "phases": '[{"mark": true, "time_ns": 0, "text": ""}]'}, "metadata 'phases' entry 0: 'mark' is missing"),
    (
        {**META, "phases": '[{"mark": 1, "time_ns": 0.5, "text": ""}]'},
        "metadata 'phases' entry 0: 'time_ns' is missing",
    ),
    (
        {**META, "phases": '[{"mark": 1, "time_ns": 0, "text": "\\ud800"}]'},
        "metadata 'phases' entry 0: 'text' holds half",
    ),
    ({**META, "phases": '[{"mark": 1, "time_ns": ' + "9" * 5000 + ', "text": ""}]'}, "metadata 'phases' is not JSON"),
    ({**META, "phases": f'[{{"mark": {1 << 70}, "time_ns": 0, "text": ""}}]'}, "metadata 'phases' entry 0: 'mark'"),
    ({**META, "phases": '[{"mark": 1, "time_ns": 0, "text": ["a"]}]'}, "metadata 'phases' entry 0: 'text' is missing"),
]


@pytest.mark.parametrize(("meta", "text"), META_CASES)
def test_bad_metadata(make: Make, meta: dict[str, str | bytes], text: str) -> None:
    path = make(meta)
    with pytest.raises(TraceError, match=re.escape(str(path)) + ": " + text) as caught:
        open_trace(path)
    assert caught.value.hint


def test_vcpu_past_the_metadata(make: Make) -> None:
    with pytest.raises(TraceError, match="column 'vcpu', row 1: vcpu 1, but the metadata says 1 vcpus"):
        read(make({**META, "vcpus": "1"}))


def test_empty_trace(make: Make) -> None:
    with pytest.raises(TraceError, match=r"the trace is empty \(0 rows\)"):
        open_trace(make(**{k: ([], kind) for k, (_, kind) in GOOD.items()}))


def test_column_twice(tmp_path: Path) -> None:
    names = [*GOOD, "gfn"]
    arrays = [pa.array(GOOD[n][0], getattr(pa, GOOD[n][1].replace("bool", "bool_"))()) for n in names]
    pq.write_table(pa.Table.from_arrays(arrays, names=names).replace_schema_metadata(META), tmp_path / "twice.parquet")
    with pytest.raises(TraceError, match="column 'gfn' occurs 2 times"):
        open_trace(tmp_path / "twice.parquet")


def test_not_a_trace(tmp_path: Path, make: Make) -> None:
    whole = make().read_bytes()
    cases = {
        "empty": (b"", "the file is empty"),
        "text": (b"time,gfn\n1,2\n", "not a Parquet file"),
        "cut": (whole[: len(whole) // 2], "truncated: its footer is missing"),
        "head": (whole[:4], "Parquet footer cannot be read"),
        "hollow": (whole[:4] + b"\0" * 40 + whole[-4:], "Parquet footer cannot be read"),
    }
    for name, (content, text) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(TraceError, match=f"{re.escape(str(path))}: .*{text}"):
            open_trace(path)
    with pytest.raises(TraceError, match="no such file"):
        open_trace(tmp_path / "absent.parquet")
    with pytest.raises(TraceError, match="is a directory"):
        open_trace(tmp_path)


def test_file_that_changed_while_in_use(make: Make) -> None:
    trace = open_trace(make())
    make(**{k: (v[:3], kind) for k, (v, kind) in GOOD.items()})
    with pytest.raises(TraceError, match="the file changed while it was in use"):
        list(trace.batches())


def test_memory_trace_checks_as_a_file_does(make: Make) -> None:
    meta = open_trace(make()).meta
    with pytest.raises(TraceError, match="trace in memory: column 'gfn', row 1: gfn 8 is past"):
        MemoryTrace(meta, Batch.of([0, 1], [0, 8]))
    with pytest.raises(TraceError, match="different lengths"):
        MemoryTrace(meta, Batch.of([0, 1], [0]))
    with pytest.raises(TraceError, match="empty"):
        MemoryTrace(meta, Batch.of([], []))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_refused_or_read_right(make: Make, tmp_path: Path, data: st.DataObject) -> None:
    """Flipped, cut and stuffed bytes give a TraceError, or rows that keep the format's rules."""
    content = bytearray(make().read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "stuff"]))
        if kind == "flip":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 64))]
        else:
            content[at:at] = data.draw(st.binary(max_size=16))
        if not content:
            break
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    try:
        trace: RecordedTrace = open_trace(path)
        got = load(trace).columns
    except TraceError:
        return
    assert len(got) == trace.rows
    assert (np.diff(got.time_ns.astype(object)) >= 0).all()
    assert int(got.gfn.max()) < trace.meta.pages
