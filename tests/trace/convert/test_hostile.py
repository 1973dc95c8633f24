"""Truncated, corrupt and hostile files: a clear error, or rows that are right; never a crash, hang or wrong number."""

import bz2
import gzip
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agewalk.core.errors import TraceError, UsageError
from agewalk.trace import open_trace
from agewalk.trace.convert import Columns, How, convert
from agewalk.trace.memory import load

GOOD = {
    "lackey": b"==1== hello\nI  00401000,3\n L 00000ff8,8\nI  00401003,2\n S 1ffeffe7e,8\n M 0421c7cc,4\n",
    "oracle": b"".join(struct.pack("<IQIq", 10 + i, i % 3, 4096, -1) for i in range(6)),
    "csv": b"time,gfn,write,vcpu\n1,5,1,0\n1.5,0x6,0,1\n2,7,w,0\n",
    "damon": json.dumps(
        [{"target_id": 1, "snapshots": [{"start_time": "1", "end_time": "2", "regions": [
            {"start": "4,096", "end": "12,288", "nr_accesses": {"samples": 3, "percent": None}, "age": {}}]}]}]
    ).encode(),
    "perf": b"# x\n  ls 10/11 [000]  5.000001: page-faults:     55e000001fff\n  ls 10/11 [001]  5.000002: mem-stores:  7f00\n",
}  # fmt: skip

PACKS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "zlib": zlib.compress}

CASES: list[tuple[str, bytes, str]] = [
    ("lackey", b"", "the file is empty"),
    ("lackey", b"==1== nothing\n", "no accesses in it"),
    ("lackey", b"I  0401,3\nI  04", "line 2: the last line has no newline"),
    ("lackey", b"I  0401,3\nhello\n", "line 2: not a line of lackey's: b'hello'"),
    ("lackey", b"I  0401,3\n\nI  04g1,3\n", "line 3: not a line of lackey's"),
    ("lackey", b"I  0401,0\n", "line 1: not a line"),
    ("lackey", b"I  0401\n 3,\n", "line 1: not a line"),
    ("lackey", b"I  ,3\n", "line 1: not a line"),
    ("lackey", b"I  0401,3x\n", "line 1: not a line"),
    ("lackey", b"I  ffffffffffffffff,3\n", "line 1: not a line"),
    ("lackey", b"I  11111111111111111,3\n", "line 1: not a line"),
    ("lackey", b"L" * (1 << 17), "line 1: more than 65536 bytes without a newline"),
    ("lackey", gzip.compress(GOOD["lackey"] * 50, mtime=0)[:-20], "cannot be read on"),
    ("oracle", GOOD["oracle"][:-1], r"ends inside a record: 23 of 24 bytes at byte 120"),
    ("oracle", GOOD["oracle"][24:] + GOOD["oracle"][:24], "record 5: time runs back from 15 to 10 s"),
    ("oracle", struct.pack("<IQIq", 1, 1, 1, -2), "record 0: next_access_vtime is -2"),
    ("oracle", struct.pack("<IQIq", 1, 1, 0, -1), "no accesses in it; 1 requests of size 0 were skipped"),
    ("csv", b"time,color\n1,2\n", "no column says which page was touched; the file has 'time', 'color'"),
    ("csv", b"time,gfn\n1,2\n1\n", "line 3: 1 columns, but 2 before"),
    ("csv", b"time,gfn\n2,2\n1,3\n", "line 3: time runs back"),
    ("csv", b"time,gfn\nsoon,2\n", "line 2: time 'soon' is not a number"),
    ("csv", b"time,gfn\n1,-2\n", "line 2: gfn '-2' is not a number"),
    ("csv", b"time,gfn\n1,99999999999999999999\n", "line 2: gfn 99999999999999999999 is too large"),
    ("csv", b"time,gfn\n9999999999999999999,1\n", "line 2: time '9999999999999999999' is the year .* in seconds, or"),
    ("csv", b"gfn,vcpu\n1,256\n", "line 2: vcpu 256 is too large"),
    ("csv", b"gfn,write\n1,maybe\n", "line 2: 'maybe' says neither read nor write"),
    ("csv", b'gfn,write\n"1,0\n', "line 2: "),
    ("csv", b"g\rfn,write\n1,0\n", "line 1: new-line character seen"),
    ("csv", b"gfn,write\n\xff,0\n", "line 2: not UTF-8 text"),
    ("csv", b"gfn\n", "no accesses"),
    ("csv", b"time,gfn,gfn\n1,2,3\n", "column 'gfn' occurs 2 times"),
    ("csv", b"time, Time ,gfn\n1,2,3\n", "column 'time' occurs 2 times"),
    ("csv", b"\xef\xbb\xbf\xef\xbb\xbfgfn\n1\n", "no column says which page was touched; the file has '.*feffgfn'"),
    ("damon", b"[", "not JSON"),
    ("damon", b"[" * 100_000 + b"\n", "not JSON: nested too deeply"),
    ("damon", b"{}", "the file: is not a list"),
    ("damon", b"[{}]", "record 0: has no 'snapshots'"),
    ("damon", b'[{"snapshots": [{"start_time": "1 s"}]}]', "record 0, snapshot 0: 'start_time' is '1 s', not a whole number"),
    ("damon", GOOD["damon"].replace(b'"4,096"', b"1e99"), "region 0: 'start' is '1e\\+99', not a whole number"),
    ("damon", GOOD["damon"].replace(b'"12,288"', b'"0"'), "region 0: end is before start"),
    ("damon", GOOD["damon"].replace(b'"12,288"', str(1 << 60).encode()), "snapshot 0: touches more than 64 GiB"),
    ("damon", GOOD["damon"].replace(b'"samples": 3', b'"samples": null'), "neither samples nor a percentage"),
    ("damon", zlib.compress(GOOD["damon"])[:-6], "source: the zlib stream is cut short"),
    ("damon", zlib.compress(GOOD["damon"]) + b"\n", "something follows the zlib stream"),
    ("damon", zlib.compress(GOOD["damon"]) * 2, "something follows the zlib stream"),
    ("damon", GOOD["damon"] + b"]", "not JSON"),
    ("lackey", gzip.compress(GOOD["lackey"], mtime=0) + b"junk", "cannot be read on"),
    ("lackey", bz2.compress(GOOD["lackey"]) + b"junk", "cannot be read on"),
    ("perf", b"  ls [000]  5.000001: page-faults:     55e0\n", "line 1: not a memory sample"),
    ("perf", b"  ls 10/1 [000]  5.000001: faults:  55e0 main+0x5 (/bin/ls)\n", "line 1: not a memory sample"),
    ("perf", b"a 1/1 [0] 5.000001: e: 55e0\na 1/1 [0] 4.000001: e: 55e0\n", "line 2: time runs back"),
    ("perf", b"a 1/1 [999] 5.000001: e: 55e0\n", "line 1: CPU 999"),
    ("perf", b"a 1/1 [0] 5.000001: e: 0\n", "no accesses in it; 1 samples without an address were skipped"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "content", "text"), CASES, ids=[f"{kind}: {text}" for kind, _, text in CASES])
