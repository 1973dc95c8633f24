"""Jobs side by side in processes of our own: each worker takes one job after the other over a pipe.

Not joblib or concurrent.futures: stopping their executors while they hand out work can dead-lock or wait for what runs, and
Ctrl-C must end at once. Workers are in a session of their own, so that Ctrl-C reaches the parent alone; they end with it,
however it ends.
"""

import mmap
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import IO, Any, Final, Generic, TypeVar

from agewalk.core.errors import AgewalkError, MissingError
from agewalk.core.files import remove, scratch_directory
from agewalk.core.isolated import python

POLL_S: Final = 0.1
_SERVE: Final = "from agewalk.core.process_pool import serve; serve(*sys.argv[1:])"
Job = TypeVar("Job")
Result = TypeVar("Result")


class ProcessPool(Generic[Job, Result]):
    """`count` processes that do `work` on jobs. Leaving the `with` kills what still runs.

    work: a function of a module, as work(job, tell); job and result are picklable, `tell(done)` says how far it is. jobs: pairs
    (number, job), taken in this order. done[number]: what `tell` last said. name: what messages call a job.
    """

    def __init__(
        self,
        work: Callable[[Job, Callable[[int], None]], Result],
        jobs: Sequence[tuple[int, Job]],
        count: int,
        *,
        name: Callable[[Job], str] = str,
    ) -> None:
        self._work = f"{work.__module__}:{work.__qualname__}"
        self._jobs: SimpleQueue[tuple[int, Job]] = SimpleQueue()
        for job in jobs:
            self._jobs.put(job)
        self._open = len(jobs)
        self._count = min(count, len(jobs))
        self._name = name
        self._results: SimpleQueue[tuple[int, Result | BaseException]] = SimpleQueue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._folder = scratch_directory("pool")
        self._path = self._folder / "progress"
        self._path.write_bytes(bytes(8 * (max((i for i, _ in jobs), default=0) + 1)))
        self.done = _words(self._path)

    def __enter__(self) -> "ProcessPool[Job, Result]":
        for _ in range(self._count):
            process = subprocess.Popen(
                python(_SERVE, self._work, str(self._path), str(os.getpid())),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self._processes.append(process)
            Thread(target=self._feed, args=(process,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        remove(self._folder)

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
                packed = pickle.dumps((i, job))
            except Exception as error:  # no worker would ever answer
                self._results.put((i, error))
                continue
            try:
                process.stdin.write(packed)
                process.stdin.flush()
                self._results.put((i, pickle.load(process.stdout)))
            except (EOFError, OSError, pickle.UnpicklingError):
                self._results.put((i, died(self._name(job), process.wait())))
                return

    def results(self) -> Iterator[tuple[int, Result] | None]:
        """Each result as it comes; None whenever nothing has come for a moment. Raises what a job raised."""
        while self._open:
            try:
                i, result = self._results.get(timeout=POLL_S)
            except Empty:
                yield None
                continue
            if isinstance(result, BaseException):
                raise result
            self._open -= 1
            yield i, result


def died(what: str, status: int) -> MissingError:
    """The error for a worker that ended in the middle of a job. status: its exit code, or minus the signal that ended it."""
    if status == -signal.SIGKILL:
        how = "was killed (SIGKILL)"
        hint = (
            "the kernel does that when memory is short: --workers 1 runs one at a time; --resume keeps what is finished"
        )
    elif status < 0:
        name = signal.Signals(-status).name if -status in signal.valid_signals() else f"signal {-status}"
        how, hint = (
            f"was ended by {name}",
            "--workers 1 runs it in this process, where a debugger can look",
        )
    else:
        how, hint = f"ended with exit code {status}", "what it printed is above; --workers 1 runs it in this process"
    return MissingError(f"the process that ran {what} {how}", hint=hint)


def serve(work: str, progress: str, parent: str) -> None:
    """A worker's life: jobs from standard input, results to standard output, progress to the shared file."""
    module, _, function = work.partition(":")
    do = getattr(import_module(module), function)
    words = _words(Path(progress))
    answers: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a user's code prints does not belong into the pipe
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # a worker is killed, and would not flush
    while True:
        try:
            i, job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return

        def tell(done: int, i: int = i) -> None:
            words[i] = done
            if os.getppid() != int(parent):  # it has ended, and with it the wish for this result
                os._exit(1)

        try:
            outcome: Any = do(job, tell)
        except (AgewalkError, MemoryError, OSError) as error:
            outcome = error
        with suppress(BrokenPipeError):
            pickle.dump(outcome, answers)
            answers.flush()


def _words(path: Path) -> "memoryview[int]":
    """A file as signed 64-bit words that all processes see."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
