"""`agewalk check`, from the outside: documents, exit codes, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from agewalk.checker.catalog import all_names, get_system
from agewalk.checker.explore import Outcome, check
from agewalk.checker.matrix import Matrix
from agewalk.checker.matrix import run as run_matrix
from agewalk.checker.search.bfs import Bounds
from agewalk.cli import check as cli
from agewalk.core.errors import AgewalkError, Interrupted

HOLDS = "age-vs-guest/linux-7.3/tdp"
BROKEN = "subscribers/v5/tdp"


def call(*words: str) -> tuple[int, str]:
    """Through `agewalk.cli.main`, as the shell does it."""
    app = typer.Typer(add_completion=False)
    app.command()(cli.command)
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def document(*words: str) -> tuple[int, dict[str, Any]]:
    code, out = call(*words, "--json")
    found: dict[str, Any] = json.loads(out)
    return code, found


def test_one_system_as_json() -> None:
    code, found = document(HOLDS)
    assert code == 0
    assert {
        "schema",
        "system",
        "verdict",
        "states",
        "transitions",
        "depth",
        "seconds",
        "properties",
        "counterexample",
        "replay",
    } <= set(found)
    assert (found["schema"], found["system"], found["verdict"], found["counterexample"], found["replay"]) == (
        1,
        HOLDS,
        "holds",
        [],
        "",
    )
    assert all(
        p["holds"] is True and isinstance(p["witnessed"], bool)
        for p in found["properties"]
        if p["verdict"] != "not-applicable"
    )


def test_a_violation_ends_with_1_and_can_be_replayed() -> None:
    code, found = document(BROKEN)
    assert (code, found["verdict"]) == (1, "violated")
    assert set(found["counterexample"][0]) == {"thread", "function", "effect", "cell", "value"}
    code, again = document("--replay", found["replay"])
    assert code == 0
    assert again["steps"] == found["counterexample"]
    assert "an answer is young" in again["outcome"]
    code, text = call("--replay", found["replay"])
    assert "_age_spte()" in text
    assert "* kvm2.tdp1.0[0]:" in text


def test_files(tmp_path: Path) -> None:
    names = {n: tmp_path / n for n in ("m.pml", "m.mmd", "m.pftrace", "test_it.py")}
    code, _ = call(
        BROKEN, "--promela", str(names["m.pml"]), "--mermaid", str(names["m.mmd"]), "--perfetto", str(names["m.pftrace"]),
        "--emit-test", str(names["test_it.py"]),
    )  # fmt: skip
    assert code == 1
    assert names["m.pml"].read_text().startswith("/* subscribers/v5/tdp")
    assert names["m.mmd"].read_text().startswith("sequenceDiagram\n  participant t0 as ager")
    assert len(names["m.pftrace"].read_bytes()) > 1000
    assert not list(tmp_path.glob("*.part"))
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(names["test_it.py"])],
        capture_output=True, text=True, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "an answer is young if it cleared a young bit" in done.stdout


def test_no_counterexample_no_file(tmp_path: Path) -> None:
    from agewalk.core.errors import UsageError

    with pytest.raises(UsageError, match="has no counterexample to write"):
        call(HOLDS, "--mermaid", str(tmp_path / "x"))
    with pytest.raises(UsageError, match="nothing to check"):
        call()
    with pytest.raises(UsageError, match="--all checks every system"):
        call("--all", "--reduce")


def test_bounded(tmp_path: Path) -> None:
    code, found = document("age-vs-zap/v7/nested", "--max-states", "50")
    assert (code, found["verdict"], found["bound"]) == (0, "bounded", "50 states")
    assert not any(p["holds"] for p in found["properties"] if p["verdict"] == "bounded")
    code, text = call("age-vs-zap/v7/nested", "--max-states", "50")
    assert "not all was seen" in text


def test_list_walks_and_memory_models() -> None:
    code, found = document("--list")
    assert code == 0
    assert {"age-vs-zap", "subscribers", "max-seq-vs-walkers"} <= {s["system"] for s in found["systems"]}
    code, found = document(HOLDS, "--walks", "30", "--seed", "3")
    assert sum(o["count"] for o in found["outcomes"]) == 30
    code, found = document("two-agers/linux-6.13/legacy", "--memory-model", "tso")
    assert (code, found["system"]) == (0, "two-agers/linux-6.13/legacy+tso")


def test_a_reduced_search_decides_and_its_path_replays() -> None:
    code, found = document("subscribers/v5/tdp", "--reduce", "--symmetry")
    assert (code, found["verdict"]) == (1, "violated")
    assert document("--replay", found["replay"])[1]["steps"] == found["counterexample"]
    code, found = document("fault-of-pages/linux-7.3/nested-noad", "--reduce", "--symmetry")
    assert (code, found["verdict"], found["bound"], found["note"]) == (0, "bounded", "", "")
    assert [p["why"] for p in found["properties"] if p["verdict"] == "bounded"] == [
        "not judged: liveness needs a search without reduction"
    ]
    assert "all that was judged holds" in call("fault-of-pages/linux-7.3/nested-noad", "--reduce")[1]


def test_an_interrupted_search_says_what_would_have_left_a_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agewalk.checker.explore.check", interrupted)
    with pytest.raises(Interrupted) as stop:
        cli.command(HOLDS)
    assert "--max-seconds" in stop.value.hint


def test_matrix() -> None:
    names = [("look-around-decision", p, "tdp") for p in ("linux-7.3", "christopherson")]
    matrix = run_matrix(names)
    assert len(matrix.violated) == 1
    row = matrix.violated[0].document()
    assert {"system", "protocol", "property", "kind", "verdict", "length", "states"} <= set(row)
    assert (row["kind"], row["verdict"]) == ("must", "violated")
    text = cli.table(matrix)
    assert "BUG/" in text
    assert "this protocol makes no difference between MMUs" in text


def test_loops_and_locks_are_shown() -> None:
    from tests.checker import toys

    from agewalk.checker.explore import check
    from agewalk.checker.render import mermaid, text

    path = check(toys.retry(bounded=False)).path
    assert path is not None
    assert "... and again from step" in text(path)
    path = check(toys.lock_order(same=False)).path
    assert path is not None
    assert "o.a: 0 to -1" in mermaid(path)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--walks", "-5"), ("--walks", "0"), ("--seed", "-1"), ("--max-states", "0"), ("--max-seconds", "-1"),
        ("--max-seconds", "nan"), ("--max-memory", "-1 GiB"),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_usage_errors(option: str, value: str) -> None:
    try:
        code, _ = call(HOLDS, f"{option}={value}")
    except AgewalkError as error:
        code = error.exit_code
    assert code == 2


def test_all_says_how_long_and_how_far(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each update empties the line before it, so that nothing of a longer one stays."""
    outcome = check(get_system(HOLDS))

    def two_of_many(names: list[Any], bounds: Bounds, *, each: Callable[[str, Outcome], None]) -> Matrix:
        assert len(names) > 700
        each("a-long-name/of-a/system", outcome)
        each("short", outcome)
        return Matrix((), 0.0, (0.0, ""))

    monkeypatch.setattr("agewalk.checker.matrix.run", two_of_many)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(typer.Exit) as ended:
        cli.command(every=True)
    assert ended.value.exit_code == 0
    said = capsys.readouterr().err
    assert "systems: about a minute and a half of CPU time\n" in said
    first, second, last = said.partition("time\n")[2].split("\r\x1b[K")[1:]
    total = len(list(all_names()))
    assert first.startswith(f"1 of {total}")
    assert first.endswith("left: a-long-name/of-a/system")
    assert second.startswith(f"2 of {total}")
    assert second.endswith("left: short")
    assert last == ""
