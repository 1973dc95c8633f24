"""The compiled machine does what its text does; what happens where it cannot be compiled."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
from tests.timing.readings import run

from agewalk.timing import compiled
from agewalk.timing.costs import load_costs

ROWS = """
import json, sys
from dataclasses import asdict
from agewalk.timing.compiled import compile_once
on = compile_once()
from agewalk.timing import operations
from agewalk.timing.costs import load_costs
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
SUITE = ("test_machine", "test_locks", "test_smt", "test_lines")


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
    tests = [str(Path(__file__).with_name(f"{name}.py")) for name in SUITE]
    assert " passed" in run("compiled", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *tests)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with nothing in it, and nobody who has asked for the text."""
    monkeypatch.setenv("AGEWALK_CACHE", str(tmp_path))
    monkeypatch.delenv("AGEWALK_TIMING", raising=False)
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not isinstance(f, compiled._Finder)])
    compiled.directory.cache_clear()
    yield tmp_path
    compiled.directory.cache_clear()


def test_without_a_compiler_the_interpreter_reads_the_text(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(compiled, "c_compiler", lambda: None)
    assert compiled.compile_once(said.append) is False
    assert said == ["timing: no C compiler or no Cython here: the machine is interpreted, half as fast"]
    assert list(fresh.iterdir()) == []


def test_a_compiler_that_fails_is_asked_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("CC", "false")
    monkeypatch.setattr(compiled, "MODULES", ("lines",))
    assert compiled.compile_once(said.append) is False
    (folder,) = fresh.iterdir()
    assert (folder / compiled.FAILED).read_text().startswith("false -O2")
    assert said[-1].endswith(f"see {folder / compiled.FAILED}")
    monkeypatch.setattr(compiled, "_build", lambda _: pytest.fail("asked again"))
    assert compiled.compile_once(said.append) is False
    assert "could not be compiled" in said[-1]
    assert len(said) == 3


def test_fields_that_lie_elsewhere_are_found_before_anything_is_kept(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded fault: two fields of a cell take each other's place."""
    here = compiled._here()
    copy = fresh / "src" / "agewalk" / "timing"
    copy.mkdir(parents=True)
    for folder in (copy.parent, copy):
        (folder / "__init__.py").touch()
    for name in ("lines.py", "lines.pxd", compiled.LAYOUT):
        text = (here / name).read_text()
        (copy / name).write_text(text.replace("*field, *line, *owner, *value", "*line, *field, *owner, *value"))
    assert "*line, *field" in (copy / compiled.LAYOUT).read_text()
    monkeypatch.setattr(compiled, "_here", lambda: copy)
    monkeypatch.setattr(compiled, "MODULES", ("lines",))
    monkeypatch.setattr(compiled, "CC", tuple("-O0" if flag == "-O2" else flag for flag in compiled.CC))
    with pytest.raises(compiled.CannotCompile, match=r"core\.cells do not lie where memory\.pxd says"):
        compiled._build(fresh / "kept")
    assert not (fresh / "kept").exists()


def test_a_part_is_not_used(fresh: Path) -> None:
    folder = compiled.directory()
    assert folder is not None
    folder.mkdir()
    for name in compiled.MODULES[1:]:
        (folder / f"{name}{compiled.SUFFIX}").touch()
    assert compiled.install() is False
    (folder / f"{compiled.MODULES[0]}{compiled.SUFFIX}").touch()
    assert compiled.install() is True


def test_an_edit_is_compiled_anew(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = compiled._here()
    copy = fresh / "copy"
    copy.mkdir()
    names = [f"{name}{ending}" for name in compiled.MODULES for ending in (".py", ".pxd")]
    for name in (*names, compiled.LAYOUT):
        (copy / name).write_bytes((here / name).read_bytes())
    monkeypatch.setattr(compiled, "_here", lambda: copy)
    before = compiled.directory()
    compiled.directory.cache_clear()
    assert compiled.directory() == before
    for edited in (copy / "turns.py", copy / "threads.pxd", copy / compiled.LAYOUT):
        edited.write_text(edited.read_text() + "\n")
        compiled.directory.cache_clear()
        assert compiled.directory() != before
        before = compiled.directory()


def test_two_at_once_leave_one_whole_folder(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Barrier(2 * len(compiled.MODULES))

    def make(name: str, _part: Path, ready: Path) -> None:
        together.wait(30)
        (ready / f"{name}{compiled.SUFFIX}").touch()

    monkeypatch.setattr(compiled, "_compile", make)
    monkeypatch.setattr(compiled, "_run", lambda _command, _where: None)  # there is nothing to be tried out
    monkeypatch.setattr(os, "cpu_count", lambda: len(compiled.MODULES))
    folder = fresh / "timing"
    builders = [Thread(target=compiled._build, args=(folder,)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert {file.stem.partition(".")[0] for file in folder.iterdir()} == set(compiled.MODULES)
    assert list(fresh.iterdir()) == [folder]


def test_an_interrupted_build_leaves_nothing(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_name: str, _part: Path, _ready: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compiled, "_compile", stop)
    with pytest.raises(KeyboardInterrupt):
        compiled.compile_once()
    assert list(fresh.iterdir()) == []
