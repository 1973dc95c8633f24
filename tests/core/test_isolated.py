"""Processes of ours import nothing from the current directory, and start nowhere but in core/isolated.py and its few users."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agewalk.core import isolated

ROOT = Path(__file__).parents[2] / "src" / "agewalk"
TRAPS = ("random", "numpy", "queue", "json", "rich", "typer", "mmap", "pickle", "runpy")
SAMPLE = ROOT / "data" / "sqlite-vm.parquet"


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder with files that are called as modules are; each leaves a mark when it is imported."""
    folder = tmp_path / "trapped"
    folder.mkdir()
    trap = "from pathlib import Path; Path(__file__).with_suffix('.ran').write_text('')\nraise SystemExit(9)\n"
    for name in TRAPS:
        (folder / f"{name}.py").write_text(trap)
    (folder / "agewalk").mkdir()
    (folder / "agewalk" / "__init__.py").write_text(trap)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["compare", str(SAMPLE), "--protocol", "v5", "--protocol", "v7", "--workers", "2", "--no-report"],
        ["check", "age-vs-zap/v7/tdp"],
        ["timing", "access-tracking", "--vcpus", "1,2", "--scale", "8192", "--workers", "2"],
        ["protocol", "list"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("start", [["-P", "-m", "agewalk"], ["-m", "agewalk"]], ids=["script", "module"])
def test_no_command_imports_from_the_current_directory(trapped: Path, words: list[str], start: list[str]) -> None:
    if start == ["-m", "agewalk"]:
        (trapped / "agewalk" / "__init__.py").unlink()  # Python itself would take it for the module that was asked for
        (trapped / "agewalk").rmdir()
        (trapped / "runpy.py").unlink()
    done = subprocess.run(
        [sys.executable, *start, *words], cwd=trapped, capture_output=True, text=True, check=False, timeout=300
    )
    assert [path.name for path in trapped.rglob("*.ran")] == []
    assert done.returncode == 0, done.stderr


def test_a_child_finds_what_its_parent_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("print('mine')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    code = "import sys, mine, agewalk; print(agewalk.__file__, '/nowhere' in sys.path, '' in sys.path, sys.argv[1:])"
    done = subprocess.run(isolated.python(code, "a", "b c"), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["mine", f"{ROOT / '__init__.py'} False False ['a', 'b c']"]


def test_a_module_is_run_by_its_name() -> None:
    done = subprocess.run(isolated.module("agewalk", "--version"), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("agewalk ")


def test_processes_start_in_known_places_alone() -> None:
    starts = re.compile(
        r"\bsubprocess\.|\bPopen\b|ProcessPoolExecutor|multiprocessing|\bos\.(?:system|exec|spawn|popen)|sys\.executable"
    )
    found = {
        str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if starts.search(path.read_text(encoding="utf-8"))
    }
    assert found <= {
        "core/isolated.py",
        "core/process_pool.py",
        "checker/promela.py",
        "cli/called.py",  # names the interpreter in a hint
        "cli/version.py",
        "timing/compiled.py",
    }


def test_the_environment_of_the_shell_is_not_needed(tmp_path: Path) -> None:
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        isolated.python("import agewalk; print(agewalk.__name__)"),
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "agewalk\n"
