"""`agewalk check --all`: every shipped system for every protocol and MMU kind, as rows of one table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agewalk.checker.catalog import all_names, built
from agewalk.checker.explore import Outcome, check
from agewalk.checker.search.bfs import UNBOUNDED, Bounds
from agewalk.checker.system import MUST
from agewalk.checker.verdicts import NOT_APPLICABLE, VIOLATED
from agewalk.model.protocols.registry import get_protocol


@dataclass(frozen=True)
class Cell:
    """One property of one system. length: steps of the shortest path to what decides it. worst: of a tolerated one."""

    system: str
    protocol: str
    mmu: str
    property: str
    kind: str
    verdict: str
    length: int | None
    states: int
    why: str = ""
    count: int = 0
    worst: int | None = None

    def document(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {
            "system": f"{self.system}/{self.mmu}", "protocol": self.protocol, "property": self.property, "kind": self.kind,
            "verdict": self.verdict, "length": self.length, "states": self.states, "why": self.why, "count": self.count,
            "worst": self.worst,
        }  # fmt: skip


@dataclass(frozen=True)
class Matrix:
    """All cells. seconds: of the whole run; slowest: (seconds, name of the system)."""

    cells: tuple[Cell, ...]
    seconds: float
    slowest: tuple[float, str]

    @property
    def violated(self) -> list[Cell]:
        """Must-properties that do not hold."""
        return [c for c in self.cells if c.kind == MUST and c.verdict == VIOLATED]


def cells_of(outcome: Outcome, system: str, protocol: str, mmu: str) -> list[Cell]:
    """The rows of one outcome."""
    return [
        Cell(
            system, protocol, mmu, v.name, v.severity, v.verdict,
            v.length if v.verdict not in {NOT_APPLICABLE, "holds"} else None, outcome.states, v.why, v.count, v.worst,
        )
        for v in outcome.verdicts
    ]  # fmt: skip


def run(
    names: Iterable[tuple[str, str, str]] | None = None,
    bounds: Bounds = UNBOUNDED,
    *,
    each: Callable[[str, Outcome], None] | None = None,
) -> Matrix:
    """Check all, or the (system, protocol, MMU kind) that are named."""
    began = time.perf_counter()
    cells: list[Cell] = []
    slowest = (0.0, "")
    for system, protocol, mmu in all_names() if names is None else names:
        outcome = check(built(system, get_protocol(protocol), mmu), bounds, minimise=False)
        cells += cells_of(outcome, system, protocol, mmu)
        slowest = max(slowest, (outcome.seconds, outcome.system.name))
        if each:
            each(outcome.system.name, outcome)
    return Matrix(tuple(cells), time.perf_counter() - began, slowest)
