"""The compiled machine does what its text does; what happens where it cannot be compiled."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from time import sleep

import pytest
from tests.timing.processes import run

from agewalk.timing import compiled
from agewalk.timing.hardware.costs import load_costs

ROWS = """
import json, sys
from dataclasses import asdict
from agewalk.timing.compiled import compile_once
on = compile_once()
from agewalk.timing import operations
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.experiment import load_experiment
from agewalk.timing.run import run_row
costs = load_costs().with_values(json.loads(sys.argv[1]))
rows = []
for name, vcpus in (
    ("access-tracking", 5), ("nested", 2), ("shadow", 2), ("arm64-read-lock", 3), ("invalidate-storm", 2), ("look-around", 2)
):
    plan = load_experiment(name)
    for variant in plan.variants:
        row = asdict(run_row(plan, variant, vcpus, costs, factor=8192, seed=len(rows)))
        rows.append({key: repr(value) for key, value in row.items() if key not in ("took_s", "effects_per_s")})
print(json.dumps([on, operations.__file__.endswith(".py"), rows]))
"""
SUITE = ("test_machine.py", "test_threads.py", "locks", "hardware", "scheduler")


@pytest.mark.slow
def test_the_compiled_machine_does_what_its_text_does() -> None:
    """All experiments, every field of every row; and the machine's own tests, with the faults seeded there, run compiled."""
    on, is_text, compiled_rows = json.loads(run("compiled", "-c", ROWS, "{}").splitlines()[-1])
    assert on
    assert not is_text
    on, is_text, text_rows = json.loads(run("text", "-c", ROWS, "{}").splitlines()[-1])
    assert is_text
    assert not on
    assert compiled_rows == text_rows
    slower = {"line.core_to_core": load_costs()["line.core_to_core"].value + 1}
    other = json.loads(run("compiled", "-c", ROWS, json.dumps(slower)).splitlines()[-1])[2]
    assert other != text_rows  # seeded fault: a transfer that takes one nanosecond more
    tests = [str(Path(__file__).with_name(name)) for name in SUITE]
    assert " passed" in run("compiled", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *tests)


ELSEWHERE = """
import agewalk.core.cells
from agewalk.timing import compiled, operations
from agewalk.timing.experiment import load_experiment
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.run import run_all
assert operations.__file__.endswith(".py")
before = compiled.workers_are_faster()
rows = run_all(load_experiment("shadow").with_protocols(["linux-6.15"]), load_costs(), vcpus=[1], factor=8192)
print(before, len(rows))
"""


@pytest.mark.slow
def test_a_process_with_interpreted_cells_mixes_nothing() -> None:
    """It imports the machine interpreted, too, and lets workers run the rows compiled."""
    run("compiled", "-c", "from agewalk.timing.compiled import compile_once; assert compile_once()")
    assert run("compiled", "-c", ELSEWHERE).split()[:2] == ["True", "2"]
    assert run("text", "-c", ELSEWHERE).split()[:2] == ["False", "2"]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with nothing in it, and nobody who has asked for the text."""
    monkeypatch.setenv("AGEWALK_CACHE", str(tmp_path))
    monkeypatch.delenv("AGEWALK_TIMING", raising=False)
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not isinstance(f, compiled._Finder)])
    ours = {f"{compiled.PACKAGE}.{module}" for module in compiled.MODULES}
    monkeypatch.setattr(sys, "modules", {name: module for name, module in sys.modules.items() if name not in ours})
    compiled.name.cache_clear()
    yield tmp_path
    compiled.name.cache_clear()


def test_without_a_compiler_the_interpreter_reads_the_text(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(compiled, "c_compiler", lambda: None)
    assert compiled.compile_once(said.append) is False
    assert said == ["timing: no C compiler or no Cython here: the machine is interpreted, at a third of the speed"]
    assert list(fresh.iterdir()) == []


def test_a_compiler_that_fails_is_asked_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("CC", "false")
    monkeypatch.setattr(compiled, "MODULES", ("timing.scheduler.events",))
    assert compiled.compile_once(said.append) is False
    (folder,) = fresh.iterdir()
    assert (folder / compiled.FAILED).read_text().startswith("cd ")
    assert said[-1].endswith(f"see {folder / compiled.FAILED}")
    monkeypatch.setattr(compiled, "_build", lambda _: pytest.fail("asked again"))
    assert compiled.compile_once(said.append) is False
    assert "could not be compiled" in said[-1]
    assert len(said) == 3


def test_a_part_is_not_used(fresh: Path) -> None:
    named = compiled.name()
    assert named is not None
    folder = fresh / named
    folder.mkdir(mode=0o700)
    for module in compiled.MODULES[1:]:
        (folder / f"{module}{compiled.SUFFIX}").touch()
    assert compiled.install() is False
    (folder / f"{compiled.MODULES[0]}{compiled.SUFFIX}").touch()
    folder.chmod(0o777)  # another user may have put it there
    assert compiled.install() is False
    folder.chmod(0o700)
    assert compiled.install() is True


def test_an_edit_is_compiled_anew(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = compiled._here()
    copy = fresh / "copy"
    copy.mkdir()
    for module in compiled.MODULES:
        for file in (module.replace(".", "/") + ending for ending in (".py", ".pxd")):
            (copy / file).parent.mkdir(exist_ok=True, parents=True)
            (copy / file).write_bytes((here / file).read_bytes())
    monkeypatch.setattr(compiled, "_here", lambda: copy)
    compiled.name.cache_clear()
    before = compiled.name()
    for edited in (copy / "timing" / "operations.py", copy / "timing" / "threads.pxd", copy / "core" / "cells.pxd"):
        edited.write_text(edited.read_text() + "\n")
        compiled.name.cache_clear()
        assert compiled.name() != before
        before = compiled.name()


def test_two_at_once_leave_one_whole_folder(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Barrier(2)

    def make(_commands: list[str], part: Path) -> None:
        together.wait(30)
        for module in compiled.MODULES:
            (part / f"{module}{compiled.SUFFIX}").touch()

    monkeypatch.setattr(compiled, "_run_all", make)
    builders = [Thread(target=compiled._build, args=(fresh,)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert {file.name.removesuffix(compiled.SUFFIX) for file in fresh.iterdir()} == set(compiled.MODULES)


def test_an_interrupt_ends_the_compilers_at_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that writes its process number and never ends; the interrupt comes when it has."""
    said = fresh.parent / f"{fresh.name}.pid"
    monkeypatch.setattr(compiled, "MODULES", ("timing.scheduler.events",))
    monkeypatch.setattr(compiled, "_commands", lambda *_: f"echo $$ > {said}; exec sleep 600")

    def interrupt() -> None:
        while not said.exists() or not said.read_text().strip():
            sleep(0.01)
        sleep(0.2)  # until it is waited for
        os.kill(os.getpid(), signal.SIGINT)

    watcher = Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        compiled.compile_once()
    watcher.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)
    (folder,) = fresh.iterdir()
    assert list(folder.iterdir()) == []
