"""Page aging for hosts that run virtual machines: the kernel's rules, executable, checked, timed and at scale.

Replay the recorded VM that ships with agewalk on a host that has too little memory for it, under two kernels:

>>> import agewalk
>>> from importlib.resources import files
>>> scenario = agewalk.load_scenario(files("agewalk") / "data" / "sqlite-vm.parquet")
>>> scenario = scenario.with_(memory="16 MiB", protocols=["linux-6.9", "linux-6.18"])
>>> runs = agewalk.compare(scenario)
>>> [run.policy for run in runs]
['linux-6.9', 'linux-6.18']
>>> runs.to_arrow().column_names[:4]
['policy', 'memory_bytes', 'accesses', 'faults']

Ask where two protocols disagree about a page, and whether one of them can lose an accessed bit:

>>> print(agewalk.diff("v7", "linux-6.18")[0].meaning)
Same answer, but v7 takes mmu_lock for write, so that faulting vCPUs wait; linux-6.18 does not.
>>> agewalk.check("age-vs-zap/v7/nested").verdict
'holds'

A trace may live in memory (`MemoryTrace.of`), a protocol may be a class of your own (`AgingProtocol`), an experiment on modelled
CPUs is `time_experiment`. Every error is an `AgewalkError`: `str(error)` says what happened, `error.hint` what to do.

Importing agewalk loads nothing heavy; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agewalk.checker.system import System as System
    from agewalk.core.errors import AgewalkError as AgewalkError
    from agewalk.core.errors import InputError as InputError
    from agewalk.core.errors import ScenarioError as ScenarioError
    from agewalk.core.errors import TraceError as TraceError
    from agewalk.core.errors import UsageError as UsageError
    from agewalk.door import check as check
    from agewalk.door import compare as compare
    from agewalk.door import diff as diff
    from agewalk.door import load_scenario as load_scenario
    from agewalk.door import open_trace as open_trace
    from agewalk.door import protocol_table as protocol_table
    from agewalk.door import time_experiment as time_experiment
    from agewalk.model.protocols.base import AgingProtocol as AgingProtocol
    from agewalk.model.protocols.base import Verdict as Verdict
    from agewalk.study.result import Run as Run
    from agewalk.study.result import Runs as Runs
    from agewalk.study.scenarios.scenario import Scenario as Scenario
    from agewalk.trace import MemoryTrace as MemoryTrace

_HOMES = {
    "AgewalkError": "agewalk.core.errors",
    "AgingProtocol": "agewalk.model.protocols.base",
    "InputError": "agewalk.core.errors",
    "MemoryTrace": "agewalk.trace",
    "Run": "agewalk.study.result",
    "Runs": "agewalk.study.result",
    "Scenario": "agewalk.study.scenarios.scenario",
    "ScenarioError": "agewalk.core.errors",
    "System": "agewalk.checker.system",
    "TraceError": "agewalk.core.errors",
    "UsageError": "agewalk.core.errors",
    "Verdict": "agewalk.model.protocols.base",
    "check": "agewalk.door",
    "compare": "agewalk.door",
    "diff": "agewalk.door",
    "load_scenario": "agewalk.door",
    "open_trace": "agewalk.door",
    "protocol_table": "agewalk.door",
    "time_experiment": "agewalk.door",
}

__all__ = [
    "AgewalkError",
    "AgingProtocol",
    "InputError",
    "MemoryTrace",
    "Run",
    "Runs",
    "Scenario",
    "ScenarioError",
    "System",
    "TraceError",
    "UsageError",
    "Verdict",
    "check",
    "compare",
    "diff",
    "load_scenario",
    "open_trace",
    "protocol_table",
    "time_experiment",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
