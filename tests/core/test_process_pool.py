"""Jobs in processes of their own: results and errors come back, a dead worker is named and is no hang, none outlives the pool."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from agewalk.core.errors import InputError, MissingError
from agewalk.core.process_pool import ProcessPool, died

Tell = Callable[[int], None]


def work(job: Any, tell: Tell) -> Any:
    """A worker's job, by its kind."""
    kind, value = job
    tell(value)
    if kind == "signal":
        os.kill(os.getpid(), value)
        time.sleep(60)
    elif kind == "exit":
        os._exit(value)
    elif kind == "sleep":
        time.sleep(value)
    elif kind == "print":
        print("into the pipe?")
    elif kind == "error":
        raise InputError("bad", hint="mend it")
    return value * value


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "__module__", "test_process_pool")
    monkeypatch.syspath_prepend(os.path.dirname(__file__))  # noqa: PTH120


def run(*jobs: tuple[str, int], count: int = 2) -> dict[int, Any]:
    with ProcessPool(work, list(enumerate(jobs)), count, name=lambda job: f"job {job[0]}") as pool:
        return dict(found for found in pool.results() if found is not None)


def test_results_and_progress_come_back() -> None:
    with ProcessPool(work, [(i, ("square", i)) for i in (3, 5, 4)], 2) as pool:
        assert dict(found for found in pool.results() if found) == {3: 9, 5: 25, 4: 16}
        assert list(pool.done) == [0, 0, 0, 3, 4, 5]


def test_what_a_job_prints_does_not_disturb_the_results(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(("print", 2), ("square", 3)) == {0: 4, 1: 9}
    assert capfd.readouterr().err == "into the pipe?\n"


def test_an_error_comes_back_with_its_hint() -> None:
    with pytest.raises(InputError, match="bad") as caught:
        run(("error", 1))
    assert caught.value.hint == "mend it"


@pytest.mark.parametrize(
    ("job", "said", "hint"),
    [
        (("signal", int(signal.SIGKILL)), "job signal was killed", "memory"),
        (("signal", int(signal.SIGSEGV)), "job signal was ended by SIGSEGV", "debugger"),
        (("exit", 7), "job exit ended with exit code 7", "printed"),
    ],
)
def test_a_dead_worker_is_told_as_what_it_is(job: tuple[str, int], said: str, hint: str) -> None:
    with pytest.raises(MissingError, match=said) as caught:
        run(job)
    assert hint in caught.value.hint
    assert ("memory" in caught.value.hint) == (job[1] == signal.SIGKILL)


def test_a_job_that_cannot_be_sent_is_an_error_and_no_hang() -> None:
    class Local:
        """Known in this process alone."""

    with ProcessPool(work, [(0, ("square", Local()))], 1) as pool, pytest.raises(Exception, match="Local"):
        list(pool.results())


def test_a_signal_without_a_name_has_a_number() -> None:
    assert "signal 99" in str(died("x", -99))


def test_leaving_ends_every_process_and_removes_its_folder() -> None:
    with ProcessPool(work, [(0, ("sleep", 60)), (1, ("sleep", 60))], 2) as pool:
        ids = [process.pid for process in pool._processes]
        folder = pool._folder
        assert folder.stat().st_mode & 0o777 == 0o700
    for pid in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not folder.exists()
