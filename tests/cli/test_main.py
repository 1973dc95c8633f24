"""The door: help without libraries, errors as exit codes, every command of the table."""

import subprocess
import sys

import pytest

from agewalk.cli import main as door
from agewalk.core.errors import Interrupted, MissingError, ModelError, UsageError


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "agewalk", *words], capture_output=True, text=True, check=False)


def ends(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        door.main(words)
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


NAMES = [name for group in door.COMMANDS.values() for name in group]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_the_table_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ends(capsys, name, "--help")
    assert code == 0
    assert f"Usage: agewalk {name}" in out


def test_help_and_version() -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        done = run(*words)
        assert done.returncode == 0
        assert all(f"\n  {name}" in done.stdout for name in NAMES)
    assert run("--version").stdout.startswith("agewalk 0.")
    assert max(map(len, run("--help").stdout.splitlines())) <= 120


def test_help_loads_no_library() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from agewalk.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['--help'])\n"
        "heavy = {'numpy', 'numba', 'pyarrow', 'pydantic', 'typer', 'rich', 'altair', 'joblib'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_command_gets_the_nearest() -> None:
    done = run("comapre", "x.toml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no command 'comapre'" in done.stderr
    assert "did you mean 'agewalk compare'?" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("u", hint="h"), 2),
        (MissingError("m", hint="h"), 3),
        (ModelError("v", hint="h"), 70),
        (Interrupted("i", hint="h"), 130),
        (KeyboardInterrupt(), 130),
        (FileNotFoundError(2, "No such file or directory", "x"), 2),
        (MemoryError(), 3),
    ],
)
def test_errors_become_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_name: str, _arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr(door, "_call", fails)
    got, out, err = ends(capsys, "compare")
    assert got == code
    assert out == ""
    assert err.startswith("agewalk: ")
    assert "Traceback" not in err
