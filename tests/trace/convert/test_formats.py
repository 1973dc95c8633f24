"""Readers against what other programs say of the same files, and against cases worked by hand."""

import gzip
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agewalk.core.errors import TraceError
from agewalk.core.units import PAGE_SIZE
from agewalk.trace import Batch, open_trace
from agewalk.trace.convert import Columns, Converted, How, convert
from agewalk.trace.memory import load

RECORDED = Path(__file__).parent / "recorded"
NO_WHEEL = "libcachesim has no wheel for this Python"


def run(tmp_path: Path, content: bytes | str, kind: str, **how: Any) -> tuple[Converted, Batch]:
    source = tmp_path / "source"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = convert(source, tmp_path / "out.parquet", How(kind=kind, **how))
    trace = load(open_trace(tmp_path / "out.parquet"))
    assert result.rows == trace.rows
    assert result.memory_bytes == trace.meta.memory_bytes
    return result, trace.columns


def rows(columns: Batch) -> list[tuple[int, int, int, bool]]:
    parts = (columns.time_ns, columns.vcpu, columns.gfn, columns.write)
    return [tuple(row) for row in zip(*(c.tolist() for c in parts), strict=True)]


LACKEY = """\
==1== Lackey, an example Valgrind tool
 L 00000ff8,8
I  00401000,3
 S 7ffffffff,2
I  00401003,2

 M 00001000,4
I  00402000,1
==1== guest instrs: 3
"""


def test_lackey_by_hand(tmp_path: Path) -> None:
    result, got = run(tmp_path, LACKEY, "lackey", slot_ns=0)
    # regions in order of first touch: 0 -> 0; 0x401000 (region 2) -> 1; 0x7fffff000 -> 2; 0x800000000 -> 3
    assert rows(got) == [
        (0, 0, 0, False),
        (0, 0, 512 + 1, False),
        (0, 0, 1024 + 511, True),
        (0, 0, 1536, True),  # the store crosses into the next page
        (1, 0, 512 + 1, False),
        (1, 0, 1, True),
        (2, 0, 512 + 2, False),
    ]
    assert result.accesses == 7
    assert result.duration_ns == 2
    assert result.memory_bytes == 4 * 512 * PAGE_SIZE
    meta = open_trace(tmp_path / "out.parquet").meta
    assert json.loads(meta.other["gfn_regions"]) == [0, 1024, 0x7FFFFF000 >> 12 & ~511, 0x800000000 >> 12]


def test_lackey_slots_and_data_alone(tmp_path: Path) -> None:
    _, got = run(tmp_path, LACKEY, "lackey", slot_ns=2, instructions=False)
    assert rows(got) == [(0, 0, 0, False), (0, 0, 512 + 511, True), (0, 0, 1024, True), (0, 0, 1, True)]


def test_lackey_recorded_program_counts_what_valgrind_counted(tmp_path: Path) -> None:
    raw = gzip.decompress((RECORDED / "true.lackey.gz").read_bytes()).decode()
    counted = int(re.search(r"guest instrs: +([0-9,]+)", raw)[1].replace(",", ""))  # type: ignore[index]
    result, got = run(tmp_path, (RECORDED / "true.lackey.gz").read_bytes(), "lackey", slot_ns=0, numbering="keep")
    assert result.duration_ns == counted - 1, "the last instruction's time"
    pages = []
    for line in raw.splitlines():
        if match := re.match(r"(I | L| S| M) ([0-9a-f]+),(\d+)$", line):
            start = int(match[2], 16)
            pages += [(p, match[1] in {" S", " M"}) for p in range(start >> 12, (start + int(match[3]) - 1 >> 12) + 1)]
    assert list(zip(got.gfn.tolist(), got.write.tolist(), strict=True)) == pages


def oracle_file(records: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("<IQIq", *r) for r in records)


def test_oracle_general_as_libcachesim_reads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.integers(0, 3, 3000)) + 1_600_000_000
    ids = [int(i) * 0x9E3779B97F4A7C15 % 2**63 for i in rng.zipf(1.3, 3000)]
    sizes = rng.choice([0, 1, 4096, 100_000], 3000)
    sizes[0] = 1
    content = oracle_file([(int(t), int(i), int(s), -1) for t, i, s in zip(times, ids, sizes, strict=True)])
    (tmp_path / "t.bin").write_bytes(content)
    libcachesim = pytest.importorskip("libcachesim", reason=NO_WHEEL)
    reader = libcachesim.TraceReader(str(tmp_path / "t.bin"), libcachesim.TraceType.ORACLE_GENERAL_TRACE)
    theirs = [(int(r.clock_time), int(r.obj_id)) for r in reader]
    result, got = run(tmp_path, content, "oracle")
    assert result.skipped == int((sizes == 0).sum())
    assert len(got) == len(theirs) == int((sizes > 0).sum())
    numbers: dict[int, int] = {}
    want = [((t - theirs[0][0]) * 10**9, numbers.setdefault(i, len(numbers))) for t, i in theirs]
    assert list(zip(got.time_ns.tolist(), got.gfn.tolist(), strict=True)) == want


