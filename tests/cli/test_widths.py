"""What every command prints fits a real terminal of 40, 60 and 80 columns and a pipe, and no number is cut or lost on the way."""

import os
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from tests.cli.test_compare import record

from agewalk.cli.main import COMMANDS
from agewalk.report.table import cells

pytestmark = pytest.mark.slow

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

ROOT = Path(__file__).parents[2]
WIDTHS = (40, 60, 80)
WIDE = 2000
#: A number with its point and separators, or a word with digits in it; not the inside of a replay string or an identifier.
NUMBER = re.compile(r"(?<![\w.,…])[+-]?\d[\d,]*(?:\.\d+)?(?![\w…])")
WITNESS = "tests/witness/6.18/tdp/popread.json"
VERBS = {
    "protocol": ("list", "show", "table", "lookaround", "diff"),
    "profile": ("list", "show"),
    "trace": ("info", "convert", "synth"),
    "witness": ("verify", "show"),
    "host": ("probe",),
}
HELP = [
    "--help",
    *(f"{name} --help" for group in COMMANDS.values() for name in group),
    *(f"{name} {verb} --help" for name, verbs in VERBS.items() for verb in verbs),
]
TABLES = [
    "docs",
    "check --list",
    "check two-agers/v7 --walks 3",
    "check subscribers/v5 --brief --max-states 200000",
    "profile list",
    "profile show 6.18",
    "profile show 6.18 6.13",
    "protocol list",
    "protocol show houghton",
    "protocol table v7",
    "protocol table christopherson",
    "protocol lookaround v7",
    "protocol diff v5 v7",
    "protocol diff v7 v7",
    "timing costs",
    "timing list",
    "timing look-around --vcpus 1 --scale 4096 --workers 1 --protocol v7 --protocol v5",
    "timing one-page --protocol v7",
    "trace info src/agewalk/data/sqlite-vm.parquet",
    f"witness show {WITNESS}",
    f"witness verify {WITNESS} --jobs 1",
]


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}} | {"TERM": "xterm", "NO_COLOR": "1"}


def on_terminal(words: Sequence[str], width: int, folder: Path) -> str:
    """Standard output and error of a command on a pseudo-terminal of so many columns."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    command = [sys.executable, "-m", "agewalk", *words]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.DEVNULL, stdin=theirs, cwd=folder, env=environment()
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the other side has closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert process.wait() in {0, 1}
    return b"".join(parts).decode().replace("\r\n", "\n")


@cache
def at(line: str, width: int, folder: Path = ROOT) -> str:
    return on_terminal(line.split(), width, folder)


def numbers(text: str) -> set[str]:
    """Numbers of what a command printed, but for those that are measured anew each time."""
    steady = re.sub(r"[\d.]+ M states/s, [\d.]+ s in all,?\s+peak\s+memory\s+\d+\s+MiB", "", text)
    return set(NUMBER.findall(steady))


def fits(text: str, width: int) -> None:
    for line in text.splitlines():
        assert cells(line) <= width or "--replay" in line, line
        assert not re.search(r"\d…|…\d", line), line


@pytest.mark.slow
@pytest.mark.parametrize("line", TABLES)
def test_tables_fit_and_keep_every_number(line: str) -> None:
    whole = at(line, WIDE)
    assert re.search(r"[─-]{2}|\w", whole)
    for width in WIDTHS:
        shown = at(line, width)
        fits(shown, width)
        assert not numbers(whole) ^ numbers(shown), (width, numbers(whole) ^ numbers(shown))


@pytest.mark.slow
@pytest.mark.parametrize("line", TABLES)
def test_a_pipe_gets_the_same_numbers(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agewalk", *line.split()], cwd=ROOT, capture_output=True, text=True, check=False, env=environment()
    )  # fmt: skip
    assert numbers(done.stdout) == numbers(at(line, WIDE))


@pytest.mark.parametrize("line", HELP)
def test_help_fits(line: str) -> None:
    for width in WIDTHS:
        shown = at(line, width)
        fits(shown, width)
        assert "Usage:" in shown


def test_a_comparison_fits_and_keeps_every_number(tmp_path: Path) -> None:
    record(tmp_path / "t.parquet", rows=2000)
    names = ("a", "a VM with a very long name, 漢字漢字漢字漢字漢字漢字漢字漢字", "[b]")
    members = "".join(f'[[vm]]\nname = "{name}"\ntrace = "t.parquet"\n' for name in names)
    (tmp_path / "host.toml").write_text(
        f'schema = 1\n[host]\nmemory = "600 KiB"\n[aging]\nevery = "100 ms"\n{members}[compare]\n'
        'protocols = ["v5", "christopherson:variant=repaired"]\nbaselines = ["two-list", "opt"]\n',
        encoding="utf-8",
    )
    line = ["compare", "host.toml", "--engine", "direct", "--workers", "1", "--no-report"]
    whole = on_terminal(line, WIDE, tmp_path)
    assert len(numbers(whole)) > 20
    for width in WIDTHS:
        shown = on_terminal([*line, "--resume"], width, tmp_path)
        fits(shown, width)
        assert numbers(whole) == numbers(shown)


def test_the_matrix_fits_and_keeps_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check --all` takes minutes; its table is drawn of made-up cells."""
    from agewalk.checker.matrix import Cell, Matrix
    from agewalk.cli.check import table

    protocols = ["linux-6.9", "linux-6.18", "v5", "v7", "houghton:must_check=rmaps", "christopherson:variant=repaired"]
    made = tuple(
        Cell(system, p, "tdp", name, kind, verdict, 10 + i, 1234, f"why {i}", 3, 7 + i)
        for system in ("age-vs-guest", "two-agers")
        for i, p in enumerate(protocols)
        for name, kind, verdict in (
            ("a page that was used before the walk began is young after it", "must", "violated"),
            ("an old answer is right", "may", "tolerated"),
            ("something that is not there", "must", "not-applicable"),
        )
    )
    matrix = Matrix(made, 115.0, (9.5, "age-vs-zap/v7/nested"))
    monkeypatch.setenv("COLUMNS", str(WIDE))
    whole = table(matrix)
    assert {"10", "15", "BUG/12".rpartition("/")[2], "115", "9.5"} <= numbers(whole.replace("/", " "))
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        fits(table(matrix), width)
        assert numbers(whole.replace("/", " ")) == numbers(table(matrix).replace("/", " "))
