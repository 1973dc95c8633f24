"""`agewalk compare` from outside: outputs, bad input with exit code 2, interruption, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow  # each test runs a comparison in a process of its own

KEYS = [
    "policy", "memory_bytes", "accesses", "faults", "refaults", "evictions", "hot_evictions", "cold_recall",
    "cold_precision", "age_rank_correlation", "ptes_walked", "notifier_calls", "mmu_lock_write_ns", "vcpu_stall_ns",
    "seconds", "vms",
]  # fmt: skip
SCENARIO = """schema = 1
[host]
memory = "256 KiB"
[aging]
every = "100 ms"
[[vm]]
name = "a"
trace = "a.parquet"
[[vm]]
name = "b"
trace = "b.parquet"
mmu = "legacy"
start = "50 ms"
[compare]
protocols = ["linux-6.9", "linux-6.18"]
baselines = ["two-list", "lru", "opt"]
"""


def record(path: Path, rows: int = 3000, **metadata: str) -> None:
    """A trace as another program would write it: a hot set of 20 pages and a sweep over 100."""
    gfn = [i * 7 % 20 if i % 3 else i // 3 % 100 for i in range(rows)]
    table = pa.table(
        {
            "time_ns": pa.array([i * 500_000 for i in range(rows)], pa.uint64()),
            "vcpu": pa.array([0] * rows, pa.uint8()),
            "gfn": pa.array(gfn, pa.uint32()),
            "write": pa.array([i % 5 == 0 for i in range(rows)], pa.bool_()),
        }
    )
    pq.write_table(
        table.replace_schema_metadata({"page_size": "4096", "memory_bytes": str(128 * 4096), **metadata}), path
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path / "a.parquet")
    record(tmp_path / "b.parquet")
    (tmp_path / "host.toml").write_text(SCENARIO)
    return tmp_path


def agewalk(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agewalk", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_json_is_one_document_with_the_keys_of_the_format_on_both_engines(folder: Path) -> None:
    direct = document(agewalk(folder, "compare", "host.toml", "--json", "--engine", "direct"))
    compiled = document(agewalk(folder, "compare", "host.toml", "--json"))
    assert direct["schema"] == 1
    assert direct["scenario"] == "host.toml"
    assert [row["policy"] for row in direct["results"]] == ["linux-6.9", "linux-6.18", "two-list", "lru", "opt"]
    for ours, theirs in zip(compiled["results"], direct["results"], strict=True):
        assert list(theirs)[: len(KEYS)] == KEYS
        kernel = ours["policy"].startswith("linux")
        assert set(theirs) - set(KEYS) <= {"aging", "refault_intervals"}
        assert ("aging" in theirs) == kernel
        if kernel:  # causes are known to the engine alone
            aging = dict(ours["aging"])
            assert sum(aging.pop("false_old_by").values()) == aging["false_old"]
            assert sum(aging.pop("false_young_by").values()) == aging["false_young"]
            assert sum(ours["refault_intervals"]) == ours["refaults"]
            ours = {**ours, "aging": aging}
        assert all(abs(sum(vm["eviction_skew"] for vm in row["vms"])) < 1e-5 for row in (ours, theirs))
        assert {k: v for k, v in ours.items() if k != "seconds"} == {k: v for k, v in theirs.items() if k != "seconds"}
        for row in (ours, theirs):
            assert row["accesses"] == 6000
            assert row["refaults"] == sum(vm["refaults"] for vm in row["vms"])
            assert row["faults"] == row["refaults"] + 200  # each VM touches 100 pages
            assert row["evictions"] == sum(vm["evictions"] for vm in row["vms"])
    by = {row["policy"]: row for row in direct["results"]}
    assert by["opt"]["faults"] <= min(row["faults"] for row in by.values())
    assert json.loads((folder / "out" / "results.json").read_text())["results"] == compiled["results"]
    page = (folder / "out" / "report.html").read_text()
    assert "linux-6.18" in page
    assert "http://www.w3.org" in page
    assert page.count("://") == page.count("http://www.w3.org")  # nothing is fetched at viewing


def test_a_trace_alone_a_memory_list_and_resume(folder: Path) -> None:
    words = ("compare", "a.parquet", "--json", "--engine", "direct", "--protocol", "v7", "--baseline", "lru")
    first = document(agewalk(folder, *words, "--memory", "256 KiB", "--memory", "320 KiB"))
    assert [(r["policy"], r["memory_bytes"]) for r in first["results"]] == [
        ("v7", 256 << 10), ("lru", 256 << 10), ("v7", 320 << 10), ("lru", 320 << 10),
    ]  # fmt: skip
    again = agewalk(folder, *words, "--memory", "256 KiB", "--memory", "320 KiB", "--resume")
    assert document(again) == first  # the very runs, down to their seconds
    assert "refaults" not in again.stderr  # nothing was run


OWN = """
from agewalk.model.protocols.linux_6_18 import Linux618

