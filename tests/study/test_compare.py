"""Runs of a comparison side by side: order does not matter, errors come back whole."""

from pathlib import Path

import pytest

from agewalk.core.errors import TraceError
from agewalk.study.compare import compare, run_jobs
from agewalk.study.job import plan
from agewalk.study.scenarios.scenario import load


def scenario(write, tmp_path: Path):  # type: ignore[no-untyped-def]
    write("a", range(60), [i % 40 for i in range(60)])
    (tmp_path / "s.toml").write_text(
        'schema = 1\n[host]\nmemory = "64 KiB"\n[[vm]]\nname = "a"\ntrace = "a.parquet"\n'
        '[compare]\nprotocols = []\nbaselines = ["lru", "fifo", "clock"]\n'
    )
    return load(tmp_path / "s.toml")


def test_side_by_side_is_one_after_the_other(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    chosen = scenario(write, tmp_path)
    one, two = (compare(chosen, workers=n) for n in (1, 2))
    assert [r.policy for r in one] == [r.policy for r in two] == ["lru", "fifo", "clock"]
    assert [r.measured for r in one] == [r.measured for r in two]
    assert [r.timeline for r in one] == [r.timeline for r in two]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_run_arrives_with_its_hint(write, tmp_path: Path, workers: int) -> None:  # type: ignore[no-untyped-def]
    planned = plan(scenario(write, tmp_path))
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(TraceError, match="no such file") as caught:
        run_jobs(planned, workers=workers)
    assert caught.value.hint