def test_csv_as_libcachesim_reads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    lines = ["version,time,op,size,lbn"]
    time = 5_633_898
    for lbn in rng.zipf(1.2, 500) % 10**9:
        time += int(rng.integers(0, 2))
        lines.append(f"1,{time},{'2a' if lbn % 2 else '28'},512,{lbn}")
    content = "\n".join(lines) + "\n"
    (tmp_path / "t.csv").write_text(content)
    libcachesim = pytest.importorskip("libcachesim", reason=NO_WHEEL)
    param = libcachesim.ReaderInitParam(has_header=True, has_header_set=True, delimiter=",", obj_id_is_num=True)
    param.time_field, param.obj_size_field, param.obj_id_field = 2, 4, 5
    theirs = [
        (int(r.clock_time), int(r.obj_id))
        for r in libcachesim.TraceReader(str(tmp_path / "t.csv"), libcachesim.TraceType.CSV_TRACE, param)
    ]
    assert len(theirs) == 500
    numbers: dict[int, int] = {}
    want = [((t - theirs[0][0]) * 10**9, numbers.setdefault(i, len(numbers))) for t, i in theirs]
    _, got = run(tmp_path, content, "csv")
    assert list(zip(got.time_ns.tolist(), got.gfn.tolist(), strict=True)) == want
    assert got.write.tolist() == [i % 2 == 1 for _, i in theirs]


def test_csv_columns_units_and_addresses(tmp_path: Path) -> None:
    content = "7;0x1fff;1.5;w;1\r\n8;0x2000;2;r;0\r\n9;4096;2.0000000019;w;0\r\n"
    layout = Columns(time="3", address="2", write="4", vcpu="5", delimiter=";", header=False, time_unit="ms")
    _, got = run(tmp_path, content, "csv", columns=layout)
    assert rows(got) == [(0, 1, 1, True), (500_000, 0, 2, False), (500_000, 0, 1, True)]


def test_csv_without_time_counts_accesses(tmp_path: Path) -> None:
    _, got = run(tmp_path, "gfn\n5\n3\n5\n", "csv")
    assert rows(got) == [(0, 0, 5, False), (1, 0, 3, False), (2, 0, 5, False)]


def test_csv_with_a_byte_order_mark_keeps_its_first_column(tmp_path: Path) -> None:
    for content in ("time,gfn\n1,2\n5,3\n", '"time",gfn\n1,2\n5,3\n'):
        _, got = run(tmp_path, b"\xef\xbb\xbf" + content.encode(), "csv")
        assert rows(got) == [(0, 0, 2, False), (4 * 10**9, 0, 3, False)]
    _, got = run(tmp_path, b"\xef\xbb\xbf7\n8\n", "csv", columns=Columns(gfn="1", header=False))
    assert got.gfn.tolist() == [7, 8]
    result, _ = run(tmp_path, b"\xef\xbb\xbfobj_id,time\n7,1\n", "csv")
    assert result.numbering == "pages"


def test_csv_of_two_columns_of_one_name_takes_the_one_that_is_numbered(tmp_path: Path) -> None:
    content = "time,gfn,gfn,note,note\n1,2,3,,\n"
    _, got = run(tmp_path, content, "csv", columns=Columns(gfn="3"))
    assert got.gfn.tolist() == [3]
    with pytest.raises(TraceError, match="column 'gfn' occurs 2 times") as caught:
        run(tmp_path, content, "csv", columns=Columns(gfn="GFN"))
    assert caught.value.hint == "say which with --gfn-column, one of 2, 3"


def test_only_addresses_of_processes_have_spaces(tmp_path: Path) -> None:
    run(tmp_path, f"gfn\n{2**52}\n{2**64 - 1}\n", "csv")
    assert "gfn_spaces" not in open_trace(tmp_path / "out.parquet").meta.other
    run(tmp_path, oracle_file([(1, 2**63, 1, -1)]), "oracle", numbering="regions")
    assert "gfn_spaces" not in open_trace(tmp_path / "out.parquet").meta.other
    run(tmp_path, PERF, "perf")
    assert "gfn_spaces" in open_trace(tmp_path / "out.parquet").meta.other


