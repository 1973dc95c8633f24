"""`thp = "always"` in a scenario: the same numbers on both engines, and what they are by hand."""

from pathlib import Path
from typing import Any

import pytest

from agewalk.study.job import Executor, plan
from agewalk.study.replay import replay
from agewalk.study.scenarios.scenario import Scenario
from agewalk.study.scenarios.sections import Aging, Choice, CompareSection, HostSection, ProcessSection, VmSection

MS = 1_000_000


def run(engine: Executor, member: Any, policy: str, memory: str) -> Any:
    scenario = Scenario(
        schema_=1,
        host=HostSection(memory=memory),  # type: ignore[arg-type]
        aging=Aging(every="100 ms"),  # type: ignore[arg-type]
        vm=[member] if isinstance(member, VmSection) else [],
        process=[member] if isinstance(member, ProcessSection) else [],
        compare=CompareSection(protocols=[Choice(name=policy)], baselines=[]),
    )
    (job,) = plan(scenario, engine)
    return replay(job).measured


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("linux-6.9", {"mmu": "tdp"}),
        ("linux-7.3", {"mmu": "legacy", "ad_bits": False}),
        ("houghton", {"mmu": "shadow"}),
        ("v5", None),
    ],
)
def test_both_engines_agree(write: Any, policy: str, options: dict[str, Any] | None) -> None:
    rows = 1200
    pages = [i * 7 % 40 + 512 * (i % 2) if i % 3 else i * 37 % 1500 for i in range(rows)]
    trace: Path = write("t", [i * MS for i in range(rows)], pages, pages=1500)
    member = (
        ProcessSection(name="a", trace=str(trace), thp="always")
        if options is None
        else VmSection(name="a", trace=str(trace), thp="always", **options)
    )
    compiled, direct = (run(engine, member, policy, "4400 KiB") for engine in ("compiled", "direct"))
    causes = {
        name: compiled.aging.pop(name) for name in ("false_old_by", "false_young_by")
    }  # which the engine alone knows
    assert compiled == direct
    assert causes["false_young_by"]["huge"] > 0
    assert direct.evictions > 0


@pytest.mark.parametrize("engine", ["direct", "compiled"])
def test_two_mib_are_one_fault_and_one_entry(write: Any, engine: Executor) -> None:
    # 1024 pages, two of them used at the start, one of them all the time: two faults bring 1024 pages, and each of the
    # six agings reads two entries. One accessed bit keeps 512 pages young of which 511 are idle.
    times, pages = [0, 0], [0, 1023]
    for i in range(1, 62):
        times.append(i * 10 * MS)
        pages.append(0)
    member = VmSection(name="a", trace=str(write("t", times, pages, pages=1024)), thp="always")
    measured = run(engine, member, "linux-6.18", "16 MiB")
    assert (measured.faults, measured.evictions, measured.vms[0].resident_pages) == (2, 0, 1024)
    assert measured.ptes_walked == 2 * 6
    assert measured.notifier_calls == 2 * 6
    assert measured.cold_precision == 1.0
    assert measured.cold_recall < 0.5  # the idle pages beside the used one are called young
