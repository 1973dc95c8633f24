"""How far is the model from the kernel on a whole workload?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agewalk.core.errors import WitnessError
from agewalk.study.workload.file import RESIDENT, Workload
from agewalk.study.workload.replay import replay
from agewalk.trace import Trace


@dataclass(frozen=True)
class CellVerdict:
    """One run, recorded and modelled.

    resident_jaccard: of the sets of pages resident at the end, |both| / |either|; None where the recording has none.
    first_apart: the first mark at which the number of pages from swap differs, None if none does.
    """

    cell: Workload
    refaults: int
    steals: int
    resident_jaccard: float | None
    first_apart: int | None

    @property
    def equal(self) -> bool:
        """Are refaults and resident pages the same?"""
        return self.refaults == self.cell.refaults and self.resident_jaccard in (None, 1.0)

    @property
    def error(self) -> float:
        """Of the refaults, as a share of the recorded ones."""
        return abs(self.refaults - self.cell.refaults) / max(self.cell.refaults, 1)


def verify(cell: Workload, trace: Trace) -> CellVerdict:
    """Run the model through a recorded workload and compare. Raises WitnessError if the recording is of another trace."""
    outcome = replay(cell, trace)
    recorded = [sample.accesses for sample in cell.series]
    modelled = [sample.accesses for sample in outcome.series]
    if recorded[-1] != modelled[-1]:
        raise WitnessError(
            f"{cell.where}: {recorded[-1]} accesses were recorded, the trace has {modelled[-1]}",
            hint=f"is this the trace {cell.trace!r} that was replayed? --traces DIR names where it lies",
        )
    apart = [
        mark
        for mark, (seen, shown) in enumerate(zip(cell.series, outcome.series, strict=False))
        if (seen.accesses, seen.pswpin) != (shown.accesses, shown.pswpin)
    ]
    return CellVerdict(
        cell,
        refaults=outcome.series[-1].pswpin,
        steals=outcome.series[-1].pgsteal,
        resident_jaccard=_jaccard(cell, outcome.states),
        first_apart=apart[0] if apart else None,
    )


def verify_job(job: tuple[Workload, str], _tell: Callable[[int], None]) -> CellVerdict:
    """`verify`, as a process pool calls it. The job: a run, and the path of its trace."""
    from agewalk.trace import open_trace

    cell, path = job
    return verify(cell, open_trace(Path(path)))


def _jaccard(cell: Workload, states: npt.NDArray[np.uint8]) -> float | None:
    if cell.pages_at_end is None:
        return None
    runs = cell.pages_at_end
    recorded = np.repeat([state for state, _ in runs], [count for _, count in runs])
    if len(recorded) != len(states):
        raise WitnessError(
            f"{cell.where}: pages_at_end has {len(recorded)} pages, the trace {len(states)}",
            hint="the recording and the trace must be of the same memory",
        )
    there, here = recorded == RESIDENT, states == RESIDENT
    either = int((there | here).sum())
    return float((there & here).sum()) / either if either else 1.0


def as_json(verdict: CellVerdict) -> dict[str, Any]:
    """One element of `cells`, as docs/workload.md has it."""
    cell = verdict.cell
    return {
        "kernel": cell.kernel,
        "backing": cell.backing,
        "trace": cell.trace,
        "memory_percent": cell.memory_percent,
        "aging_every_s": cell.aging_every_s,
        "lru_gen": cell.lru_gen,
        "refaults": verdict.refaults,
        "refaults_recorded": cell.refaults,
        "steals": verdict.steals,
        "steals_recorded": cell.steals,
        "resident_jaccard": verdict.resident_jaccard,
    }