class Mine(Linux618):
    name = "mine"
"""


def test_a_protocol_of_ones_own(folder: Path) -> None:
    (folder / "own.py").write_text(OWN)
    (folder / "host.toml").write_text(SCENARIO.replace('"linux-6.9"', '"own.py:Mine"'))
    rows = document(agewalk(folder, "compare", "host.toml", "--json", "--baseline", "lru", "--protocol", "linux-6.18"))
    assert [row["policy"] for row in rows["results"]] == ["linux-6.18", "lru"]
    mine, theirs, *_ = document(agewalk(folder, "compare", "host.toml", "--json"))["results"]
    assert mine["policy"] == "own.py:Mine"
    assert mine["refaults"] == theirs["refaults"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"linux-6.9"', '"linux-6.99"'), "no protocol 'linux-6.99'"),
        (('"linux-6.9"', '"houghton:must_chek=rmaps"'), "no option 'must_chek'"),
        (('"linux-6.9"', '"none.py:Mine"'), "no such file"),
        (('"lru"', '"lur"'), "there is no 'lur'"),
        (('"256 KiB"', "256"), "not a size with a unit"),
        (('"256 KiB"', '"8 KiB"'), "fewer than 16 pages"),
        (('memory = "256', 'kernel = "5.4"\nmemory = "256'), "no profile '5.4'"),
        (('"a.parquet"', '"none.parquet"'), "no such file"),
        (('"a.parquet"', '"host.toml"'), "not a Parquet file"),
        (("every", "evry"), "unknown key 'aging.evry'"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(folder: Path, change: tuple[str, str], says: str) -> None:
    (folder / "host.toml").write_text(SCENARIO.replace(*change))
    done = agewalk(folder, "compare", "host.toml", "--json")
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (folder / "out").exists()


def test_a_bad_row_in_the_middle_of_a_trace(folder: Path) -> None:
    table = pq.read_table(folder / "b.parquet")
    times = table["time_ns"].to_pylist()
    times[2000] = 1
    late = table.set_column(0, "time_ns", pa.array(times, pa.uint64()))
    pq.write_table(late, folder / "b.parquet")
    for workers in ("1", "2"):
        done = agewalk(folder, "compare", "host.toml", "--workers", workers, "--engine", "direct")
        assert done.returncode == 2, done.stderr
        assert "b.parquet" in done.stderr
        assert "time_ns" in done.stderr
        assert "row 2000" in done.stderr
        assert not (folder / "out" / "results.json").exists()


def left_over(pid: int) -> list[str]:
    """Processes that still work for a parent."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = status.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "agewalk.core.process_pool" in line and line.rstrip().endswith(f" {pid}"):
            found.append(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_half_way_keeps_what_is_finished(folder: Path, number: signal.Signals) -> None:
    record(folder / "a.parquet", 20_000)
    few = SCENARIO.replace(', "lru", "opt"', "")
    (folder / "host.toml").write_text(few)
    words = [sys.executable, "-m", "agewalk", "compare", "host.toml", "--engine", "direct", "--workers", "2", "--json"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        runs = folder / "out" / "runs"
        for _ in range(3000):  # the third run starts when the first is done
            if runs.exists() and any(runs.glob("*.json")):
                break
            time.sleep(0.1)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
    assert out == ""
    assert not (folder / "out" / "results.json").exists()
    if number != signal.SIGKILL:  # which may come in the middle of a write, and leaves nobody to tidy up
        assert not list(folder.rglob("*.part"))
    kept = list(runs.glob("*.json"))
    assert kept
    for path in kept:
        json.loads(path.read_text())
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert f"{len(kept)} of 3 runs are finished" in err
        assert "--resume" in err
    for _ in range(100):
        if not left_over(process.pid):
            break
        time.sleep(0.1)
    assert not left_over(process.pid)
