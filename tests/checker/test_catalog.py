"""The shipped systems: every one, for every protocol, and for every MMU kind with the newest kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from agewalk.checker.catalog import SYSTEMS, VARIANTS, all_names, built, get_system
from agewalk.checker.explore import check
from agewalk.checker.system import BALANCED, TERMINATES
from agewalk.checker.systems import monitors
from agewalk.checker.systems.aging import DIRTY_KEPT
from agewalk.checker.systems.notifiers import NOT_OLD, STRANGER_SEEN
from agewalk.checker.systems.questions import FAST_FINDS, FULL_FINDS, LOOKS, LOOKS_AT_FAST, WALK_FINDS
from agewalk.checker.systems.trackers import RECLAIM_TOLD
from agewalk.checker.verdicts import VIOLATED
from agewalk.core.errors import InputError, UsageError
from agewalk.model.protocols.registry import get_protocol

HOUGHTON = ("houghton", "houghton:must_check=rmaps")
# What the search finds in kernels and posted protocols: docs/findings.md tells each story.
FOUND = {
    ("age-vs-fault", "linux-6.9", "tdp-noad"): (DIRTY_KEPT,),
    **{("age-vs-fault", name, "tdp-noad"): (DIRTY_KEPT,) for name in ("v2", "v3")},
    ("questions-vs-guest", "v5", "nested"): (monitors.TEST_SEES,),
    ("questions-vs-guest", "v5", "nested-noad"): (monitors.TEST_SEES,),
    ("look-around-decision", "christopherson", "tdp"): (LOOKS,),
    ("look-around-decision", "christopherson", "nested"): (LOOKS,),
    ("look-around-decision", "christopherson", "legacy"): (LOOKS,),
    ("subscribers", "v5", "tdp"): (monitors.COVERED, NOT_OLD),
    **{("stage2-vs-exit", "v5", mmu): (BALANCED,) for mmu in ("arm64", "arm64-noaf")},
    **{("reclaim-vs-tracker", "christopherson", mmu): (RECLAIM_TOLD,) for mmu in ("tdp", "nested")},
    ("look-around-vs-eviction", "christopherson", "tdp"): ("the target counts as referenced",),
    **{("young-in-tdp-mmu", "v5", mmu): (FAST_FINDS, WALK_FINDS) for mmu in ("nested", "nested-noad")},
    **{("young-in-tdp-mmu", name, mmu): (WALK_FINDS,) for name in ("v2", "v3") for mmu in ("nested", "nested-noad")},
    **{("young-in-tdp-mmu", "v6", mmu): (monitors.COVERED, FULL_FINDS) for mmu in ("nested", "nested-noad")},
    **{("stranger", name, mmu): (monitors.NO_WAIT,) for name in HOUGHTON for mmu in ("tdp", "nested", "legacy")},
    ("stranger", "v5", "tdp"): (STRANGER_SEEN,),
    **{("look-around-decision", "v4", mmu): (LOOKS,) for mmu in ("nested", "legacy")},
    ("look-around-decision", "v4", "tdp"): (LOOKS, LOOKS_AT_FAST),
    **{("agers-vs-refault", name, "tdp-noad"): (TERMINATES,) for name in ("v4", "v5", "v6", "v6:variant=repaired")},
}
LESS = ("linux-6.9", "linux-6.13", "linux-7.3", "v7")  # enough of the slowest systems
FEWER = ("kvm-access-vs-aging", "tracker-vs-reclaim", "walk-vs-tracker")
CHOSEN = [
    (system, protocol, mmu)
    for system, protocol, mmu in all_names()
    if (system, protocol, mmu) in FOUND
    or (system not in FEWER and mmu == SYSTEMS[system].mmus[0] and system != "age-vs-nested-storm")
    or (system in FEWER and mmu == "tdp" and protocol in LESS)
    or (protocol == "linux-7.3" and system not in {"age-vs-nested-storm", *FEWER})
]


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s != "age-vs-nested-storm"])
def test_verdicts(system: str) -> None:
    for name, protocol, mmu in CHOSEN:
        if name != system:
            continue
        outcome = check(built(name, get_protocol(protocol), mmu), minimise=False)
        broken = [v.name for v in outcome.verdicts if v.verdict == VIOLATED]
        assert broken == list(FOUND.get((name, protocol, mmu), ())), outcome.system.name
        assert outcome.graph.complete


def test_the_same_is_found_whatever_is_left_out() -> None:
    assert set(FOUND) <= set(all_names())
    assert set(FOUND) <= set(CHOSEN)
    assert len(VARIANTS) == 16


def test_names() -> None:
    assert get_system("age-vs-zap").name == "age-vs-zap/linux-7.3/tdp"
    assert (
        get_system("age-vs-nested-end/houghton:must_check=rmaps").name
        == "age-vs-nested-end/houghton:must_check=rmaps/nested"
    )
    for name, message in (
        ("age-vs-zip", "no system 'age-vs-zip'"),
        ("age-vs-zap/v7/mips", "no MMU kind 'mips'"),
        ("age-vs-zap/v77", "no protocol 'v77'"),
    ):
        with pytest.raises(UsageError, match=message):
            get_system(name)


def test_a_users_own_system(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from agewalk.core.cells import Cell, Object\n"
        "from agewalk.core.effects import FetchAdd\n"
        "from agewalk.checker.system import System, Thread\n"
        "def counts():\n"
        "    cell = Cell(Object('o'), 'n', 0)\n"
        "    def run():\n"
        "        yield FetchAdd(cell, 1)\n"
        "    return System('counts', (Thread('t', run, n=2),))\n"
        "def wrong():\n"
        "    return 7\n"
        "def fails():\n"
        "    raise ValueError('boom')\n"
        "def asks(protocol):\n"
        "    return counts()\n"
        "def plain():\n"
        "    return System('plain', (Thread('t', lambda: 3),))\n"
    )
    assert check(get_system(f"{mine}:counts")).states == 4
    for name, message in (
        (f"{mine}:nothing", "no function 'nothing'"),
        (f"{mine}:wrong", "not a System"),
        (f"{mine}:fails", r"ValueError: boom \(mine.py, line 12\)"),
        (f"{mine}:asks", "missing 1 required positional argument"),
        (f"{tmp_path}/no.py:x", "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            get_system(name)
    with pytest.raises(UsageError, match="'t' starts a int, not a generator"):
        check(get_system(f"{mine}:plain"))


def test_the_documented_system_is_what_it_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    scope: dict[str, object] = {}
    exec(code, scope)
    outcome = check(scope["two_agers"]())  # type: ignore[operator]
    assert outcome.verdict == "holds"
    assert outcome.states == 5  # nobody, either, both in either order


MINE = """
from agewalk.model.protocols.v7 import V7


class Mine(V7):
    name = "mine"
"""


def test_a_protocol_of_ones_own_in_a_shipped_system(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    for name, mmu in ((f"age-vs-guest/{path}:Mine", "tdp"), (f"age-vs-guest/{path}:Mine/nested", "nested")):
        system = get_system(name)
        assert (system.mmu, system.name.split("/")[0]) == (mmu, "age-vs-guest")
        assert "mine" in system.protocol
    with pytest.raises(UsageError, match="no MMU kind 'neste'"):
        get_system(f"age-vs-guest/{path}:Mine/neste")
