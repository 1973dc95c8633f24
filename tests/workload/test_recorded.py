"""The model against whole workloads on real kernels: a sample of the recorded runs of SQLite (`make witness` runs all 96)."""

from pathlib import Path

import pytest

import agewalk
from agewalk.model.mm.memcontrol import charge as memcontrol
from agewalk.study.workload import CellVerdict, Workload, read_workloads, verify
from agewalk.study.workload import replay as replay_module
from agewalk.trace import open_trace

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CELLS = read_workloads(HERE / "sqlite.jsonl")
TRACE = Path(agewalk.__file__).parent / "data" / "sqlite-vm.parquet"


def cell(kernel: str, backing: str, percent: int, *, aged: bool) -> Workload:
    wanted = (kernel, backing, percent, aged, True)
    return next(
        c for c in CELLS
        if (c.kernel, c.backing, c.memory_percent, c.aging_every_s is not None, c.lru_gen) == wanted
    )  # fmt: skip


def verdict(cell: Workload) -> CellVerdict:
    return verify(cell, open_trace(TRACE))


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
@pytest.mark.parametrize("backing", ["host", "tdp"])
def test_refaults_and_residents_are_the_kernels(kernel: str, backing: str) -> None:
    """Without aging by command, down to the page."""
    found = verdict(cell(kernel, backing, 70, aged=False))
    assert found.resident_jaccard == 1
    assert abs(found.refaults - found.cell.refaults) <= 2  # the recorder's own page counts, or not (docs/workload.md)
    assert abs(found.steals - found.cell.steals) <= 2


@pytest.mark.parametrize("backing", ["host", "tdp"])
def test_aged_every_two_seconds(backing: str) -> None:
    found = verdict(cell("6.12", backing, 85, aged=True))
    assert found.equal
    assert found.first_apart is None


def test_seeded_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folio too many in the CPU's batch, or a charge in batches of 32, is seen in the pages."""
    aged = cell("6.12", "host", 85, aged=True)
    with monkeypatch.context() as patch:
        patch.setattr(replay_module, "batch_fill", lambda *_: 11)
        assert not verdict(aged).equal
    monkeypatch.setattr(replay_module, "kernel_pages", lambda *_: 9)
    monkeypatch.setattr(memcontrol, "MEMCG_CHARGE_BATCH", 32)
    assert not verdict(cell("6.12", "host", 50, aged=False)).equal
