"""Every fault that we can think of is found, and the system holds without it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from agewalk.check.explore import check
from agewalk.check.search import Bounds


def _load(name: str) -> ModuleType:
    """A module of the folder beside this file (tests are no package)."""
    here = Path(__file__).parent / "faults"
    package = "agewalk_check_faults"
    if package not in sys.modules:
        top = ModuleType(package)
        top.__path__ = [str(here)]
        sys.modules[package] = top
    full = f"{package}.{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, here / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


_load("base")
FAULTS = [*_load("kvm").FAULTS, *_load("mm").FAULTS]
BOUNDS = Bounds(states=3_000_000, seconds=60)


def test_there_are_enough_of_them() -> None:
    assert len({f.name for f in FAULTS}) == len(FAULTS) >= 25
    assert len({f.broken for f in FAULTS}) >= 15


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_found(fault: object) -> None:
    with fault.seeded() as system:  # type: ignore[attr-defined]
        outcome = check(system, BOUNDS, stop_at_violation=True, minimise=False)
        broken = [v.name for v in outcome.verdicts if v.verdict == "violated"]
        assert fault.broken in broken, (broken, outcome.verdict)  # type: ignore[attr-defined]
        assert outcome.path is not None
