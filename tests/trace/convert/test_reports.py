"""Files in the shape that people have, after public bug reports, and others of each kind."""

import gzip
import json
import lzma
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from agewalk.core.errors import TraceError, UsageError
from agewalk.trace import Batch, open_trace
from agewalk.trace.convert import Columns, Converted, How, convert
from agewalk.trace.memory import load

REPORTS = Path(__file__).parent / "reports"
RECORDS = b"".join(struct.pack("<QIIIc", i % 7, 10 + i, 4096, i % 2, b"rw"[i % 2 : i % 2 + 1]) for i in range(100))
TWO = Columns(object="1", time="2")


def run(tmp_path: Path, content: bytes, kind: str, **how: Any) -> tuple[Converted, Batch]:
    (tmp_path / "source").write_bytes(content)
    done = convert(tmp_path / "source", tmp_path / "out.parquet", How(kind=kind, **how))
    return done, load(open_trace(tmp_path / "out.parquet")).columns


def report(tmp_path: Path, name: str, kind: str, **how: Any) -> tuple[Converted, Batch]:
    return run(tmp_path, (REPORTS / name).read_bytes(), kind, **how)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("pack", [bytes, zstd, gzip.compress, lzma.compress])
def test_r01_binary_records(tmp_path: Path, pack: Any) -> None:
    content = pack((REPORTS / "r01-binary.bin").read_bytes())
    done, got = run(tmp_path, content, "binary", record="<QIIIc", columns=TWO)
    assert (done.account.used, done.rows, done.skipped) == (100, 100, 0)
    ids = [struct.unpack_from("<QIIIc", (REPORTS / "r01-binary.bin").read_bytes(), 21 * i)[0] for i in range(100)]
    numbers: dict[int, int] = {}
    assert got.gfn.tolist() == [numbers.setdefault(i, len(numbers)) for i in ids]


