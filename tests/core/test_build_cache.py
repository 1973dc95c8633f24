"""Compiled code is loaded only from directories that no other user can have written to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agewalk.core import files
from agewalk.core.build_cache import NAMED_BY, digest, directory, distrust


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(NAMED_BY, str(tmp_path / "cache"))
    monkeypatch.setattr("atexit.register", lambda _: None)
    return tmp_path / "cache"


def test_a_directory_is_made_for_this_user_alone(cache: Path) -> None:
    made = directory("engine-1")
    assert made == cache / "engine-1"
    assert made.stat().st_mode & 0o777 == cache.stat().st_mode & 0o777 == 0o700
    assert directory("engine-1") == made


@pytest.mark.parametrize("which", ["cache", "engine-1", "above"])
def test_a_directory_that_others_can_write_is_not_used(
    cache: Path, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = directory("engine-1")
    place = {"cache": cache, "engine-1": made, "above": cache.parent}[which]
    place.chmod(0o777)
    other = directory("engine-1")
    assert other != made
    assert "can be written by others" in distrust(made)
    assert other.stat().st_mode & 0o777 == 0o700
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(place) in said
    assert NAMED_BY in said
    assert directory("check-2").parent == other.parent, "one temporary place for all of a process"
    assert capsys.readouterr().err == "", "told once"
    place.chmod(0o700)


def test_a_sticky_directory_above_is_no_danger(cache: Path) -> None:
    made = directory("engine-1")
    cache.parent.chmod(0o1777)
    assert distrust(made) == ""
    cache.parent.chmod(0o700)


def test_a_directory_of_another_user_is_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = directory("engine-1")
    monkeypatch.setattr(os, "geteuid", lambda: made.stat().st_uid + 1)
    assert "belongs to another user" in distrust(made)


def test_a_link_leads_to_where_it_points(cache: Path, tmp_path: Path) -> None:
    directory("engine-1").rmdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (cache / "engine-1").symlink_to(tmp_path / "open")
    assert directory("engine-1").parent != cache


def test_a_place_that_cannot_be_made_is_told_once_and_left_without_a_trace(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        "from agewalk.core.build_cache import directory\n"
        "from agewalk.core.isolated import python\n"
        "print(directory('a'), flush=True)\n"
        "subprocess.run(python(\"from agewalk.core.build_cache import directory; print(directory('a'))\"), check=True)\n"
    )
    env = os.environ | {NAMED_BY: "/proc/nope", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    parent, child = done.stdout.splitlines()
    assert parent == child
    assert parent.startswith(str(tmp_path))
    assert done.stderr.count("\n") == 1
    assert "/proc/nope" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    left = tmp_path / f"agewalk-{ended.stdout.strip()}-pool-abc"
    ours = tmp_path / f"agewalk-{os.getpid()}-pool-abc"
    foreign = tmp_path / "agewalk-notes"
    for folder in (left, ours, foreign):
        folder.mkdir()
        (folder / "x").write_text("")
    made = files.scratch_directory("cache")
    assert not left.exists()
    assert ours.exists()
    assert foreign.exists()
    assert made.name.startswith(f"agewalk-{os.getpid()}-cache-")
    assert made.stat().st_mode & 0o777 == 0o700


def test_the_digest_is_of_names_and_contents_and_versions(tmp_path: Path) -> None:
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text("1")
    b.write_text("2")
    seen = {digest([a, b]), digest([a]), digest([a, b], "numba 1"), digest([b, a])}
    a.write_text("3")
    seen.add(digest([a, b]))
    assert len(seen) == 5
    assert all(len(one) == 16 for one in seen)


def test_a_compiled_file_of_another_place_or_time_is_another(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "x.py", tmp_path / "b" / "x.py"
    for path in (first, second):
        path.parent.mkdir()
        path.write_text("1")
        os.utime(path, ns=(1, 1))
    assert digest([first]) == digest([second])
    seen = {digest([first], stamps=True), digest([second], stamps=True)}
    os.utime(first, ns=(2, 2))
    seen.add(digest([first], stamps=True))
    assert len(seen) == 3
