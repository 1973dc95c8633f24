"""Results are written whole or not at all, and caches lie where their user wants them."""

import os
from pathlib import Path

import pytest

from agewalk.core.files import caches, whole


def test_the_file_is_there_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    with whole(path) as part:
        part.write_text("new")
        assert not list(path.parent.glob("*.json"))
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")

    def half() -> None:
        with whole(path, durable=durable) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space") as caught, whole(path) as part:
        part.write_text("new")
    assert caught.value.filename == str(path), "write() and fsync() do not say which file"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), whole(tmp_path):
        pytest.fail("let in")
    assert not list(tmp_path.iterdir())


def test_a_place_that_may_not_be_written_has_the_name_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught, whole(tmp_path / "file" / "r.json"):
        pytest.fail("let in")
    assert ".part" not in str(caught.value)


def test_no_link_that_lies_there_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "precious"
    target.write_text("mine")
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    (tmp_path / ".r.json.guessed.part").symlink_to(target)
    with pytest.raises(FileExistsError), whole(tmp_path / "r.json") as part:
        part.write_text("overwritten")
    assert target.read_text() == "mine"


def test_names_of_parts_cannot_be_guessed(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with whole(tmp_path / "r.json") as part:
            part.write_text("")
            names.add(part.name)
    assert len(names) == 3


@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_is_refused_and_stays_one(tmp_path: Path, link: bool) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    if link:
        path = tmp_path / "link"
        path.symlink_to("pipe")
    with pytest.raises(FileExistsError, match="is a pipe; a file would take its place"), whole(path):
        pytest.fail("let in")
    assert (tmp_path / "pipe").is_fifo()
    assert path.is_symlink() == link


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_one(tmp_path: Path, dangling: bool) -> None:
    (tmp_path / "far").mkdir()
    goal, path = tmp_path / "far" / "r.json", tmp_path / "r.json"
    path.symlink_to("far/r.json")
    if not dangling:
        goal.write_text("old")
    with whole(path) as part:
        assert part.parent == goal.parent
        part.write_text("new")
    assert path.is_symlink()
    assert goal.read_text() == "new"
    assert [p.name for p in goal.parent.iterdir()] == ["r.json"]


def test_a_long_name_has_room_for_its_part(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".json")
    with whole(path) as part:
        part.write_text("new")
    assert path.exists()


def test_where_caches_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEWALK_CACHE", str(tmp_path))
    assert caches() == tmp_path
    monkeypatch.delenv("AGEWALK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert caches() == tmp_path / "agewalk"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches() == tmp_path / ".cache" / "agewalk"
