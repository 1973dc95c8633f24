"""What `agewalk compare` says beside its table: nothing evicted, nothing aged; and what a host's defaults are."""

from pathlib import Path

import pytest
from tests.cli.test_main import ends

SAMPLE = str(Path(__file__).parents[2] / "src/agewalk/data/sqlite-vm.parquet")


def compared(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str) -> str:
    code, out, err = ends(capsys, "compare", SAMPLE, "--no-report", "--out", str(tmp_path / "out"), *words)
    assert code == 0, err
    return out


def test_a_trace_shorter_than_the_interval_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = compared(capsys, tmp_path, "--every", "10 min", "--protocol", "v7")
    assert "No proactive aging took place: the traces last" in out
    assert "aging.every is 10 min" in out
    for quiet in (("2 s", "--protocol", "v7"), ("", "--protocol", "v7"), ("10 min", "--baseline", "lru")):
        assert "No proactive aging" not in compared(capsys, tmp_path, "--every", *quiet)


def test_memory_for_all_is_told_with_what_is_touched(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = compared(capsys, tmp_path, "--memory", "1 GiB", "--baseline", "lru")
    assert "Nothing was evicted: the traces touch" in out
    assert "--memory '70 %'" in out
    assert "MiB" in out.partition("touch")[2]
    assert "Nothing was evicted" not in compared(capsys, tmp_path, "--baseline", "lru")


def test_by_default_a_host_runs_its_own_kernel_and_the_newest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "host.toml").write_text(
        f'schema = 1\n[host]\nmemory = "16 MiB"\nkernel = "6.12"\n[[vm]]\nname = "a"\ntrace = "{SAMPLE}"\n'
    )
    code, out, err = ends(capsys, "compare", str(tmp_path / "host.toml"), "--no-report", "--out", str(tmp_path / "out"))
    assert code == 0, err
    names = [line.split()[0] for line in out.splitlines() if line.startswith(("linux", "two-list"))]
    assert names[:3] == ["linux-6.12", "linux-7.3", "two-list"]


def test_a_kernel_s_name_is_its_profile_s(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = compared(capsys, tmp_path, "--protocol", "linux-6.1", "--protocol", "linux-6.12", "--protocol", "linux-6.9")
    assert all(f"linux-{kernel} " in rows for kernel in ("6.1", "6.12", "6.9"))
    code, _, err = ends(capsys, "compare", SAMPLE, "--protocol", "linux-6.19")
    assert code == 2
    assert "linux-6.12" in err


def test_a_wrong_interval_is_met_with_the_right_unit(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ends(capsys, "compare", SAMPLE, "--every", "30 sec")
    assert code == 2
    assert "did you mean '30 s'?" in err
