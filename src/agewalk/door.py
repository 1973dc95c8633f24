"""The functions of `import agewalk`: each job of the command line as one call."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from agewalk.core.errors import UsageError
from agewalk.model.protocols.base import AgingProtocol
from agewalk.study.result import Runs
from agewalk.study.scenarios.scenario import Scenario, load
from agewalk.trace import RecordedTrace, Trace
from agewalk.trace import open_trace as _open_trace

if TYPE_CHECKING:
    from agewalk.checker.explore import Outcome
    from agewalk.checker.system import System
    from agewalk.model.protocols.tables.difference import Difference
    from agewalk.model.protocols.tables.table import ProtocolTable
    from agewalk.timing.run import Row

PathLike = str | os.PathLike[str]
ProtocolLike = str | AgingProtocol | type[AgingProtocol]


def load_scenario(path: PathLike) -> Scenario:
    """The scenario in a TOML file; or, for a Parquet trace, a host with memory for 70 % of the pages that it touches.

    Raises ScenarioError that names the key, TraceError.
    """
    return load(path)


def open_trace(path: PathLike) -> RecordedTrace:
    """A trace of page accesses in a Parquet file. Its head is read and checked now, its rows while they are read.

    Raises TraceError that names column and row.
    """
    return _open_trace(os.fspath(path))


def compare(
    scenario: Scenario | Trace | PathLike,
    *,
    executor: Literal["compiled", "direct"] = "compiled",
    workers: int | None = None,
) -> Runs:
    """Replay the traces of a scenario under each of its policies, at each of its memory sizes: one Run each.

    scenario: also a trace, or the path of either. executor: the compiled engine, or the model itself (a hundred times slower, the
    same numbers). workers: processes at once; by default one a core. Raises ScenarioError, TraceError, Interrupted.
    """
    from agewalk.study.compare import compare as run

    if isinstance(scenario, str | os.PathLike):
        scenario = load(scenario)
    elif not isinstance(scenario, Scenario):
        scenario = Scenario.of(scenario)
    return Runs(run(scenario, engine=executor, workers=workers))


def protocol_table(protocol: ProtocolLike) -> "ProtocolTable":
    """What a protocol answers, clears and costs in every state that a page can be in.

    protocol: a name, `file.py:Class`, a class or an object. Raises UsageError, InputError.
    """
    from agewalk.model.protocols.registry import protocol_of
    from agewalk.model.protocols.tables.enumerate import protocol_table as enumerated

    return enumerated(protocol_of(protocol))


def diff(a: ProtocolLike, b: ProtocolLike) -> "list[Difference]":
    """The states in which two protocols disagree, each with what it means for the page. Raises UsageError, InputError."""
    from agewalk.model.protocols.tables.difference import age_differences, question_differences

    first, second = protocol_table(a), protocol_table(b)
    return [*question_differences(first, second), *age_differences(first, second)]


def check(
    system: "str | System",
    *,
    protocol: ProtocolLike | None = None,
    reduce: bool = False,
    symmetric: bool = False,
) -> "Outcome":
    """Explore every interleaving of a system: `verdict` is "holds", "violated" or "bounded"; `path` is the shortest violation.

    system: a name of `agewalk check --list`, such as "age-vs-zap/v7/nested", or a System of one's own. protocol: instead of the
    one in the name. reduce, symmetric: for systems too large to see whole. Raises UsageError, InputError.
    """
    from agewalk.checker.catalog import SYSTEMS, built, get_system
    from agewalk.checker.explore import check as explore
    from agewalk.model.protocols.registry import protocol_of

    if isinstance(system, str):
        found = get_system(system)
    else:
        found = system
    if protocol is not None:
        shipped = system.partition("/")[0] if isinstance(system, str) else ""
        if shipped not in SYSTEMS:
            raise UsageError("a System brings its protocol", hint="name a shipped system, or leave `protocol` out")
        found = built(shipped, protocol_of(protocol), found.mmu)
    return explore(found, reduce=reduce, symmetric=symmetric)


def time_experiment(
    name: PathLike,
    *,
    protocols: Sequence[ProtocolLike] | None = None,
    vcpus: Sequence[int] | None = None,
    scale: int | None = None,
    seeds: int = 1,
    workers: int | None = None,
) -> "list[Row]":
    """Run an experiment on modelled CPUs: one Row for each number of vCPUs, variant and seed. Times in seconds.

    name: of `agewalk timing list`, or a TOML file. protocols: names, `file.py:Class`, classes or objects, instead of the
    experiment's own. scale: the share of memory that is simulated is one in so many. workers: processes at once; by default one a
    core. Rows of classes and objects run in this process. Raises UsageError, InputError.
    """
    from agewalk.timing.compiled import compile_once
    from agewalk.timing.experiment import load_experiment
    from agewalk.timing.hardware.costs import load_costs
    from agewalk.timing.run import run_all

    experiment = load_experiment(os.fspath(name))
    if protocols:
        experiment = experiment.with_protocols(list(protocols))
    experiment.pages(scale)  # a scale that does not fit is refused now
    compile_once(lambda _: None)
    return run_all(
        experiment,
        load_costs(None),
        vcpus=vcpus,
        factor=scale,
        seeds=range(seeds),
        workers=workers or len(os.sched_getaffinity(0)),
    )
