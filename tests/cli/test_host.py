"""`agewalk host probe` on a recorded tree."""

import json
from pathlib import Path

import pytest
from tests.host.dumps import tree
from tests.hostile import NAMES

from agewalk.cli.main import main


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["host", "probe", *words])
    return int(end.value.code or 0)


def recorded(root: Path, name: str) -> Path:
    files = {
        "/proc/7/cmdline": f"qemu\0-name\0guest={name}\0-m\0{64}\0",
        "/proc/7/cgroup": "0::/g\n",
        "/sys/fs/cgroup/g/cgroup.procs": "7\n",
    }
    return tree(root, files, {"/proc/7/fd/4": "anon_inode:kvm-vm", "/proc/7/exe": "/usr/bin/qemu"})


@pytest.mark.parametrize("name", [name for name in NAMES if "\0" not in name and "," not in name])
def test_names_of_vms_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    root = recorded(tmp_path, name)
    assert run("--root", str(root)) == 0
    out = capsys.readouterr().out
    assert "Does aging see guests: unknown" in out
    assert all(c.isprintable() or c == "\n" for c in out)


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", str(recorded(tmp_path, "web")), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["aging_sees_guests"]["answer"] is None
    assert [(vm["name"], vm["guest_bytes"], vm["alone"]) for vm in document["vms"]] == [("web", 64 << 20, True)]


def test_a_root_that_is_no_directory_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", str(tmp_path / "none")) == 2
    assert "no directory" in capsys.readouterr().err
