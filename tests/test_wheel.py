"""The wheel in an empty environment, away from the sources: everything that its commands need is in it."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*words: str, cwd: Path, code: int = 0) -> str:
    env = {name: os.environ[name] for name in ("PATH", "HOME", "AGEWALK_CACHE") if name in os.environ}
    env["AGEWALK_TIMING"] = "text"
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def agewalk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in an environment that holds the wheel, and finds the libraries that the tests run with."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = ("pyproject.toml", "README.md", "LICENSE", "src")
    run("git", "-C", str(ROOT), "checkout-index", "-a", f"--prefix={source}/", cwd=ROOT)
    for name in names:
        assert (source / name).exists()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source), cwd=folder)
    (wheel,) = folder.glob("agewalk-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    run(*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel), cwd=folder)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(
        sysconfig.get_paths()["purelib"] + "\n"
    )  # paths of .pth files there are not followed
    return folder / "env" / "bin" / "agewalk"


def test_the_commands_of_the_readme_run(agewalk: Path, tmp_path: Path) -> None:
    where = run(str(agewalk.with_name("python")), "-c", "import agewalk; print(agewalk.__file__)", cwd=tmp_path)
    assert "/env/lib/" in where
    assert "linux-6.18" in run(str(agewalk), "demo", cwd=tmp_path)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    run(str(agewalk), "init", cwd=tmp_path)
    assert "two-list" in run(str(agewalk), "compare", "my-host.toml", "--no-report", cwd=tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["--version"], ["--help"], ["profile", "list"], ["profile", "show", "6.18"], ["protocol", "list"],
        ["protocol", "diff", "v5", "linux-6.18"], ["check", "--list"], ["check", "age-vs-zap/v7/tdp"], ["timing", "list"],
        ["timing", "costs"], ["timing", "one-page"], ["timing", "access-tracking", "--vcpus", "1", "--scale", "8192"],
        ["trace", "synth", "scan", "x.parquet", "--rows", "1000"], ["docs"], ["docs", "compare"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_has_what_it_needs(agewalk: Path, tmp_path: Path, words: list[str]) -> None:
    assert run(str(agewalk), *words, cwd=tmp_path)
