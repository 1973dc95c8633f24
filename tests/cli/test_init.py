"""`agewalk init`: what it writes runs as it stands, whatever the traces are called, and it never overwrites."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.cli.test_main import ends
from tests.hostile import NAMES

from agewalk.cli.called import command_line

pytestmark = pytest.mark.slow  # the commands that init and demo name run whole

DATA = Path(__file__).parents[2] / "src/agewalk/data"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compared(capsys: pytest.CaptureFixture[str]) -> str:
    code, out, err = ends(capsys, "compare", "my-host.toml", "--no-report", "--baseline", "lru")
    assert code == 0, err
    return out


def test_without_traces_the_samples_are_compared(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ends(capsys, "init")
    assert code == 0
    assert out.startswith("my-host.toml: 2 VMs on a host of 39 MiB. Next:\n")
    assert "compare my-host.toml" in out
    text = (here / "my-host.toml").read_text()
    plain = ("[", "name", "trace", "schema")  # say all themselves
    assert all("#" in line for line in text.splitlines() if line and not line.startswith(plain))
    assert "lru" in compared(capsys)


def test_every_line_that_is_off_may_be_turned_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DATA / "sqlite-vm.parquet", here / "guest.parquet")
    shutil.copy(DATA / "sqlite-vm.parquet", here / "batch.parquet")
    ends(capsys, "init", "guest.parquet")
    lines = (here / "my-host.toml").read_text().splitlines()
    on = [line.removeprefix("# ") if "=" in line or line.startswith("# [") else line for line in lines[4:]]
    text = "schema = 1\n" + "\n".join(on).replace(', "my_protocol.py:Mine"', "")
    raw = tomllib.loads(text)
    assert set(raw) == {"schema", "host", "aging", "vm", "process", "compare"}
    (here / "my-host.toml").write_text(text)
    assert "lru" in compared(capsys)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_text(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    name = name.replace("/", "_").replace("\0", "")[:80] or "x"
    shutil.copy(DATA / "sqlite-vm.parquet", here / f"{name}.parquet")
    code, out, err = ends(capsys, "init", f"{name}.parquet")
    assert code == 0, err
    assert all(c.isprintable() or c == "\n" for c in out)
    raw = tomllib.loads((here / "my-host.toml").read_text())
    assert [vm["trace"] for vm in raw["vm"]] == [f"{name}.parquet"]
    assert "lru" in compared(capsys)


def test_a_name_that_is_no_utf8_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DATA / "sqlite-vm.parquet", here / "a\udcff.parquet")
    code, _, err = ends(capsys, "init", "a\udcff.parquet")
    assert code == 2
    assert "Traceback" not in err
    assert not (here / "my-host.toml").exists()


def test_two_traces_of_one_name_become_two_vms(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "deep").mkdir()
    for path in ("a.parquet", "deep/a.parquet"):
        shutil.copy(DATA / "sqlite-vm.parquet", here / path)
    assert ends(capsys, "init", "a.parquet", "deep/a.parquet")[0] == 0
    raw = tomllib.loads((here / "my-host.toml").read_text())
    assert [(vm["name"], vm["trace"]) for vm in raw["vm"]] == [("a-0", "a.parquet"), ("a-1", "deep/a.parquet")]


def test_what_is_there_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "my-host.toml").write_text("mine")
    code, _, err = ends(capsys, "init")
    assert (code, "is there already" in err) == (2, True)
    assert (here / "my-host.toml").read_text() == "mine"
    (here / "link.toml").symlink_to("nowhere")
    assert ends(capsys, "init", "--out", "link.toml")[0] == 2
    assert ends(capsys, "init", "--out", "no/such/folder.toml")[0] == 2
    assert ends(capsys, "init", "no-such.parquet", "--out", "new.toml")[0] == 2
    assert not (here / "new.toml").exists()


def test_a_command_is_as_its_shell_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "venv" / "bin" / "agewalk"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_line("compare", "my host.toml", argv0=str(script)) == "venv/bin/agewalk compare 'my host.toml'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert command_line("demo", argv0=str(script)) == "agewalk demo"
    assert command_line("demo", argv0="/x/agewalk/__main__.py") == f"{sys.executable} -m agewalk demo"
    monkeypatch.chdir("/")
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_line("demo", argv0=str(script)) == f"{str(script).lstrip('/')} demo"


def test_the_demo_ends_with_commands_that_run(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agewalk", "demo"], capture_output=True, text=True, check=True, cwd=here
    )
    following = done.stdout.partition("Next:\n")[2].splitlines()
    words = [line.strip().split("  ")[0] for line in following if " -m agewalk " in line]
    assert len(words) == 3
    for command in words:
        again = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=here)
        assert again.returncode == 0, again.stderr


def test_what_was_written_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ends(capsys, "init", "--json")
    assert code == 0
    document = json.loads(out)
    written = tomllib.loads((here / "my-host.toml").read_text())
    assert document["vms"] == [vm["name"] for vm in written["vm"]]
    assert written["host"]["memory"] == f"{document['memory_bytes'] >> 20} MiB"
    assert written["host"]["kernel"] == document["kernel"]
