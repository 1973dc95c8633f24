"""Ctrl-C, SIGTERM and SIGHUP: every command ends with exit code 130, says so once, and leaves nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.test_main import ends

from agewalk.cli import main as door

SAMPLE = Path(__file__).parents[2] / "src/agewalk/data/sqlite-vm.parquet"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("agewalk.trace.facts.facts", ["trace", "info", str(SAMPLE)]),
        ("agewalk.trace.convert.convert", ["trace", "convert", str(SAMPLE), "x.parquet", "--from", "csv"]),
        ("agewalk.trace.write_trace", ["trace", "synth", "scan", "x.parquet"]),
        ("agewalk.study.scenarios.scenario.load", ["compare", str(SAMPLE)]),
        ("agewalk.checker.catalog.get_system", ["check", "look-around-decision/v7/tdp"]),
        ("agewalk.model.profiles.profile", ["profile", "show", "6.18"]),
    ],
)
def test_an_interrupt_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str, words: list[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, stopped)
    assert ends(capsys, *words) == (130, "", f"agewalk: {door.INTERRUPTED}\n")


#: Starts a command with signals as an interactive shell has them: nohup ignores SIGHUP, and a shell's `&` SIGINT.
AS_FROM_A_SHELL = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def stop(folder: Path, words: list[str], numbers: list[signal.Signals], *, by: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a command in `folder`, and send the signals when it has begun to write; exit code and standard error."""
    command = [sys.executable, "-c", AS_FROM_A_SHELL, *by, sys.executable, "-m", "agewalk", *words]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if any(p.stat().st_size > 4 for p in folder.glob(".*.part")):  # rows: all libraries are loaded
                break
            time.sleep(0.05)
        for number in numbers:
            os.kill(process.pid, number)
        _, err = process.communicate(timeout=120)
    return process.returncode, err


LONG = ["trace", "synth", "two-vms", "t.parquet", "--rows", "100000000"]


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGTERM, signal.SIGHUP]],
    ids=lambda numbers: "+".join(n.name for n in numbers),
)
def test_stopped_while_writing(tmp_path: Path, numbers: list[signal.Signals]) -> None:
    code, err = stop(tmp_path, LONG, numbers)
    assert (code, err) == (130, f"agewalk: {door.INTERRUPTED}\n")
    assert not list(tmp_path.iterdir())


def test_stopped_while_converting(tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    source = tmp_path / "pipe" / "lackey"
    os.mkfifo(source)
    words = ["trace", "convert", str(source), "t.parquet", "--from", "lackey", "--slot", "0 ns"]
    with subprocess.Popen(["sh", "-c", f"exec yes 'I  0401,3' > {source}"]):  # goes on until its reader goes
        code, err = stop(tmp_path, words, [signal.SIGTERM])
    assert (code, err) == (130, f"agewalk: {door.INTERRUPTED}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    nohup = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    code, err = stop(tmp_path, [*LONG[:-1], "3000000"], [signal.SIGHUP], by=nohup)
    assert (code, err) == (0, "")
    assert len(list(tmp_path.iterdir())) == 2


def test_the_command_line_gives_signals_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    ends(capsys, "nonsense")
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before
