"""Many runs side by side: policies times memory sizes, on the cores that there are."""

import os
from collections.abc import Callable, Generator, MutableSequence
from contextlib import closing
from dataclasses import dataclass

from agewalk.core.errors import Interrupted
from agewalk.study.job import Executor, Job, plan
from agewalk.study.result import Run
from agewalk.study.scenarios.scenario import Scenario
from agewalk.study.store import Store, key


@dataclass(frozen=True, slots=True)
class News:
    """How far a comparison is. `done` and `total` count accesses over all runs; `running`: labels of the runs at work."""

    done: int
    total: int
    runs_done: int
    runs: int
    running: list[str]
    finished: Run | None = None  # the run that has just been finished, if that is the news


Tell = Callable[[News], None]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def compare(
    scenario: Scenario,
    *,
    engine: Executor = "compiled",
    workers: int | None = None,
    tell: Tell = lambda _: None,
) -> list[Run]:
    """Run every policy of a scenario at every memory size; see `run_jobs`, and `agewalk.study.job.plan` for the order.

    Raises ScenarioError, TraceError, UsageError before anything runs where that can be known.
    """
    return run_jobs(plan(scenario, engine), workers=workers, tell=tell)


def run_jobs(
    planned: list[Job],
    *,
    workers: int | None = None,
    store: Store | None = None,
    resume: bool = False,
    tell: Tell = lambda _: None,
) -> list[Run]:
    """The runs of some jobs, in their order.

    workers: processes at once, by default one a core; a protocol that Python made runs in this process under the direct executor.
    store: where each finished run is kept at once; with `resume`, runs found there are not run again. tell: called from this
    thread whenever there is news, ten times a second. Raises ScenarioError, TraceError at a bad row, and `Interrupted`, which
    counts what was kept, at Ctrl-C.
    """
    keys = [key(job.scenario, job.policy, job.memory, job.engine) for job in planned] if store else [""] * len(planned)
    runs: dict[int, Run] = {}
    if store and resume:
        for i, job in enumerate(planned):
            run = store.get(keys[i], job.policy, job.memory, job.engine)
            if run is not None:
                runs[i] = run
    left = [i for i in range(len(planned)) if i not in runs]
    board = _Board(planned, runs, tell)
    try:
        at_once = min(len(left), workers or cores())
        one_by_one = at_once <= 1 or any(planned[i].policy.protocol is not None for i in left)
        with closing(
            _here(planned, left, board) if one_by_one else _side_by_side(planned, left, at_once, board)
        ) as works:
            for i, run in works:
                if store:
                    store.put(keys[i], run)
                runs[i] = run
                board.say(run)
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted: {len(runs)} of {len(planned)} runs are finished"
            + (f" and kept in {store.folder}" if store and runs else ""),
            hint="the same command with --resume goes on from there" if store and runs else "",
        ) from None
    return [runs[i] for i in range(len(planned))]


class _Board:
    """Progress of all runs, each in its own word of a shared array."""

    def __init__(self, planned: list[Job], runs: dict[int, Run], tell: Tell) -> None:
        self.planned = planned
        self.runs = runs
        self.tell = tell
        self.words: MutableSequence[int] | memoryview[int] = [0] * len(planned)

    def say(self, finished: Run | None = None) -> None:
        total = sum(job.rows for job in self.planned)
        done = sum(job.rows if i in self.runs else int(self.words[i]) for i, job in enumerate(self.planned))
        running = [job.policy.label for i, job in enumerate(self.planned) if i not in self.runs and self.words[i]]
        self.tell(News(done, total, len(self.runs), len(self.planned), running, finished))


def _here(planned: list[Job], left: list[int], board: _Board) -> Generator[tuple[int, Run], None, None]:
    from agewalk.study.replay import replay

    for i in left:

        def tell(done: int, i: int = i) -> None:
            board.words[i] = done
            board.say()

        yield i, replay(planned[i], tell)


def _side_by_side(
    planned: list[Job], left: list[int], at_once: int, board: _Board
) -> Generator[tuple[int, Run], None, None]:
    from agewalk.core.process_pool import ProcessPool
    from agewalk.study.replay import replay

    with ProcessPool(replay, [(i, planned[i]) for i in left], at_once, name=lambda job: job.policy.label) as workers:
        board.words = workers.done
        for news in workers.results():
            if news is not None:
                yield news
            board.say()
        board.words = list(workers.done)
