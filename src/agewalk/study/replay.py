"""One job from its first access to its numbers: the traces' merged stream, fed to a runner, cut where the time line asks."""

import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import ScenarioError, UsageError
from agewalk.core.units import Ns, format_time
from agewalk.core.userfile import users_code
from agewalk.study.job import MOST_TICKS, TICK, Bands, Job, Runner, open_traces
from agewalk.study.merge_traces import Accesses, Populate, merged
from agewalk.study.quality import lines_and_maps
from agewalk.study.result import Run, TimeLineBuilder
from agewalk.study.scenarios.sections import ProcessSection
from agewalk.trace import HOST

Tell = Callable[[int], None]
DIRECT_ROWS = 512  # between two words of progress
COMPILED_ROWS = 1 << 16
MOST_AGINGS = 1_000_000  # of a run; each looks at every page


def runner_for(job: Job) -> Runner:
    """The runner of a job's policy. Raises UsageError for an unknown name."""
    if not job.policy.runs_kernel:
        from agewalk.study.runners import baselines

        if job.policy.name in baselines.QUEUES:
            return baselines.QueueRunner(job)
        if job.policy.name == "opt":
            return baselines.OptRunner(job)
    if job.engine == "direct":
        from agewalk.study.runners.direct import DirectRunner

        return DirectRunner(job)
    if job.engine == "compiled":
        from agewalk.study.runners.compiled import CompiledRunner

        return CompiledRunner(job)
    raise UsageError(f"there is no engine {job.engine!r}", hint="compiled or direct")


def replay(job: Job, tell: Tell = lambda _: None) -> Run:
    """Run a job, which may run a user's protocol; see `_replay`. Raises InputError, too, for what that raises."""
    with users_code() if job.policy.file and job.engine == "direct" else nullcontext():
        return _replay(job, tell)


def _replay(job: Job, tell: Tell) -> Run:
    """Run a job; `tell` is told now and then how many accesses are done. Raises TraceError at a bad row, ScenarioError
    for accesses that lie too far apart."""
    began = time.perf_counter()
    runner = runner_for(job)
    traces = open_traces(job.scenario)
    starts = [Ns(member.start) for member in job.scenario.members]
    lines = TimeLineBuilder(4 * Bands(job.spaces).total) if runner.bands() is not None else None
    most = DIRECT_ROWS if job.engine == "direct" else COMPILED_ROWS
    populated = Populate([space.pages for space in job.spaces])
    process = np.array([isinstance(m, ProcessSection) for m in job.scenario.members])
    done = span = 0
    for rows in merged(traces, starts):
        span = int(rows.time_ns[-1])
        _in_reach(job, span)
        rows = populated(rows)
        if process.any():  # whatever a trace says, an ordinary process has no guest
            rows = Accesses(
                rows.time_ns,
                rows.space,
                rows.page,
                rows.write,
                np.where(process[rows.space], HOST, rows.context).astype(np.uint8),
            )
        while len(rows):
            cut = min(len(rows), most)
            if lines is not None:
                first = int(rows.time_ns[0])
                while lines.next_ns <= first:
                    lines.close(_row(runner))
                cut = min(cut, int(np.searchsorted(rows.time_ns, lines.next_ns)))
            runner.feed(rows[:cut])
            rows = rows[cut:]
            done += cut
            tell(done)
    timeline = maps = None
    if lines is not None:
        timeline, maps = lines_and_maps(lines, Bands(job.spaces), _row(runner), generations=not job.policy.baseline)
    measured = runner.finish()
    return Run(job.policy.label, job.memory, measured, time.perf_counter() - began, job.engine, span, timeline, maps)


def _in_reach(job: Job, last: int) -> None:
    """Refuse accesses too late for the clock of the truth, or with more agings before them than anybody waits for."""
    names = ", ".join(space.name for space in job.spaces)
    span = f"the accesses of {names} span {format_time(last)}"
    cause = "a trace with a gap, traces of different clocks side by side, or a start too far off?"
    if last // TICK > MOST_TICKS:
        most = format_time(MOST_TICKS * TICK)
        raise ScenarioError(f"{span}; at most {most} can be replayed", hint=cause)
    every = job.scenario.aging.every
    if every and not job.policy.baseline and last // every > MOST_AGINGS:
        raise ScenarioError(
            f"{span}, which is {last // every:,} agings, one every {format_time(every)}; at most {MOST_AGINGS:,}",
            hint=f"{cause} If not, raise aging.every to {format_time(last // MOST_AGINGS + 1)} or more, or leave [aging] out",
        )


def _row(runner: Runner) -> NDArray[np.int64]:
    bands = runner.bands()
    assert bands is not None
    return bands.ravel()
