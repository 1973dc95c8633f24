"""The tool that draws mutants of the engine: what it draws, and what the kit says about a mutant known to be one, or none."""

import os
import subprocess
import sys
from pathlib import Path

from tests.engine.mutants import ENGINE, MODULES, mutants_of

SOURCE = '''
def f(a: int, b: int) -> bool:
    """Not 1 of these."""
    a += b
    if a & 3 and not b:
        return a < 2
    return True


class C:
    def g(self) -> None:
        self.h(f(1, 0))
'''


def test_every_token_and_statement_of_every_function_is_changed() -> None:
    found = [(m.function, m.line, SOURCE[m.start : m.end], m.after) for m in mutants_of("lists", SOURCE)]
    assert found == [
        ("f", 4, "a += b", "a -= b"), ("f", 4, "a += b", "pass"),
        ("f", 5, "a & 3 and not b", "(False)"), ("f", 5, "a & 3 and not b", "(True)"),
        ("f", 5, "a & 3 and not b", "(a & 3 or not b)"), ("f", 5, "a & 3 and not b", "(not b)"),
        ("f", 5, "a & 3 and not b", "(a & 3)"), ("f", 5, "a & 3", "(a | 3)"), ("f", 5, "a & 3", "(a)"), ("f", 5, "a & 3", "(3)"),
        ("f", 5, "3", "(4)"), ("f", 5, "3", "(2)"), ("f", 5, "not b", "(b)"),
        ("f", 6, "a < 2", "(a <= 2)"), ("f", 6, "2", "(3)"), ("f", 6, "2", "(1)"), ("f", 7, "True", "(False)"),
        ("C.g", 12, "self.h(f(1, 0))", "pass"), ("C.g", 12, "1", "(2)"), ("C.g", 12, "1", "(0)"), ("C.g", 12, "0", "(1)"),
    ]  # fmt: skip


def test_it_knows_every_module_that_has_kernels() -> None:
    kernels = {path.stem for path in ENGINE.glob("*.py") if "@njit" in path.read_text() and path.stem != "jit"}
    assert kernels <= set(MODULES)


def test_a_fault_is_caught_a_hint_is_not_and_what_nobody_runs_is_named() -> None:
    code = (
        "from tests.engine.mutants import Case, judged, mutants_of, source\n"
        "from tests.engine.test_conformance import story_of, tell\n"
        "host = {'kernel': '6.12', 'protocol': 'linux-6.13', 'spaces': [(130, 'tdp')], 'memory': 95}\n"
        "def run(): tell(host, story_of(3)[:14])\n"
        "for m in mutants_of('lists', source('lists')):\n"
        "    if m.function in ('push', 'fetch_ahead') and m.after == 'pass':\n"
        "        print(judged(m, [Case('story', run, 1.0, {('lists', m.line)})], 10).split()[0], m.described().split(': ')[1])\n"
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
    assert "ALIVE fetch_row(s.page, i64(s.queue[then]))  ->  pass" in said
