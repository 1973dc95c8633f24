"""`agewalk workload`: the document to the letter, traces by name, and bad input."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agewalk.cli.workload import app
from agewalk.core.errors import UsageError, WitnessError
from agewalk.model.machine import Machine

RECORDED = Path(__file__).parents[1] / "workload" / "sqlite.jsonl"
LINES = RECORDED.read_text().splitlines()
KEYS = [
    "kernel", "backing", "trace", "memory_percent", "aging_every_s", "lru_gen", "refaults", "refaults_recorded", "steals",
    "steals_recorded", "resident_jaccard",
]  # fmt: skip


def one(tmp_path: Path, **change: Any) -> Path:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(json.loads(LINES[49]) | change))  # 6.1, host, 85 %, not aged
    return path


@pytest.mark.slow
def test_verify(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(one(tmp_path)), "--json", "--jobs", "1"], catch_exceptions=False)
    document = json.loads(result.stdout)
    assert list(document) == ["schema", "cells"]
    assert document["schema"] == 1
    (cell,) = document["cells"]
    assert list(cell) == KEYS
    assert (cell["refaults_recorded"], cell["steals_recorded"], cell["resident_jaccard"]) == (452, 1307, 1.0)
    shown = CliRunner().invoke(app, ["verify", str(one(tmp_path)), "--jobs", "1"], catch_exceptions=False)
    assert "100.00%" in shown.stdout


@pytest.mark.slow
def test_show(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["show", str(one(tmp_path)), "--json"], catch_exceptions=False)
    document = json.loads(result.stdout)
    assert len(document["marks"]) == len(json.loads(LINES[49])["series"])


def test_list() -> None:
    result = CliRunner().invoke(app, ["list", str(RECORDED)], catch_exceptions=False)
    assert len(result.stdout.splitlines()) == 97
    document = json.loads(CliRunner().invoke(app, ["list", str(RECORDED), "--json"]).stdout)
    assert document["cells"][0]["number"] == 1


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", "..", "a\x1b[2J", "-x"])
def test_a_name_does_not_lead_out_of_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name of a trace") as error:
        CliRunner().invoke(
            app, ["verify", str(one(tmp_path, trace=name)), "--traces", str(tmp_path)], catch_exceptions=False
        )
    assert "\x1b" not in str(error.value)


def test_a_trace_that_is_not_there(tmp_path: Path) -> None:
    words = ["verify", str(one(tmp_path, trace="mine"))]
    with pytest.raises(UsageError, match="not shipped"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    with pytest.raises(UsageError, match="no such file"):
        CliRunner().invoke(app, [*words, "--traces", str(tmp_path)], catch_exceptions=False)


def test_another_trace_than_the_one_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "touch_host", lambda *_, **__: None)  # only the numbers of accesses are compared
    with pytest.raises(WitnessError, match="98874"):
        CliRunner().invoke(app, ["verify", str(one(tmp_path, trace="redis")), "--jobs", "1"], catch_exceptions=False)


def test_a_run_that_the_file_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 1 runs, not 7"):
        CliRunner().invoke(app, ["show", str(one(tmp_path)), "7"], catch_exceptions=False)