def damon_file(**region: Any) -> list[dict[str, Any]]:
    def one(start: str | int, end: str | int, samples: int | None, percent: Any = None) -> dict[str, Any]:
        return {"start": start, "end": end, "nr_accesses": {"samples": samples, "percent": percent}, "age": {}}

    first = {"start_time": "2000", "end_time": "3000", "regions": [one("8,192", "16,385", 1), one(0, 4096, 0)]}
    second = {"start_time": 1000, "end_time": 2000, "regions": [one(4096, 8192, None, "10 %"), one(0, 10**15, None, 0)]}
    return [
        {"target_id": 7, "snapshots": [first, second]},
        {"target_id": 8, "snapshots": [{**first, "start_time": 1500}]},
    ]


@pytest.mark.parametrize("pack", [lambda b: b, zlib.compress, gzip.compress])
def test_damon_by_hand(tmp_path: Path, pack: Any) -> None:
    content = pack(json.dumps(damon_file()).encode())
    _, got = run(tmp_path, content, "damon")
    # target 0: pages 2, 3 and the byte of 4 at 2000, page 1 at 1000; target 1 the same three at 1500, in its own region
    assert rows(got) == [
        (0, 0, 1, False),
        *((500, 0, 512 + p, False) for p in (2, 3, 4)),
        *((1000, 0, p, False) for p in (2, 3, 4)),
    ]


def test_damon_threshold(tmp_path: Path) -> None:
    result, _ = run(tmp_path, json.dumps(damon_file()), "damon", min_samples=2)
    assert result.accesses == 1, "regions with one sample no longer count; percentages do"


PERF = """\
# captured by hand
 my prog 10/11 [003]  5.000001: cpu/mem-loads,ldlat=30/P:     55e000001fff
 my prog 10/12 [000]  5.000002: cpu/mem-stores/P:     55e000001000   1e05080021 |OP STORE|LVL L1 hit|SNP N/A|TLB N/A
   other 20/20 [001]  5.000002: cpu/mem-loads,ldlat=30/P:     55e000001000
   other 20/20 [001]  5.000003: cpu/mem-loads,ldlat=30/P:     ffff888000000010
 my prog 10/10 [001]  5.000004000: cpu/mem-loads,ldlat=30/P:     ffff888000000010
 my prog 10/10 [001]  6.000000: cpu/mem-loads,ldlat=30/P:            0
"""


def test_perf_by_hand(tmp_path: Path) -> None:
    result, got = run(tmp_path, PERF, "perf")
    assert result.skipped == 1
    # regions: 0 prog's, 1 other's (another page although the address is the same), 2 the kernel's, shared
    assert rows(got) == [
        (0, 3, 1, False),
        (1000, 0, 1, True),
        (1000, 1, 513, False),
        (2000, 1, 1024, False),
        (3000, 1, 1024, False),
    ]


def test_perf_recorded(tmp_path: Path) -> None:
    raw = (RECORDED / "ls.perf.txt").read_text()
    result, got = run(tmp_path, raw, "perf")
    fields = [line.split() for line in raw.splitlines()]
    pages = [int(f[4], 16) >> 12 for f in fields]
    assert result.accesses == len(fields)
    assert len(set(got.gfn.tolist())) == len(set(pages))
    assert (got.gfn % 512).tolist() == [p % 512 for p in pages]
    first = float(fields[0][2].rstrip(":"))
    assert got.time_ns[-1] == round((float(fields[-1][2].rstrip(":")) - first) * 1e6) * 1000


def test_numbering_auto_keeps_guest_frames_and_renumbers_addresses(tmp_path: Path) -> None:
    kept, got = run(tmp_path, "gfn\n262143\n5\n", "csv")
    assert (kept.numbering, got.gfn.tolist(), kept.memory_bytes) == ("keep", [262143, 5], 1 << 30)
    far, got = run(tmp_path, "address\n0x7fffffffe000\n0x1000\n", "csv")
    assert (far.numbering, got.gfn.tolist(), far.memory_bytes) == ("regions", [510, 513], 4 << 20)
    with pytest.raises(TraceError, match="no guest frame number"):
        run(tmp_path, "gfn\n0xfffffffffffff\n", "csv", numbering="keep")
    with pytest.raises(TraceError, match="needs 4 pages of guest memory, more than the 1 asked for"):
        run(tmp_path, "gfn\n3\n", "csv", memory_bytes=4096)


def test_context_of_all_rows(tmp_path: Path) -> None:
    _, got = run(tmp_path, "gfn\n3\n4\n", "csv", context=2)
    assert got.context.tolist() == [2, 2]
