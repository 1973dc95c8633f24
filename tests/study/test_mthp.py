"""`mthp = ["64 KiB"]` in a scenario: the model runs it, the compiled engine says that it cannot."""

from pathlib import Path
from typing import Any

import pytest

from agewalk.core.errors import ScenarioError
from agewalk.study.job import plan
from agewalk.study.replay import replay
from agewalk.study.result import Measured
from agewalk.study.scenarios.scenario import Scenario
from agewalk.study.scenarios.sections import Aging, Choice, CompareSection, HostSection, ProcessSection, VmSection

MS = 1_000_000


def scenario(trace: Path, mthp: list[str], *, policy: str = "linux-7.3", vm: bool = True) -> Scenario:
    kind = VmSection if vm else ProcessSection
    member = kind(name="a", trace=str(trace), mthp=mthp)  # type: ignore[arg-type]
    return Scenario(
        schema_=1,
        host=HostSection(memory="4 MiB"),  # type: ignore[arg-type]
        aging=Aging(every="100 ms"),  # type: ignore[arg-type]
        vm=[member] if isinstance(member, VmSection) else [],
        process=[member] if isinstance(member, ProcessSection) else [],
        compare=CompareSection(protocols=[Choice(name=policy)], baselines=[]),
    )


def run(wanted: Scenario) -> Measured:
    (job,) = plan(wanted, "direct")
    return replay(job).measured


@pytest.mark.parametrize("vm", [True, False])
def test_the_compiled_engine_refuses_it(write: Any, vm: bool) -> None:
    trace = write("t", [0, MS], [0, 1], pages=64)
    with pytest.raises(ScenarioError, match="no folios between 4 KiB and 2 MiB") as caught:
        plan(scenario(trace, ["64 KiB"], vm=vm))
    assert "--engine direct" in str(caught.value.hint)
    plan(scenario(trace, [], vm=vm))


@pytest.mark.parametrize("size", ["4 KiB", "12 KiB", "2 MiB", "100 KiB"])
def test_sizes_that_no_kernel_has_are_refused(write: Any, size: str) -> None:
    trace = write("t", [0, MS], [0, 1], pages=64)
    with pytest.raises(ValueError, match="not a power of two from 8 KiB to 1 MiB"):
        scenario(trace, [size])


def test_one_fault_brings_16_pages_and_one_call_asks_about_them(write: Any) -> None:
    # 256 pages, each written once within the first 256 ms, then page 0 until 1.5 s: 15 agings, 13 of them of 256 pages.
    times = [i * MS for i in range(256)] + [1_500 * MS]
    trace = write("t", times, [*range(256), 0], write=[True] * 257, pages=256)
    small, large, older = (
        run(scenario(trace, mthp, policy=policy))
        for mthp, policy in ((list[str](), "linux-7.3"), (["64 KiB"], "linux-7.3"), (["64 KiB"], "linux-6.18"))
    )
    assert small.faults == 256
    assert large.faults == older.faults == 16
    assert older.notifier_calls is not None
    assert large.notifier_calls is not None
    assert older.notifier_calls >= 15 * large.notifier_calls
    assert older.ptes_walked == large.ptes_walked
    assert large.vms[0].resident_pages == 256
