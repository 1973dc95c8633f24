"""What a user would try with `agewalk compare`: odd traces, odd values, lists of memory sizes."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agewalk.cli.main import main


def record(path: Path, times: list[int], gfns: list[int], *, pages: int = 512) -> Path:
    n = len(times)
    table = pa.table(
        {
            "time_ns": pa.array(times, pa.uint64()),
            "vcpu": pa.array([0] * n, pa.uint8()),
            "gfn": pa.array(gfns, pa.uint32()),
            "write": pa.array([True] * n, pa.bool_()),
        }
    )
    pq.write_table(table.replace_schema_metadata({"page_size": "4096", "memory_bytes": str(pages * 4096)}), path)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = 0
    try:
        main(list(words))
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def results(capsys: pytest.CaptureFixture[str], trace: Path, *words: str) -> list[dict[str, Any]]:
    out = str(trace.parent / "out")
    code, text, err = run(capsys, "compare", str(trace), "--json", "--workers", "1", "--out", out, *words)
    assert code == 0, err
    page = (trace.parent / "out" / "report.html").read_text()
    assert "NaN" not in page
    rows: list[dict[str, Any]] = json.loads(text)["results"]
    return rows


POLICIES = ("--protocol", "linux-6.18", "--baseline", "two-list", "--baseline", "lru", "--baseline", "opt")


def test_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = record(tmp_path / "t.parquet", [0, 1, 2], [7, 7, 7])
    for row in results(capsys, trace, *POLICIES):
        assert (row["accesses"], row["faults"], row["refaults"], row["evictions"]) == (3, 1, 0, 0)


def test_all_pages_in_one_tick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """400 pages at once, on room for 280: the last ones take the place of the first."""
    trace = record(tmp_path / "t.parquet", [5] * 400, list(range(400)))
    for row in results(capsys, trace, *POLICIES):
        assert (row["accesses"], row["faults"], row["refaults"]) == (400, 400, 0)
        assert row["evictions"] >= 400 - 280
        assert row["hot_evictions"] == row["evictions"]


def test_a_list_of_memory_sizes_and_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """200 pages are touched: half of them and three quarters are 100 and 150 pages."""
    trace = record(tmp_path / "t.parquet", list(range(400)), [*range(200), *range(200)])
    rows = results(capsys, trace, "--baseline", "lru", "--memory", "50 %,75%", "--memory", "1 MiB")
    assert [row["memory_bytes"] for row in rows] == [100 * 4096, 150 * 4096, 1 << 20]
    assert [row["faults"] for row in rows] == [400, 400, 200]


def test_a_trace_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = record(tmp_path / "t.parquet", [], [])
    code, out, err = run(capsys, "compare", str(trace), "--json", "--out", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert "t.parquet" in err
    assert "hint:" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--memory", "much"), "much"),
        (("--memory", "512"), "512"),
        (("--memory", "0 %"), "no share of memory"),
        (("--memory", "nan %"), "no share of memory"),
        (("--memory", "8 KiB"), "16 pages"),
        (("--memory", ","), "''"),
        (
            ("--memory", "99999999999999999999 TiB"),
            "command line: compare.memory[0]: '99999999999999999999 TiB' is more than",
        ),
        (("--protocol", "linux-6.99"), "linux-6.99"),
        (("--protocol", "v8"), "command line: --protocol: there is no protocol 'v8'"),
        (("--baseline", "lur"), "'lru'"),
        (("--baseline", "lru", "--baseline", "lru"), "twice"),
        (("--engine", "fast"), "fast"),
        (("--out", "t.parquet"), "not a folder"),
    ],
)
def test_bad_values_end_with_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "t.parquet", [0, 1], [0, 1])
    code, out, err = run(capsys, "compare", "t.parquet", *words)
    assert (code, out) == (2, ""), err
    assert says in err
    assert "hint:" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [(), ("--memory", "50 %"), ("--memory", "1 MiB")])
def test_a_guest_that_is_too_large_is_refused_before_it_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    trace = record(tmp_path / "t.parquet", [0, 1], [0, 1], pages=1 << 40)
    code, out, err = run(capsys, "compare", str(trace), *words)
    assert (code, out) == (2, "")
    assert "t.parquet: 1,099,511,627,776 pages of memory in all" in err
    assert "2^31" in err


def test_a_policy_that_is_not_there_is_the_scenarios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "t.parquet", [0, 1], [0, 1])
    text = 'schema = 1\n[host]\nmemory = "1 MiB"\nkernel = "6.0"\n[[vm]]\nname = "a"\ntrace = "t.parquet"\n'
    scenario = tmp_path / "host.toml"
    scenario.write_text(text)
    assert f"{scenario}: host.kernel: there is no profile '6.0'" in run(capsys, "compare", str(scenario))[2]
    scenario.write_text(text.replace("6.0", "6.18") + '[compare]\nprotocols = ["v8"]\n')
    assert f"{scenario}: compare.protocols: there is no protocol 'v8'" in run(capsys, "compare", str(scenario))[2]


def test_missing_files_and_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "compare", str(tmp_path / "none.toml"))
    assert code == 2
    assert "no such file" in err
    assert "agewalk init" in err
    code, text, _ = run(capsys, "compare", "--help")
    assert code == 0
    assert "--memory" in text
    assert "50 %,70 %" in " ".join(text.split())


def test_names_with_markup_and_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "t.parquet", [0, 1], [0, 1])
    text = 'schema = 1\n[host]\nmemory = "1 MiB"\n[[vm]]\nname = "[red]a[/nope]\\u001b[2J\\n"\ntrace = "t.parquet"\n'
    (tmp_path / "host.toml").write_text(text + '[compare]\nprotocols = ["v7"]\nbaselines = []\n')
    code, out, err = run(capsys, "compare", str(tmp_path / "host.toml"), "--out", str(tmp_path / "out"))
    assert code == 0, err
    assert "[red]a[/nope] [2J" in out
    assert "\x1b" not in out + err


def test_a_failure_leaves_no_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = record(
        tmp_path / "late.parquet", [0, 1, 2, 3], [0, 1, 2, 600], pages=512
    )  # the last row is past the memory
    code, _, err = run(
        capsys, "compare", str(trace), "--memory", "64 KiB", "--baseline", "lru", "--out", str(tmp_path / "o/p")
    )
    assert code == 2, err
    assert not (tmp_path / "o").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_any_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = record(tmp_path / "t.parquet", [0, 1], [0, 1])
    may = os.access
    monkeypatch.setattr("os.access", lambda path, mode: may(path, mode) and not mode & os.W_OK)
    code, _, err = run(capsys, "compare", str(trace), "--baseline", "lru", "--out", str(tmp_path / "out"))
    assert code == 2
    assert "may not write there" in err
    assert "refaults" not in err


def test_kept_runs_that_cannot_be_used_are_told_and_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = record(tmp_path / "t.parquet", list(range(100)), list(range(100)))
    words = ("compare", str(trace), "--out", str(tmp_path / "out"), "--baseline", "lru", "--no-report")
    assert run(capsys, *words)[0] == 0
    (kept,) = (tmp_path / "out/runs").glob("*.json")
    kept.write_text("[" * 100_000)
    code, out, err = run(capsys, *words, "--resume")
    assert code == 0
    assert "1 of the runs kept in" in err
    assert "lru" in out