def test_each_damage_has_its_error_and_leaves_nothing(tmp_path: Path, kind: str, content: bytes, text: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(content)
    with pytest.raises(TraceError, match=text) as caught:
        convert(source, tmp_path / "out.parquet", How(kind=kind))
    assert str(caught.value).startswith(str(source))
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("kind", GOOD)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutations(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        action = data.draw(st.sampled_from(["flip", "cut", "stuff", "twice", "mark", "junk", "pack"]))
        if action == "flip" and content:
            content[at] = data.draw(st.integers(0, 255))
        elif action == "cut":
            del content[at : at + data.draw(st.integers(1, 30))]
        elif action == "twice":
            content += content[at:]
        elif action == "mark":
            content[:0] = b"\xef\xbb\xbf"
        elif action == "junk":
            content += data.draw(st.binary(min_size=1, max_size=12))
        elif action == "pack":
            content[:] = PACKS[data.draw(st.sampled_from(sorted(PACKS)))](bytes(content))
        else:
            content[at:at] = data.draw(
                st.one_of(st.binary(max_size=12), st.sampled_from([b"\n", b",", b"-1", b"9" * 25]))
            )
    source = tmp_path / "source"
    source.write_bytes(content)
    target = tmp_path / "out.parquet"
    target.unlink(missing_ok=True)
    try:
        result = convert(source, target, How(kind=kind, max_touched=1 << 28))
    except TraceError:
        assert not target.exists()
        return
    trace = load(open_trace(target))
    assert trace.rows == result.rows >= 1
    assert int(trace.columns.gfn.max()) < trace.meta.pages


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(GOOD)), content=st.binary(max_size=300))
def test_noise(tmp_path: Path, kind: str, content: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(content)
    try:
        result = convert(source, tmp_path / "out.parquet", How(kind=kind))
    except TraceError:
        return
    assert load(open_trace(tmp_path / "out.parquet")).rows == result.rows


def test_bad_usage(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(GOOD["csv"])
    for how, text in [
        (How(kind="pcap"), "unknown format 'pcap'"),
        (How(kind="csv", numbering="odd"), "unknown numbering 'odd'"),  # type: ignore[arg-type]
        (How(kind="csv", context=3), "unknown context 3"),
        (How(kind="csv", memory_bytes=5), "not a multiple"),
        (How(kind="csv", memory_bytes=1 << 53), "memory of 8192 TiB is too much"),
        (How(kind="csv", columns=Columns(delimiter="ab")), "not one character"),
        (How(kind="csv", columns=Columns(time_unit="fortnight")), "unknown time unit"),
        (How(kind="csv", columns=Columns(gfn="1", address="2")), "more than one"),
    ]:
        with pytest.raises(UsageError, match=text):
            convert(source, tmp_path / "out.parquet", how)
    with pytest.raises(UsageError, match="would overwrite"):
        convert(source, source, How(kind="csv"))
    with pytest.raises(TraceError, match="no such file"):
        convert(tmp_path / "absent", tmp_path / "out.parquet", How(kind="lackey"))
    with pytest.raises(TraceError, match="no column 'nine' for gfn"):
        convert(source, tmp_path / "out.parquet", How(kind="csv", columns=Columns(gfn="nine")))


def test_decompression_bomb_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agewalk.trace.convert.damon.MAX_BYTES", 1 << 20)
    source = tmp_path / "source"
    for packed in (zlib.compress(b" " * (8 << 20), 9), gzip.compress(b" " * (8 << 20))):
        source.write_bytes(packed)
        with pytest.raises(TraceError, match="larger than 1 MiB"):
            convert(source, tmp_path / "out.parquet", How(kind="damon"))
