"""Page aging for hosts that run virtual machines: the kernel's rules, executable, checked, timed and at scale.

    import agewalk

    scenario = agewalk.load_scenario("my-host.toml")    # or a trace: a default host is made for it
    for run in agewalk.compare(scenario):               # one Run a policy and memory size
        print(run.policy, run.refaults)

Every name here is loaded when it is first used; importing agewalk loads nothing heavy. Errors: `AgewalkError` and what is
below it (`agewalk.core.errors`). The layers, and what each knows: docs/architecture.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agewalk.core.errors import AgewalkError as AgewalkError
    from agewalk.study.compare import compare as compare
    from agewalk.study.result import Run as Run
    from agewalk.study.scenario import Scenario as Scenario
    from agewalk.study.scenario import load as load_scenario
    from agewalk.trace import open_trace as open_trace

_HOMES = {
    "AgewalkError": ("agewalk.core.errors", "AgewalkError"),
    "Run": ("agewalk.study.result", "Run"),
    "Scenario": ("agewalk.study.scenario", "Scenario"),
    "compare": ("agewalk.study.compare", "compare"),
    "load_scenario": ("agewalk.study.scenario", "load"),
    "open_trace": ("agewalk.trace", "open_trace"),
}

__all__ = ["AgewalkError", "Run", "Scenario", "compare", "load_scenario", "open_trace"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
