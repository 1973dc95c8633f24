"""The wheel, installed into an empty environment: what README and the demo name works there, far from any checkout."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment that holds the wheel. Libraries come from the environment of the tests."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    shutil.copytree(
        ROOT / "src", tree / "src", symlinks=True, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
    )
    shutil.copytree(ROOT / "docs", tree / "docs")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", str(folder), str(tree)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    programs = folder / "venv" / "bin"
    subprocess.run([*pip, "--python", str(programs / "python"), "install", *offline, str(wheel)], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")  # .pth files in there are not obeyed
    shutil.rmtree(tree)
    return programs


def said(programs: Path, folder: Path, line: str) -> str:
    """Standard output of a command line in a shell that has `programs` on its PATH."""
    env = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_what_the_demo_prints_next_runs(installed: Path, tmp_path: Path) -> None:
    where = said(installed, tmp_path, "python -c 'import agewalk; print(agewalk.__file__)'")
    assert Path(where.strip()).is_relative_to(installed.parent)
    demo = said(installed, tmp_path, "agewalk demo")
    following = [line.strip() for line in demo.partition("\nNext:\n")[2].splitlines()]
    lines = [line for line in following if line.startswith("agewalk ")]  # whole lines, as one copies them
    assert [shlex.split(line)[1] for line in lines] == ["init", "compare", "protocol"]
    for line in lines:
        assert said(installed, tmp_path, line)
    assert "# Known deviations" in said(installed, tmp_path, "agewalk docs deviations")


@pytest.mark.slow
def test_commands_are_named_as_they_were_called(installed: Path, tmp_path: Path) -> None:
    program = os.path.relpath(installed / "agewalk", tmp_path)
    done = subprocess.run([program, "init"], cwd=tmp_path, capture_output=True, text=True, check=True)
    line = done.stdout.splitlines()[-1].strip()
    words = shlex.split(line)
    assert Path(tmp_path, words[0]).samefile(installed / "agewalk")
    again = subprocess.run([*words[:1], "init", "--out", "b.toml"], cwd=tmp_path, capture_output=True, check=False)
    assert again.returncode == 0


@pytest.mark.slow
def test_every_command_has_what_it_needs(installed: Path, tmp_path: Path) -> None:
    for words in (
        "--version", "--help", "profile show 6.18", "protocol list", "check --list", "check age-vs-zap/v7/tdp", "timing list",
        "timing costs", "timing one-page", "timing access-tracking --vcpus 1 --scale 8192", "docs", "trace samples .",
        "trace info sqlite-vm.parquet", "trace synth scan x.parquet --rows 1000",
    ):  # fmt: skip
        assert said(installed, tmp_path, f"AGEWALK_TIMING=text agewalk {words}")
