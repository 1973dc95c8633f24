"""Nested guests in a scenario: the same numbers on both engines, whatever the VM itself runs on."""

from pathlib import Path
from typing import Any

import pytest

from agewalk.study.job import Executor, plan
from agewalk.study.replay import replay
from agewalk.study.scenarios.scenario import Scenario
from agewalk.study.scenarios.sections import Aging, Choice, CompareSection, HostSection, VmSection
from agewalk.trace import write_trace
from agewalk.trace.synth import Synthesis, SyntheticTrace

pytestmark = pytest.mark.slow  # the machine runs whole scenarios


def measured(engine: Executor, member: VmSection, policy: str) -> Any:
    scenario = Scenario(
        schema_=1,
        host=HostSection(memory="1 MiB"),  # type: ignore[arg-type]
        aging=Aging(every="100 ms"),  # type: ignore[arg-type]
        vm=[member],
        compare=CompareSection(protocols=[Choice(name=policy)], baselines=["two-list"]),
    )
    return [replay(job).measured for job in plan(scenario, engine)]


@pytest.mark.parametrize("ad_bits", [True, False])
@pytest.mark.parametrize(("mmu", "policy"), [("tdp", "v7"), ("legacy", "linux-6.9"), ("shadow", "linux-6.18")])
def test_both_engines_agree(tmp_path: Path, mmu: Any, policy: str, ad_bits: bool) -> None:
    trace = tmp_path / "nested.parquet"
    what = Synthesis(kind="zipf", pages=400, rows=4000, rate=4000, nested_share=0.4, write_share=0.4, exponent=0.8)
    write_trace(trace, SyntheticTrace(what), context=True)
    member = VmSection(name="a", trace=str(trace), mmu=mmu, ad_bits=ad_bits)
    compiled, direct = (measured(engine, member, policy) for engine in ("compiled", "direct"))
    for cause in ("false_old_by", "false_young_by"):  # which the engine alone knows
        compiled[0].aging.pop(cause)
    assert compiled == direct
    assert all(run.refaults > 100 for run in direct)
