"""The tool that draws mutants of the engine: what it draws, and what the kit says about a mutant known to be one, or none."""

import os
import subprocess
import sys
from pathlib import Path

from tests.engine.mutants import ENGINE, MODULES


def test_it_knows_every_module_that_has_compiled_functions() -> None:
    names = {path: ".".join(path.relative_to(ENGINE).with_suffix("").parts) for path in ENGINE.rglob("*.py")}
    compiled = {name for path, name in names.items() if "@njit" in path.read_text()}
    assert {name for name in compiled if not name.startswith(("compiler.", "baselines."))} <= set(MODULES)


def test_a_fault_is_caught_a_hint_is_not_and_what_nobody_runs_is_named() -> None:
    code = (
        "from tests.engine.mutants import Case, judged, mutants_of, source\n"
        "from tests.engine.test_conformance import story_of, tell\n"
        "host = {'kernel': '6.12', 'protocol': 'linux-6.13', 'spaces': [(130, 'tdp')], 'memory': 95}\n"
        "def run(): tell(host, story_of(3)[:14])\n"
        "for m in mutants_of('state.lru_lists', source('state.lru_lists')):\n"
        "    if m.function in ('push', 'fetch_ahead') and m.after == 'pass':\n"
        "        case = Case('story', run, 1.0, {('state.lru_lists', m.line)})\n"
        "        print(judged(m, [case], 10).split()[0], m.described().split(': ')[1])\n"
        "        elsewhere = judged(m, [Case('story', run, 1.0, set())], 10)\n"
        "        assert elsewhere == 'never run'\n"
    )
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env=env, cwd=Path(__file__).parents[2], timeout=300,
        capture_output=True, text=True,
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert "caught s.queue[place] = folio  ->  pass" in said
    assert "ALIVE fetch_row(s.folios, i64(s.queue[then]))  ->  pass" in said
