"""The model against real kernels. Here one backing of each kernel and scenario, in turn; `agewalk witness verify tests/witness`
runs all 363 recordings (minutes)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agewalk.study.witness import read_witness, verify

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
INDEX = json.loads((HERE / "index.json").read_text())
BACKINGS = ("host", "tdp", "legacy", "shadow")


def sample() -> list[str]:
    """Each (kernel, scenario) once; the backing changes from one to the next, so that all meet all kinds of steps."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for entry in INDEX:
        found.setdefault((entry["kernel"], entry["scenario"]), {})[entry["backing"]] = entry["file"]
    out = []
    for turn, files in enumerate(found.values()):
        wanted = BACKINGS[turn % 4 :] + BACKINGS[: turn % 4]
        out.append(next(files[backing] for backing in wanted if backing in files))
    return out


def test_all_recordings_are_there() -> None:
    assert len(INDEX) == 363
    assert {entry["file"] for entry in INDEX} == {
        str(path.relative_to(HERE)) for path in HERE.rglob("*.json") if path.name != "index.json"
    }


@pytest.mark.parametrize("file", sample())
def test_model_tells_the_kernels_story(file: str) -> None:
    verdict = verify(read_witness(HERE / file))
    assert not verdict.mismatches[:3]
    assert not verdict.call_mismatches[:3]
    assert not verdict.count_mismatches[:3]
    assert verdict.equal
    assert verdict.calls_equal
    assert verdict.counts_equal
