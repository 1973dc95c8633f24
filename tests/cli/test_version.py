"""`agewalk --version` says what a report needs."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from agewalk.cli.version import LIBRARIES, facts, source_digest


def test_the_first_line_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "agewalk", "--version"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == f"agewalk {version('agewalk')}"
    assert {line.split(" ", 1)[0] for line in lines} >= {"sources", "Python", "system", "processor", *LIBRARIES}


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agewalk.cli.version.LIBRARIES", ("no-such-library",))
    assert ("no-such-library", "not installed") in facts()


def test_the_digest_is_of_the_sources() -> None:
    assert len(source_digest()) == 12
    assert source_digest() == source_digest()
