"""A user's file is run, or an error says what is wrong with it."""

from pathlib import Path

import pytest

from agewalk.core.errors import InputError
from agewalk.core.userfile import run_user_file


def test_it_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("ANSWER = 42\n")
    assert run_user_file(tmp_path / "mine.py", wanted="x", example="y").ANSWER == 42


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("gone.py", None, "no such file"),
        ("mine.txt", "ANSWER = 42\n", "is not a Python file"),
        ("mine.py", "ANSWER = 4 2\n", "does not run: SyntaxError"),
        ("mine.py", "raise RuntimeError('no')\n", "does not run: RuntimeError: no"),
    ],
)
def test_what_is_wrong(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says) as error:
        run_user_file(tmp_path / name, wanted="the class in it", example="docs/x.md")
    assert error.value.hint
