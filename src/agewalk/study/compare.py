"""Many runs side by side: policies times memory sizes, on the cores that there are."""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agewalk.core.errors import AgewalkError, Interrupted
from agewalk.study.outcome import Run
from agewalk.study.policies import check
from agewalk.study.scenario import Scenario
from agewalk.study.setup import Job, Reading, jobs
from agewalk.study.store import Store, key

POLL_S = 0.1


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
    engine: Reading = "compiled",
    workers: int | None = None,
    store: Store | None = None,
    resume: bool = False,
    tell: Tell = lambda _: None,
) -> list[Run]:
    """Run every policy of a scenario at every memory size; the runs in the order of `agewalk.study.setup.jobs`.

    workers: processes at once, by default one a core. store: where each finished run is kept at once; with `resume`, runs
    found there are not run again. tell: called from this thread whenever there is news, ten times a second.
    Raises ScenarioError, TraceError, UsageError before anything runs where that can be known, and `Interrupted`, which
    counts what was kept, at Ctrl-C.
    """
    planned = jobs(scenario, engine)
    for job in planned:
        check(job)
    keys = [key(scenario, job.policy, job.memory, job.engine) for job in planned] if store else [""] * len(planned)
    runs: dict[int, Run] = {}
    if store and resume:
        runs = {i: run for i, digest in enumerate(keys) if (run := store.get(digest)) is not None}
    left = [i for i in range(len(planned)) if i not in runs]
    board = _Board(planned, runs, tell)
    try:
        at_once = min(len(left), workers or cores())
        works = _here(planned, left, board) if at_once <= 1 else _side_by_side(planned, left, at_once, board)
        for i, run in works:
            runs[i] = run
            if store:
                store.put(keys[i], run)
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
        self.words: np.ndarray[Any, np.dtype[np.int64]] = np.zeros(len(planned), np.int64)

    def say(self, finished: Run | None = None) -> None:
        total = sum(job.rows for job in self.planned)
        done = sum(job.rows if i in self.runs else int(self.words[i]) for i, job in enumerate(self.planned))
        running = [job.policy.label for i, job in enumerate(self.planned) if i not in self.runs and self.words[i]]
        self.tell(News(done, total, len(self.runs), len(self.planned), running, finished))


def _here(planned: list[Job], left: list[int], board: _Board) -> Iterator[tuple[int, Run]]:
    from agewalk.study.replay import replay

    for i in left:

        def tell(done: int, i: int = i) -> None:
            board.words[i] = done
            board.say()

        yield i, replay(planned[i], tell)


def _side_by_side(planned: list[Job], left: list[int], at_once: int, board: _Board) -> Iterator[tuple[int, Run]]:
    import joblib

    with tempfile.TemporaryDirectory(prefix="agewalk-") as folder:
        path = Path(folder) / "progress"
        np.zeros(len(planned), np.int64).tofile(path)
        board.words = np.memmap(path, np.int64, "r+")
        parallel = joblib.Parallel(n_jobs=at_once, backend="loky", batch_size=1, return_as="generator_unordered")
        me = os.getpid()
        with _quiet_workers():
            results = parallel(joblib.delayed(_work)(planned[i], i, str(path), me) for i in left)
        finished: list[tuple[int, Run | Exception]] = []
        news = threading.Event()

        def collect() -> None:  # joblib's generator blocks, and this thread would rather show how far things are
            try:
                for item in results:
                    finished.append(item)
                    news.set()
            except BaseException as error:
                finished.append((-1, error if isinstance(error, Exception) else RuntimeError(repr(error))))
                news.set()

        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        given = 0
        try:
            while given < len(left):
                news.wait(POLL_S)
                news.clear()
                while given < len(finished):
                    i, outcome = finished[given]
                    if isinstance(outcome, Exception):
                        raise outcome
                    given += 1
                    yield i, outcome
                board.say()
        except BaseException:
            _stop_workers()
            raise
        thread.join()


def _stop_workers() -> None:
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=False, kill_workers=True)


def _work(job: Job, index: int, path: str, parent: int) -> tuple[int, Run | Exception]:
    """In a worker: one job, its progress written to the shared file."""
    from agewalk.study.replay import replay

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    words = np.memmap(path, np.int64, "r+")

    def tell(done: int) -> None:
        words[index] = done
        if os.getppid() != parent:  # it was killed: nobody waits for this
            os._exit(1)

    try:
        return index, replay(job, tell)
    except AgewalkError as error:
        return index, error


@contextmanager
def _quiet_workers() -> Iterator[None]:
    """Workers start with SIGINT ignored, so that Ctrl-C prints one message and not one for each."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
