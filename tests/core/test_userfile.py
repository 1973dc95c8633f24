"""A user's file is run, or an error says what is wrong with it."""

from pathlib import Path

import pytest

from agewalk.core.errors import InputError
from agewalk.core.userfile import blamed, run_user_file


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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\nraise SystemExit(5)\n", r"mine\.py, line 2, does not run: SystemExit: 5"),
        ("def f(:\n", r"mine\.py, line 1, does not run: SyntaxError"),
        ("def f():\n    return 1 / 0\n\nf()\n", r"mine\.py, line 2, does not run: ZeroDivisionError: division by zero"),
    ],
)
def test_the_line_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError, match=says):
        run_user_file(tmp_path / "mine.py", wanted="x", example="y")


def test_what_it_prints_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("print('hello')\n")
    run_user_file(tmp_path / "mine.py", wanted="x", example="y")
    assert capsys.readouterr() == ("", "hello\n")


def test_what_it_raises_later_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("\n\ndef f(x):\n    yield x\n    raise KeyError(x)\n")
    module = run_user_file(tmp_path / "mine.py", wanted="x", example="y")
    with pytest.raises(KeyError) as caught:
        list(module.f(5))
    found = blamed(caught.value)
    assert str(found) == f"{tmp_path / 'mine.py'}, line 5: KeyError: 5"
    assert blamed(ValueError("ours")) is None
    assert blamed(InputError("said already")) is None


def test_nothing_is_written_beside_a_users_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    run_user_file(tmp_path / "mine.py", wanted="x", example="y")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
