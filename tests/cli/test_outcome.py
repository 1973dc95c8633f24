"""How commands end, as a shell sees it: 1 means a verdict and nothing else, and no command ends in a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.test_compare import record

from agewalk.cli import main as door

pytestmark = pytest.mark.slow  # each test starts processes

SAMPLE = Path(__file__).parents[2] / "src/agewalk/data/sqlite-vm.parquet"
AGEWALK = f"{sys.executable} -m agewalk"
LONG = ("check --list", "profile show 6.18", "protocol table v7", "protocol list --json", "--help", "trace --help")


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, where a pipe ends as the first of its commands that fails."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=folder, capture_output=True, text=True, errors="surrogateescape",
        check=False, timeout=300, env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize("words", LONG)
def test_a_reader_that_goes_is_no_verdict(words: str, tmp_path: Path) -> None:
    done = shell(f"{AGEWALK} {words} | true", tmp_path)
    assert done.returncode in {0, 141}
    assert done.stderr == ""


@pytest.mark.parametrize("words", LONG)
def test_a_reader_that_has_gone(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*AGEWALK.split(), *words.split()], stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=300
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", LONG)
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(words: str, closed: str, tmp_path: Path) -> None:
    done = shell(f"{AGEWALK} {words} {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_printed_to_a_closed_stream_is_in_no_file(tmp_path: Path) -> None:
    record(tmp_path / "t.parquet", rows=100)
    done = shell(f"{AGEWALK} compare t.parquet --engine direct --protocol v7 --baseline lru >&-", tmp_path)
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out").rglob("*.*"):
        assert "data: out/results.json" not in path.read_text()


def test_a_full_disk_below_standard_output(tmp_path: Path) -> None:
    done = shell(f"{AGEWALK} profile show 6.18 > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("agewalk: No space left on device\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_characters_that_cannot_be_shown_are_replaced(encoding: str, tmp_path: Path) -> None:
    """A name that is not UTF-8, and names with letters that the encoding does not have."""
    record(tmp_path / "rec.parquet", rows=100, workload="\u6f22\u00e9")
    (tmp_path / "s\udcfe.toml").write_text(
        'schema = 1\n[host]\nmemory = "1 MiB"\n[[vm]]\nname = "\u6f22\u2026"\ntrace = "rec.parquet"\n', encoding="utf-8"
    )
    (tmp_path / "\udcff.parquet").symlink_to(tmp_path / "rec.parquet")
    (tmp_path / "t\u6f22\u202e.parquet").symlink_to(tmp_path / "rec.parquet")
    only = "--engine direct --protocol v7 --baseline lru"
    lines = (f"compare t?*.parquet {only}", f"compare s?.toml {only}", "trace info t?*.parquet", "check --list")
    for words in (*lines, "trace info ?.parquet", "compare s?", "compare ?.parquet"):
        done = shell(f"{AGEWALK} {words}", tmp_path, PYTHONIOENCODING=encoding)
        assert "Traceback" not in done.stderr, words
        assert done.returncode == (0 if words in lines else 2), done.stderr


def test_command_lines_that_are_wrong_are_told_in_one_style(tmp_path: Path) -> None:
    for words, says in {
        "compare": "compare: missing argument",
        "compare x --nope": "compare: no such option: --nope",
        "compare x --workers -1": "compare: invalid value for '--workers'",
        "protocol shwo v7": "protocol: no such command 'shwo'",
        "protocol": "protocol: say what to do: list, show, table",
        "trace synth zipf": "trace synth: missing argument",
    }.items():
        done = shell(f"{AGEWALK} {words}", tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert done.stderr.startswith(f"agewalk: {says}")
        assert done.stderr.splitlines()[1].startswith("   hint: agewalk ")
        assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [(TypeError("x"), 70), (ValueError("Exceeds the limit"), 70), (RecursionError("deep"), 2), (ImportError("no x", name="x"), 3),
     (BrokenPipeError(), 141),
     (OSError(28, "No space left on device"), 2), (SystemExit("no"), 70), (SystemExit(1), 1), (SystemExit(), 0)],
)  # fmt: skip
@pytest.mark.parametrize("debug", ["", "1"])
def test_what_nobody_foresaw_is_no_verdict(
    error: BaseException, code: int, debug: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(_name: str, _arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(door, "_call", fails)
    monkeypatch.setenv("AGEWALK_DEBUG", debug)
    with pytest.raises(SystemExit) as caught:
        door.main(["compare"])
    assert caught.value.code == code
    err = capfd.readouterr().err
    if code == 70:
        assert "agewalk: a fault in agewalk itself" in err or "agewalk: no" in err
    assert ("Traceback" in err) == (bool(debug) and not (isinstance(error, SystemExit) and code < 70))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.toml", "a = " + "[" * 100_000),
        ("big.toml", "schema = 1\nseed = " + "9" * 5000),
        ("deep.json", "[" * 100_000),
        ("big.json", '{"schema": ' + "9" * 5000 + "}"),
    ],
)
@pytest.mark.parametrize("command", ["compare", "timing", "witness verify", "witness show", "trace info", "check"])
def test_deep_and_huge_input_is_bad_input(command: str, name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    done = shell(f"{AGEWALK} {command} ./{name}", tmp_path)
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.startswith("agewalk: ")


def test_a_kept_run_that_is_nested_too_deeply_is_run_again(tmp_path: Path) -> None:
    record(tmp_path / "t.parquet", rows=100)
    line = f"{AGEWALK} compare t.parquet --engine direct --protocol v7 --baseline lru --no-report"
    assert shell(line, tmp_path).returncode == 0
    for path in (tmp_path / "out/runs").iterdir():
        path.write_text("[" * 100_000)
    done = shell(f"{line} --resume", tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_picture_under_a_limit_of_addresses(tmp_path: Path) -> None:
    """The renderer would abort the process."""
    record(tmp_path / "t.parquet", rows=100)
    done = shell(f"ulimit -v 40000000; {AGEWALK} trace info t.parquet --picture t.png", tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("agewalk: pictures and charts cannot be drawn under an address-space limit of")
