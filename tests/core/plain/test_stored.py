"""Compiled modules are kept for exactly the sources that they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

import agewalk
from agewalk.core.plain import stored

PATH = str(Path(agewalk.__file__).parent / "model" / "profiles.py")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What had to be made, in a cache of its own."""
    monkeypatch.setenv("AGEWALK_CACHE", str(tmp_path))
    return []


def code(made: list[str], source: str = "x = 1", about: str = "", path: str = PATH) -> CodeType:
    def make() -> CodeType:
        made.append(source)
        return compile(source, path, "exec")

    return stored.kept("m", path, source.encode(), about, make)


def test_what_was_made_is_kept(made: list[str]) -> None:
    assert code(made) == code(made)
    assert made == ["x = 1"]


@pytest.mark.parametrize(
    "again",
    [
        lambda made: code(made, source="x = 2"),
        lambda made: code(made, about="other effects"),
        lambda made: code(made, path=PATH.replace("profiles", "other")),
    ],
)
def test_what_differs_is_made(made: list[str], again: Callable[[list[str]], CodeType]) -> None:
    code(made)
    again(made)
    assert len(made) == 2


def test_an_edit_anywhere_makes_anew(made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("A = 1")
    before = stored.digest_of(tmp_path)
    (tmp_path / "a.py").write_text("A = 2")
    stored.digest_of.cache_clear()
    after = stored.digest_of(tmp_path)
    assert before != after
    code(made)
    monkeypatch.setattr(stored, "digest_of", lambda _: after)
    code(made)
    assert len(made) == 2


def test_a_spoilt_entry_is_made_anew(made: list[str]) -> None:
    code(made)
    (entry,) = stored.directory().iterdir()
    whole = entry.read_bytes()
    for spoilt in (whole[:-1], whole[:40], b"", whole[:50] + b"\xff" + whole[51:]):
        entry.write_bytes(spoilt)
        code(made)
    assert len(made) == 5


def test_without_a_place_to_write_it_is_made_each_time(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AGEWALK_CACHE", str(tmp_path / "file"))
    code(made)
    code(made)
    assert len(made) == 2


def test_a_file_of_the_users_is_made_each_time(made: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        code(made, path=str(tmp_path / "mine.py"))
    assert len(made) == 2
    assert not stored.directory().exists()
