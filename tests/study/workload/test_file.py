"""read_workloads(): what is wrong is said with file, line and key."""

import json
from pathlib import Path
from typing import Any

import pytest

from agewalk.core.errors import WitnessError
from agewalk.study.workload import read_workloads

RECORDED = Path(__file__).parents[2] / "workload" / "sqlite.jsonl"
LINE = json.loads(RECORDED.read_text().split("\n")[0])


def test_all_runs_are_read() -> None:
    cells = read_workloads(RECORDED)
    assert len(cells) == 96
    assert {(c.kernel, c.backing) for c in cells} == {
        (k, b) for k in ("6.1", "6.12", "6.18", "7.3") for b in ("tdp", "host")
    }
    assert (cells[0].memory_max, cells[0].aging_every_s, cells[0].refaults, cells[0].steals) == (5302, 2, 338, 1239)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "schema 2"),
        ({"backing": "ept\x1b[2J"}, "backing 'ept"),
        ({"memory_max_bytes": -4096}, "memory_max_bytes is -4096"),
        ({"memory_max_bytes": True}, "memory_max_bytes is True"),
        ({"memory_max_bytes": 1 << 80}, "memory_max_bytes is 1208925819614629174706176"),
        ({"aging_every_s": 0}, "aging_every_s is 0"),
        ({"lru_gen": 1}, "lru_gen is 1"),
        ({"series": []}, "series is empty"),
        ({"series": [{"accesses": 1}]}, r"series\[0\] has other keys"),
        ({"pages_at_end": [[3, 1]]}, "states are 0, 1 and 2"),
        ({"pages_at_end": [[1, 1 << 40]]}, "counts more than"),
        ({"pages_at_end": "1*3"}, "no list of"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"trace": ""}, "trace is not a name"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "w.jsonl"
    path.write_text(json.dumps(LINE) + "\n" + json.dumps(LINE | change) + "\n")
    with pytest.raises(WitnessError, match=says) as error:
        read_workloads(path)
    assert "line 2" in str(error.value)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("text", ["", "\n\n", "{", "[]", '{"schema": 1}', "\x00", "[" * 100_000])
def test_no_workload_at_all(tmp_path: Path, text: str) -> None:
    path = tmp_path / "w.jsonl"
    path.write_text(text)
    with pytest.raises(WitnessError):
        read_workloads(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(WitnessError, match="No such file"):
        read_workloads(tmp_path / "none.jsonl")
