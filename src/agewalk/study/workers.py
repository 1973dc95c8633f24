"""Jobs side by side in processes of our own: each worker takes one job after the other over a pipe.

Not joblib: stopping its executor while it hands out work can dead-lock (loky's submit lock), and Ctrl-C must not hang.
Workers are in a session of their own, so that Ctrl-C reaches the parent alone; they end with it, however it ends.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import AgewalkError, MissingError
from agewalk.study.job import Job
from agewalk.study.result import Run

POLL_S = 0.1
Outcome = tuple[int, Run | BaseException]


class Workers:
    """`count` processes that run `jobs`. `done` has one word a job: accesses done so far.

    Use it in a `with`; leaving it kills what still runs.
    """

    def __init__(self, jobs: Sequence[tuple[int, Job]], count: int) -> None:
        self._jobs: SimpleQueue[tuple[int, Job]] = SimpleQueue()
        for job in jobs:
            self._jobs.put(job)
        self._left = len(jobs)
        self._count = count
        self._results: SimpleQueue[Outcome] = SimpleQueue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="agewalk-")
        path = Path(self._folder.name) / "progress"
        np.zeros(max(i for i, _ in jobs) + 1, np.int64).tofile(path)
        self._path = str(path)
        self.done: NDArray[np.int64] = np.memmap(path, np.int64, "r+")

    def __enter__(self) -> "Workers":
        for _ in range(self._count):
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from agewalk.study.workers import serve; serve()",
                    self._path,
                    str(os.getpid()),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self._processes.append(process)
            Thread(target=self._feed, args=(process,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._folder.cleanup()

    def _feed(self, process: "subprocess.Popen[bytes]") -> None:
        """In a thread of its own: hand out jobs to one worker until there are none."""
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            try:
                i, job = self._jobs.get_nowait()
            except Empty:
                return
            try:
                pickle.dump((i, job), process.stdin)
                process.stdin.flush()
                self._results.put((i, pickle.load(process.stdout)))
            except (EOFError, OSError, pickle.UnpicklingError):
                hint = "out of memory? --workers 1 runs one at a time; --resume keeps what is finished"
                self._results.put((i, MissingError(f"the process that ran {job.policy.label} died", hint=hint)))
                return

    def finished(self) -> Iterator[tuple[int, Run] | None]:
        """Each finished job; None whenever nothing has happened for a moment. Raises what a job raised."""
        while self._left:
            try:
                i, outcome = self._results.get(timeout=POLL_S)
            except Empty:
                yield None
                continue
            if isinstance(outcome, BaseException):
                raise outcome
            self._left -= 1
            yield i, outcome


def serve() -> None:
    """A worker's life: jobs from standard input, runs to standard output, progress to the shared file."""
    from agewalk.study.replay import replay

    words = np.memmap(sys.argv[1], np.int64, "r+")
    parent = int(sys.argv[2])
    answers: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a user's protocol prints does not belong into the pipe

    def tell(i: int, done: int) -> None:
        words[i] = done
        if os.getppid() != parent:  # it is gone: nobody waits for this
            os._exit(1)

    while True:
        try:
            i, job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        outcome: Any
        try:
            outcome = replay(job, lambda done, i=i: tell(i, done))  # type: ignore[misc]
        except (AgewalkError, MemoryError, OSError) as error:
            outcome = error
        with suppress(BrokenPipeError):
            pickle.dump(outcome, answers)
            answers.flush()