@pytest.mark.parametrize("pack", [zstd, gzip.compress, lzma.compress])
def test_packed_records_cut_short_or_followed_by_junk(tmp_path: Path, pack: Any) -> None:
    whole = pack(RECORDS)
    for content in (whole[:-1], whole[: len(whole) // 2], whole + b"junk"):
        with pytest.raises(TraceError):
            run(tmp_path, content, "binary", record="<QIIIc", columns=TWO)
    assert run(tmp_path, whole + whole[:0], "binary", record="<QIIIc", columns=TWO)[0].rows == 100


def test_xz_streams_may_follow_one_another(tmp_path: Path) -> None:
    parts = lzma.compress(b"gfn\n1\n") + b"\0" * 8 + lzma.compress(b"2\n")
    assert run(tmp_path, parts, "csv")[1].gfn.tolist() == [1, 2]


def test_binary_columns_of_each_role(tmp_path: Path) -> None:
    columns = Columns(object="1", time="2", size="3", write="5", time_unit="ms")
    _, got = run(tmp_path, RECORDS, "binary", record="<QIIIc", columns=columns)
    assert got.time_ns.tolist() == [i * 10**6 for i in range(100)]
    assert got.write.tolist() == [i % 2 == 1 for i in range(100)]
    _, by_code = run(tmp_path, RECORDS, "binary", record="<QIIIc", columns=Columns(object="5", write="4"))
    assert by_code.write.tolist() == got.write.tolist()
    assert by_code.gfn.tolist() == [i % 2 for i in range(100)], "texts are numbered as they appear"
    requests = struct.pack(">dqhxB", 0.5, 4095, 2, 3) + struct.pack(">dqhxB", 0.75, 0, 0, 1)
    columns = Columns(address="2", time="1", size="3", vcpu="4")
    done, got = run(tmp_path, requests, "binary", record=">dqhxB", columns=columns)
    assert (got.gfn.tolist(), got.vcpu.tolist()) == ([0, 1], [3, 3])
    assert (done.account.used, dict(done.account.skipped)) == (1, {"requests of size 0": 1})


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("", "a record's layout goes with"), ("<", "has no bytes"), ("<0I", "has no bytes"), ("QIIIc", "native sizes"),
        ("@QI", "native sizes"), ("<QZ", "unknown letter 'Z'"), ("<QP", "native sizes alone"), ("<9999999I", "too large"),
        ("<999999I", "longer than"), ("<60000x6000x", "longer than"), ("<2000B", "over 1024 columns"),
        ("<Q5", "unknown letter '5'|ends"),
    ],
)  # fmt: skip
def test_bad_records(tmp_path: Path, record: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        run(tmp_path, RECORDS, "binary", record=record, columns=Columns(object="1"))


def test_bad_record_files(tmp_path: Path) -> None:
    def fails(text: str, content: bytes, record: str = "<QIIIc", **columns: Any) -> None:
        with pytest.raises((TraceError, UsageError), match=text):
            run(tmp_path, content, "binary", record=record, columns=Columns(**columns))

    fails("ends inside a record: 20 of 21 bytes at byte 2079", RECORDS[:-1], object="1")
    fails("no column '6' for object: the record has columns 1 to 5", RECORDS, object="6")
    fails("no column says which page", RECORDS, time="2")
    fails("record 1: time runs back to 1", struct.pack("<4I", 2, 1, 1, 1), "<II", time="1", object="2")
    fails("record 0: address is -1", struct.pack("<q", -1), "<q", address="1")
    fails("record 0: time is nan", struct.pack("<dI", float("nan"), 1), "<dI", time="1", gfn="2")
    fails("no number of seconds", struct.pack("<QI", 128166372003061629, 1), "<QI", time="1", gfn="2")


def test_r02_texts_as_ids_and_codes(tmp_path: Path) -> None:
    columns = Columns(time="1", write="2", object="3", time_unit="ms")
    done, got = report(tmp_path, "r02-alpha.csv", "csv", columns=columns)
    assert (done.account.used, dict(done.account.aside)) == (5, {"comments": 1})
    assert got.gfn.tolist() == [0, 1, 2, 0, 1]
    assert got.time_ns.tolist() == [t * 10**6 for t in (0, 103, 159, 315, 418)]
    assert got.write.tolist() == [False, True, False, False, True], "Put:0, Get:1, Delete:2, as the comment says"
    noted = json.loads(open_trace(tmp_path / "out.parquet").meta.other["source_assumed"])
    assert "object ids that are texts are numbered in the order of appearance" in noted
    again, _ = report(tmp_path, "r02-alpha.csv", "csv", columns=Columns(time="1", object="3"))
    assert again.duration_ns == done.duration_ns, "the comment says ms"


def test_text_and_number_ids_stay_apart(tmp_path: Path) -> None:
    _, got = run(tmp_path, b"7\nA\n0\n07\nA\n7\n", "csv", columns=Columns(object="1", header=False))
    assert got.gfn.tolist() == [0, 1, 2, 3, 1, 0]


@pytest.mark.parametrize("kind", ["msr", "csv"])
def test_r03_block_trace(tmp_path: Path, kind: str) -> None:
    columns = Columns(time="1", write="4", address="5", size="6", time_unit="100 ns") if kind == "csv" else Columns()
    done, got = report(tmp_path, "r03-msr.csv", kind, columns=columns)
    requests = [(7014609920, 24576), (1317441536, 8192), (2436440064, 4096)]
    pages = [list(range(at // 4096, -(-(at + size) // 4096))) for at, size in requests]
    assert done.account.used == 3
    assert got.gfn.tolist() == [page for listed in pages for page in listed]
    start = 128166372003061629
    assert sorted(set(got.time_ns.tolist())) == [
        100 * (t - start) for t in (start, 128166372016382155, 128166372026382245)
    ]
    assert got.write.tolist() == [write for write, p in zip((False, True, False), pages, strict=True) for _ in p]


def test_requests(tmp_path: Path) -> None:
    line = b"1,a,0,Read,%d,%d,9\n"
    done, _ = run(tmp_path, line % (4096, 0) + line % (4095, 2), "msr")
    assert (done.accesses, done.skipped) == (2, 1)
    for content, text in [
        (line % (0, 1 << 60), "touches more than 64 GiB"),
        (line % (1, 1) + b"2,a,1,Read,1,1,9\n", "two disks in one trace"),
        (b"1,a,0,Trim,1,1,9\n", "'Trim' says neither read nor write"),
    ]:
        with pytest.raises(TraceError, match=text):
            run(tmp_path, content, "msr")
    big, _ = run(tmp_path, line % (0, 1 << 30), "msr")
    assert big.accesses == 1 << 18


def test_r07_perf_without_fields(tmp_path: Path) -> None:
    done, got = report(tmp_path, "r07-perf-mem.txt", "perf")
    assert (done.account.rows, done.account.used) == (3, 2)
    assert dict(done.account.skipped) == {"samples without an address": 1}
    assert got.write.tolist() == [False, True]
    assert (got.gfn % 512).tolist() == [0x7F1234567 % 512, 0x7F1234569 % 512]
    weight = b"  ls 7 [003] 1.000001:  5 mem-loads: 7f1000 10668100842 |OP LOAD|LVL L1 hit|BLK N/A 3 55e0 _start+0x5 (/ld.so)\n"
    assert run(tmp_path, weight, "perf")[1].gfn.tolist() == [0x7F1000 >> 12]


def test_r08_virtual_unless_physical_is_asked_for(tmp_path: Path) -> None:
    done, got = report(tmp_path, "r08-perf-phys.txt", "perf", numbering="keep", address="physical")
    assert got.gfn.tolist() == [0x1A2B3C, 0x1A2B3D]
    done, got = report(tmp_path, "r08-perf-phys.txt", "perf")
    assert json.loads(open_trace(tmp_path / "out.parquet").meta.other["gfn_regions"]) == [0x7F00AA001 & ~511]
    assert "virtual addresses are taken; --address physical takes phys_addr" in done.account.assumed
    with pytest.raises(TraceError, match="a sample without phys_addr"):
        report(tmp_path, "r07-perf-mem.txt", "perf", address="physical")


def test_perf_numbers_that_may_be_several_things(tmp_path: Path) -> None:
    line = b"  ls 7/7 [003] 1.000001: mem-loads: 0x7f1000 2000\n"
    with pytest.raises(TraceError, match="two numbers follow the event: addr and phys_addr, addr and ip"):
        run(tmp_path, line, "perf")
    assert run(tmp_path, line, "perf", address="virtual")[1].gfn.tolist() == [0x7F1]
    assert run(tmp_path, line, "perf", address="physical")[1].gfn.tolist() == [2]
    threads = b"  q 7 [0] 1.000001: mem-loads: 7f1000\n  q 8 [0] 1.000002: mem-loads: 7f1000\n"
    apart, got = run(tmp_path, threads, "perf")
    assert len(set(got.gfn.tolist())) == 2
    assert any("--one-process" in s for s in apart.account.assumed)
    assert run(tmp_path, threads, "perf", one_process=True)[1].gfn.tolist() == [0x7F1, 0x7F1]


@pytest.mark.parametrize("kind", ["gem5", "csv"])
def test_r15_gem5(tmp_path: Path, kind: str) -> None:
    columns = Columns(time="1", write="2", address="3", time_unit="ps") if kind == "csv" else Columns()
    done, got = report(tmp_path, "r15-gem5.txt", kind, columns=columns, numbering="keep")
    assert done.account.used == 2
    assert (got.gfn.tolist(), got.write.tolist()) == ([0x7FFF5, 0x7FFF6], [False, True])
    other = b"r,4095,2,1000000\nw,232123,64,5000000\n"
    _, got = run(tmp_path, other, "gem5")
    assert (got.time_ns.tolist(), got.gfn.tolist()) == ([0, 0, 4000], [0, 1, 232123 >> 12])
    with pytest.raises(TraceError, match="5 columns, the first 'r'"):
        run(tmp_path, b"r,128,64,4000,0\n", "gem5")


@pytest.mark.parametrize("delimiter", [None, ";"])
def test_r16_semicolons(tmp_path: Path, delimiter: str | None) -> None:
    done, got = report(tmp_path, "r16-semicolon.csv", "csv", columns=Columns(delimiter=delimiter))
    assert (done.account.used, dict(done.account.aside)) == (2, {"header": 1})
    assert (got.time_ns.tolist(), got.gfn.tolist(), got.write.tolist()) == ([0, 10**9], [1, 2], [False, True])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " ", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_each_delimiter_line_end_and_header(tmp_path: Path, delimiter: str, end: str, header: bool, mark: str) -> None:
    lines = [["1", '"4096"', "Write"], ["2", "0x2000", "R"], ["3", "12288", "read"]]
    text = [["time", "address", "op"], *lines] if header else lines
    content = mark + "".join(delimiter.join(line) + end for line in text)
    columns = Columns() if header else Columns(time="1", address="2", write="3")
    done, got = run(tmp_path, content.encode(), "csv", columns=columns)
    assert (got.gfn.tolist(), got.write.tolist()) == ([1, 2, 3], [True, False, False])
    assert done.account.used == 3


CONTRADICTIONS = [
    (b"A,B\nC,D\n", {"object": "1"}, "may name the columns, or be a row", "--header or --no-header"),
    (b"time,4096\n5,8192\n", {"address": "2"}, "a header, or a row", "--header or --no-header"),
    (b"1;2,5;3\n2;3,5;4\n", {"object": "1"}, "columns separated by ',' or", "--delimiter"),
    (b"vaddr,paddr\n4096,8192\n", {}, "'vaddr' and 'paddr' both may be the address", "--address-column"),
    (b"time,timestamp,gfn\n1,2,3\n", {}, "'time' and 'timestamp' both may be the time", "--time-column"),
    (b"gfn,addr\n1,9000\n", {}, "'gfn' and 'addr' both may be the gfn", "--address-column"),
    (b"t;gfn\n1,500;3\n", {"time": "t"}, "may be 1.500 or 1500", "--decimal"),
    (b"addr\n00401000\n", {}, "may be decimal or hexadecimal", "--hexadecimal"),
    (b"# in us, not ms\n1,2\n", {"time": "1", "gfn": "2"}, "comments speak of ms and us", "--time-unit"),
    (b"1700000000000,2\n", {"time": "1", "gfn": "2"}, "in seconds, or another unit", "--time-unit"),
    (b"1,2\n", {"write": "2", "gfn": "1"}, "says neither read nor write", "--read-codes"),
]


@pytest.mark.parametrize(("content", "given", "text", "option"), CONTRADICTIONS)
def test_two_readings_are_an_error_that_names_both(
    tmp_path: Path, content: bytes, given: dict[str, Any], text: str, option: str
) -> None:
    with pytest.raises(TraceError, match=text) as caught:
        run(tmp_path, content, "csv", columns=Columns(**given))
    assert option in caught.value.hint
