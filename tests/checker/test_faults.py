"""Every fault that we can think of is found, and the system holds without it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.checker.faults import kvm, mm, protocols, stage2, trackers
from tests.checker.faults.base import Fault

from agewalk.checker.explore import check
from agewalk.checker.search.bfs import Bounds
from agewalk.checker.system import System

FAULTS = (*kvm.FAULTS, *mm.FAULTS, *protocols.FAULTS, *stage2.FAULTS, *trackers.FAULTS)
BOUNDS = Bounds(states=3_000_000)


def test_there_are_enough_of_them() -> None:
    assert len({f.name for f in FAULTS}) == len(FAULTS) >= 25
    assert len({f.broken for f in FAULTS}) >= 15


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_found(fault: Fault) -> None:
    with fault.seeded() as system:
        outcome = check(system, BOUNDS, stop_at_violation=fault.first, minimise=False)
    broken = [v.name for v in outcome.verdicts if v.verdict == "violated"]
    assert fault.broken in broken, (broken, outcome.verdict)
    assert outcome.path is not None


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.adjust], ids=lambda f: f.name)
def test_adjusted_system_holds_without_the_fault(fault: Fault) -> None:
    assert check(fault.base(), minimise=False).verdict == "holds"


def one_ager(system: System) -> System:
    """With one ager instead of two, and no monitors that follow values: a buffer makes enough states."""
    return replace(system, threads=tuple(replace(t, n=1) for t in system.threads))


@pytest.mark.parametrize(("model", "verdict"), [("tso", "holds"), ("weak", "violated")])
def test_the_plain_unlock_needs_the_weak_mode(model: str, verdict: str) -> None:
    """v9's fix: stores to a descriptor sink below an unlock that is a plain store. x86 itself never does that."""
    changes = (("ager", kvm.plain_unlock), ("stop", kvm.plain_unlock))
    fault = Fault("plain unlock", kvm.END, "", changes=changes, adjust=one_ager, model=model)
    with fault.seeded() as system:
        outcome = check(system, BOUNDS, minimise=False)
    assert outcome.verdict == verdict
    assert check(fault.base(), BOUNDS, minimise=False).verdict == "holds"
