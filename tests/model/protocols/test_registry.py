"""Names, options, and files of a user's own: what is accepted, and what each error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from agewalk.core.errors import InputError, UsageError
from agewalk.model.protocols.registry import PROTOCOLS, get_protocol


def test_names_are_those_of_the_formats() -> None:
    assert set(PROTOCOLS) == {
        "linux-6.9", "linux-6.13", "linux-6.15", "linux-6.18", "linux-7.3",
        "v2", "v3", "v4", "v5", "v6", "v7", "houghton", "christopherson",
    }  # fmt: skip
    for name, cls in PROTOCOLS.items():
        assert cls.name == name
        assert cls.summary
        assert cls.cite
        assert bool(cls.profile) is name.startswith("linux-")


def test_options() -> None:
    assert get_protocol("houghton").chosen == {"must_check": "sptes"}
    assert get_protocol("houghton:must_check=rmaps").full_name == "houghton:must_check=rmaps"
    assert get_protocol("houghton:must_check=sptes").full_name == "houghton"


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("linux-6.19", "no protocol 'linux-6.19'", "did you mean 'linux-6."),
        ("zebra", "no protocol 'zebra'", "known: linux-6.9"),
        ("houghton:must=rmaps", "no option 'must'", "must_check"),
        ("houghton:must_check=all", "must_check=all is not possible", "sptes, rmaps"),
        ("houghton:rmaps", "'rmaps' is not an option", "option=value"),
        ("v7:x=1", "no option 'x'", "none"),
        ("mine.py", "names a file but no class", "mine.py:ClassName"),
    ],
)
def test_usage_errors_teach(spec: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        get_protocol(spec)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


GOOD = """
from agewalk.model.protocols.base import AgingProtocol

class Mine(AgingProtocol):
    options = {"speed": ("slow", "fast")}

class NotOne:
    pass
"""


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    protocol = get_protocol(f"{path}:Mine:speed=fast")
    assert (protocol.name, protocol.chosen) == ("Mine", {"speed": "fast"})


@pytest.mark.parametrize(
    ("text", "cls", "message", "hint"),
    [
        (None, "Mine", "no such file", "path to a Python file"),
        (GOOD, "Yours", "has no class 'Yours'", "it has Mine"),
        (GOOD, "NotOne", "is not a protocol", "subclass"),
        ("import nothing_of_the_kind", "Mine", "does not run: ModuleNotFoundError", "python"),
        ("class Mine(:", "Mine", "does not run: SyntaxError", "python"),
        ("x = 1", "Mine", "has no class", "no subclass of AgingProtocol"),
    ],
)
def test_bad_files(tmp_path: Path, text: str | None, cls: str, message: str, hint: str) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        get_protocol(f"{path}:{cls}")
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2
