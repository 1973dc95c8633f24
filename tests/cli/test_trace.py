"""`agewalk trace` from end to end: exit codes, one JSON document, messages with hints, nothing half-written."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agewalk.cli.main import main
from agewalk.trace import open_trace

SAMPLE = Path(__file__).parents[2] / "src/agewalk/data/sqlite-vm.parquet"


def run(*words: object) -> int:
    try:
        main(["trace", *(str(w) for w in words)])
    except SystemExit as e:
        return int(e.code or 0)
    return 0


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    out, err = capsys.readouterr()
    assert out.count("\n") == 1, "one document on one line"
    assert all(": " in line for line in err.splitlines()), "what was guessed; no bar without a terminal"
    assert "\x1b" not in err
    return json.loads(out)


def test_info(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("info", SAMPLE, "--json") == 0
    got = document(capsys)
    assert set(got) == {
        "schema", "trace", "rows", "first_ns", "last_ns", "duration_ns", "memory_bytes", "pages", "regions", "writes",
        "vcpus", "contexts", "working_set", "phases", "metadata",
    }  # fmt: skip
    assert got["rows"] == open_trace(SAMPLE).rows
    assert run("info", SAMPLE, "--picture", tmp_path / "p.svg") == 0
    out = capsys.readouterr().out
    assert "58,753" in out
    assert "scan 0 s" in out
    assert (tmp_path / "p.svg").stat().st_size > 1000


def test_bad_input_is_exit_code_2_with_a_hint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    foreign = tmp_path / "t.parquet"
    foreign.write_text("hello")
    assert run("info", foreign, "--json") == 2
    out, err = capsys.readouterr()
    assert not out
    assert f"agewalk: {foreign}: not a Parquet file" in err
    assert "hint: 'agewalk trace convert' reads" in err
    assert run("info", SAMPLE, "--picture", tmp_path / "p.gif") == 2
    assert run("info") == 2
    assert run("nonsense") == 2


def test_convert(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, target = tmp_path / "x.csv", tmp_path / "x.parquet"
    source.write_text("t;p\n1;5\n2;6\n2;6\n")
    words = ("convert", source, target, "--from", "csv", "--delimiter", ";", "--time-column", "t", "--gfn-column", "2")
    assert run(*words, "--time-unit", "ms", "--slot", "1 ms", "--memory", "1 MiB", "--context", 2, "--json") == 0
    got = document(capsys)
    assert got.pop("assumed") == [
        "2 columns separated by ';', the first row is a header (--delimiter, --header, --no-header)"
    ]
    assert got == {
        "source_rows": 3, "used": 3, "skipped_why": {}, "no_rows": {"header": 1},
        "schema": 1, "source": str(source), "target": str(target), "format": "csv", "accesses": 3, "rows": 2, "skipped": 0,
        "numbering": "keep", "memory_bytes": 1 << 20, "duration_ns": 2 * 10**6,
    }  # fmt: skip
    (batch,) = open_trace(target).batches()
    assert (batch.gfn.tolist(), batch.context.tolist()) == ([5, 6], [2, 2])
    assert run(*words) == 0
    assert "3 rows of 3 accesses" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--from", "pcap"), "unknown format 'pcap'"),
        (("--from", "csv", "--slot", "3"), "has no unit"),
        (("--from", "csv", "--memory", "1 Gb"), "unknown unit"),
        (("--from", "csv", "--numbering", "magic"), "unknown numbering"),
        (("--from", "perf"), "line 1: not a memory sample"),
        ((), "missing option"),
    ],
)
def test_convert_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    source = tmp_path / "x.csv"
    source.write_text("gfn\n5\n")
    assert run("convert", source, tmp_path / "x.parquet", *words) == 2
    assert text in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]


def test_synth(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("synth", "phases", "--rows", 5000, "--pages", 512, "--idle", "1 s", "--nested-share", 0.5, "--seed", 9)
    for name in ("a", "b"):
        assert run(*words, tmp_path / name, "--json") == 0
        assert document(capsys)["traces"] == [
            {"target": str(tmp_path / name), "rows": 5000, "memory_bytes": 512 * 4096}
        ]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert run("info", tmp_path / "a", "--json") == 0
    assert document(capsys)["contexts"]["nested guest"] > 2000
    assert run("synth", "two-vms", tmp_path / "m.parquet", "--rows", 1000) == 0
    assert {"m-a.parquet", "m-b.parquet"} <= {p.name for p in tmp_path.iterdir()}
    assert run("synth", "zipf", tmp_path / "c", "--write-share", 2) == 2
    assert not (tmp_path / "c").exists()


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("info", "convert", "synth"):
        assert run(verb, "--help") == 0
        assert verb in capsys.readouterr().out


def agewalk(folder: Path, *words: str, stdin: Any = None, limit: str = "unlimited") -> subprocess.CompletedProcess[str]:
    """A process of its own, that may write files of `limit` 512-byte blocks."""
    command = [
        "sh",
        "-c",
        f'trap "" XFSZ; ulimit -f {limit}; exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "agewalk",
        "trace",
    ]
    return subprocess.run(
        [*command, *words], cwd=folder, stdin=stdin, capture_output=True, text=True, check=False, timeout=60
    )


def test_standard_input_is_a_source(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_text("gfn\n5\n6\n")
    words = ("convert", "-", "x.parquet", "--from", "csv", "--json")
    for command, numbering in (("cat x.csv", ["--numbering", "keep"]), ("gzip -c x.csv", ["--numbering", "pages"])):
        with subprocess.Popen(["sh", "-c", f"exec {command}"], cwd=tmp_path, stdout=subprocess.PIPE) as piped:
            done = agewalk(tmp_path, *words, *numbering, stdin=piped.stdout)
        assert done.returncode == 0
        assert "columns by their names: gfn 'gfn'" in done.stderr
        assert json.loads(done.stdout)["source"] == "-"
        assert open_trace(tmp_path / "x.parquet").rows == 2
    with source.open() as redirected:
        done = agewalk(tmp_path, *words, stdin=redirected)
    assert json.loads(done.stdout)["numbering"] == "keep", "a file can be read twice, however it comes"
    with subprocess.Popen(["cat", source], stdout=subprocess.PIPE) as piped:
        done = agewalk(tmp_path, *words, stdin=piped.stdout)
    assert json.loads(done.stdout)["numbering"] == "keep", "a pipe is kept in a file meanwhile"
    with subprocess.Popen(["cat", source], stdout=subprocess.PIPE) as piped:
        done = agewalk(tmp_path, *words[:4], "perf", "--numbering", "keep", stdin=piped.stdout)
    assert "agewalk: standard input, line 1: not a memory sample" in done.stderr


def test_no_file_takes_the_place_of_a_pipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.svg")
    (tmp_path / "x.csv").write_text("gfn\n5\n6\n")
    for words in (
        ("convert", tmp_path / "x.csv", tmp_path / "pipe.svg", "--from", "csv"),
        ("synth", "scan", tmp_path / "pipe.svg", "--rows", 100),
        ("info", SAMPLE, "--picture", tmp_path / "pipe.svg"),
    ):
        assert run(*words) == 2
        assert f"agewalk: {tmp_path / 'pipe.svg'}: cannot be written: is a pipe" in capsys.readouterr().err
    assert run("info", tmp_path / "pipe.svg") == 2
    assert "is a pipe or a device, not a file" in capsys.readouterr().err
    assert (tmp_path / "pipe.svg").is_fifo()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_open_trace_refuses_is_not_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("gfn\n5\n6\n")
    words = ("convert", tmp_path / "x.csv", tmp_path / "x.parquet", "--from", "csv")
    assert run(*words, "--memory", "99999999999 TiB") == 2
    assert "a guest has at most 4096 TiB" in capsys.readouterr().err
    assert not (tmp_path / "x.parquet").exists()
    assert run(*words, "--memory", "4096 TiB") == 0
    assert run("info", tmp_path / "x.parquet") == 0
    odd = tmp_path / "x\udcff.csv"
    odd.write_text("gfn\n5\n6\n")
    assert run(words[0], odd, *words[2:]) == 0
    assert open_trace(tmp_path / "x.parquet").meta.workload == "x\ufffd.csv"


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    done = agewalk(tmp_path, "synth", "zipf", "t.parquet", "--rows", "1500000", limit="100")
    assert done.returncode == 2
    assert "agewalk: t.parquet: " in done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_convert_tells_what_was_skipped_and_lasts_as_long_as_info_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source, target = tmp_path / "o.bin", tmp_path / "o.parquet"
    source.write_bytes(b"".join(struct.pack("<IQIq", t, 7, size, -1) for t, size in ((1, 5), (1, 0), (2, 5), (3, 0))))
    for slot, length in (("0 ns", "1 s"), ("100 ms", "1.10 s")):
        assert run("convert", source, target, "--from", "oracle", "--slot", slot) == 0
        out = capsys.readouterr().out
        assert f"2 rows of 2 accesses, 2 requests of size 0 skipped; {length}, guest memory" in out
        assert run("info", target) == 0
        assert f"{length} from 0 ns on" in capsys.readouterr().out


def test_samples(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for _ in range(2):
        assert run("samples", tmp_path, "--json") == 0
        names = document(capsys)["traces"]
    assert [Path(n).name for n in names] == ["sqlite-vm.parquet", "redis-vm.parquet"]
    assert open_trace(names[0]).rows == open_trace(SAMPLE).rows
    (tmp_path / "redis-vm.parquet").write_text("mine")
    assert run("samples", tmp_path) == 2
    assert (tmp_path / "redis-vm.parquet").read_text() == "mine"


def test_the_memory_for_damon_s_json_is_said_before_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vm.json").write_text("[")
    code = run("convert", tmp_path / "vm.json", tmp_path / "t.parquet", "--from", "damon")
    err = " ".join(capsys.readouterr().err.split())
    assert code == 2
    assert err.index("eight times the size") < err.index("not JSON")
