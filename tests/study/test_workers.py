"""Jobs in processes of their own: order does not matter, errors come back whole, a dead worker is no hang."""

import os
import signal
import sys
from pathlib import Path

import pytest

from agewalk.core.errors import MissingError, TraceError
from agewalk.study.compare import compare
from agewalk.study.job import plan
from agewalk.study.scenario import load
from agewalk.study.workers import Workers


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


def test_an_error_in_a_worker_arrives_with_its_hint(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    planned = plan(scenario(write, tmp_path))
    (tmp_path / "a.parquet").unlink()
    with Workers(list(enumerate(planned)), 2) as workers, pytest.raises(TraceError, match="no such file") as caught:
        list(workers.finished())
    assert caught.value.hint


def test_a_worker_that_dies_is_reported(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    planned = plan(scenario(write, tmp_path))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Workers(list(enumerate(planned)), 1) as workers, pytest.raises(MissingError, match="lru died") as caught:
        list(workers.finished())
    assert "memory" in caught.value.hint


def test_leaving_ends_every_process(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    planned = plan(scenario(write, tmp_path))
    with Workers(list(enumerate(planned)), 2) as workers:
        ids = [process.pid for process in workers._processes]
    for pid in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
