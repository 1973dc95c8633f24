"""Any system as Promela, for SPIN: the minimal automata, one label a node, one d_step an edge.

A variable is the number of its value; comments say which value that is. Thread ends are valid end states that cannot be
left, so SPIN's states are exactly ours: variables, and where each process stands. Broken rules are `assert(false)`; a
process that may go on behind one does.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agewalk.checker.automata.semantics import show
from agewalk.checker.automata.shared_state import MEMORY
from agewalk.checker.automata.unfolding import BLOCKED, CHOICE, END, ERROR, STEP
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.simulate import describe
from agewalk.core.errors import MissingError, UsageError
from agewalk.core.text import c_comment, identifier

_DEPTH: Final = 1_000_000
_MANY: Final = 40  # edges of a node; more become a table
_DECLARED: Final = "@"  # marks a line that belongs before all processes


def promela(source: Minimal) -> str:
    """The system as a Promela model. Raises UsageError for systems with shared CPUs, which have no counterpart."""
    if source.cpus:
        raise UsageError(
            f"{source.system.name} pins threads to CPUs",
            hint="SPIN has no scheduler to express that; check it with agewalk",
        )
    shared = source.shared
    lines = [f"/* {c_comment(source.system.name)}: {c_comment(source.system.about)} */"]
    lines += _freed_table(source)
    for var, values in enumerate(shared.values):
        shown = [v.text() if var == MEMORY else show(v) for v in values[:8]]
        more = ", ..." if len(values) > 8 else ""
        kind = "byte" if len(values) <= 256 else "short"
        lines.append(f"{kind} v{var} = 0; /* {c_comment(shared.names[var])}: {c_comment('; '.join(shown))}{more} */")
    body = [line for t, name in enumerate(source.automata.names) for line in _process(source, t, name)]
    lines += [line.removeprefix(_DECLARED) for line in body if line.startswith(_DECLARED)]
    lines += [line for line in body if not line.startswith(_DECLARED)]
    return "\n".join(lines) + "\n"


def _freed_table(source: Minimal) -> list[str]:
    """Tables for C: in which values of the memory is each object freed?"""
    lines = []
    for i, mortal in enumerate(source.shared.mortals):
        bits = [str(int(mortal in m.freed)) for m in source.shared.values[MEMORY]]
        lines.append(
            f"c_decl {{ static const unsigned char freed{i}[] = {{{','.join(bits)}}}; }} /* {c_comment(repr(mortal))} */"
        )
    return lines


def _process(source: Minimal, t: int, name: str) -> list[str]:
    a = source.automaton_of[t]
    ident = identifier(name)
    lines = ["", f"active proctype {ident}_{t}() {{", f"  goto n{source.roots()[t]};"]
    for b in range(source.first[a], source.first[a + 1]):
        lines += _node(source, t, b)
    return [*lines, "}"]


def _node(source: Minimal, t: int, b: int) -> list[str]:
    node = source.node(b)
    if node.kind == END:
        return [f"end_n{b}: n{b}: (false); /* returned {c_comment(show(node.result))} */"]
    if node.kind == ERROR:
        return [f"n{b}: assert(false); (false); /* {c_comment(str(node.result))} */"]
    cell = source.shared.names[node.var] if node.var > 0 else ""
    head = f"n{b}: if /* {c_comment(f'{node.function}(): {describe(node)} {cell}')} */"
    if source.system.flat()[t].daemon:
        head = f"end_n{b}: {head}"
    if node.ghost:  # taken together with the step before: no thread stops here
        return []
    if _by_table(source, b):
        return _table_node(source, t, b, head)
    steps = _steps(source, t, b)
    if not steps:  # it always waits
        return [head.replace(": if /*", ": (false) /*", 1) + ";"]
    lines = [head]
    for guard, updates, target in steps:
        told = ["assert(false)"] if source.node(target).warned else []
        body = "; ".join([guard, *updates, *told])
        lines.append(f"  :: d_step {{ {body} }} goto n{target}")
    return [*lines, "  fi;"]


def _by_table(source: Minimal, b: int) -> bool:
    """Has it too many edges to write out, and nothing folded in?"""
    ghosts = any(n >= 0 and source.node(n).ghost for n, _ in source.edges[b].values())
    plain = source.node(b).kind != CHOICE and source.tables.mortal[b] < 0 and not ghosts
    return plain and len(source.edges[b]) > _MANY


def _table_node(source: Minimal, t: int, b: int, head: str) -> list[str]:
    """A node whose edges are looked up: for each next node, what the variable becomes, or -1."""
    node = source.node(b)
    who = t if node.var == MEMORY else 0
    size = len(source.shared.values[node.var])
    targets: dict[int, list[int]] = {}
    for (thread, value), (target, left) in source.edges[b].items():
        if thread == who and target >= 0:
            targets.setdefault(target, [-1] * size)[value] = left
    lines, tables = [head], []
    for target, left_of in targets.items():
        name = f"t{t}_{b}_{target}"
        tables.append(f"c_decl {{ static const short {name}[] = {{{','.join(map(str, left_of))}}}; }}")
        at = f"{name}[now.v{node.var}]"
        told = " assert(false);" if source.node(target).warned else ""
        lines.append(
            f"  :: d_step {{ c_expr {{ {at} >= 0 }}; c_code {{ now.v{node.var} = {at}; }}{told} }} goto n{target}"
        )
    return [_DECLARED + d for d in tables] + [*lines, "  fi;"]


def _steps(source: Minimal, t: int, b: int) -> list[tuple[str, list[str], int]]:
    """(guard, assignments, next node) of every step from node b, ghost steps folded in."""
    node = source.node(b)
    steps: list[tuple[str, list[str], int]] = []
    if node.kind == CHOICE:
        targets = [source.edges[b].get((0, c), (BLOCKED, 0))[0] for c in range(source.automata.choices(node))]
        for target in targets:
            if target >= 0 and source.node(target).ghost and source.node(target).kind == STEP:
                _chain(source, t, target, [], {}, steps)
            elif target >= 0:
                steps.append(("true", [], target))
        return steps
    _chain(source, t, b, [], {}, steps)
    return steps


def _chain(
    source: Minimal, t: int, b: int, guard: list[str], known: dict[int, int], out: list[tuple[str, list[str], int]]
) -> None:
    node, tables = source.node(b), source.tables
    var = node.var
    who = t if var == MEMORY else 0
    alive: list[str] = []
    if tables.mortal[b] >= 0:
        i, m = int(tables.mortal[b]), known.get(MEMORY)
        test = (
            f"c_expr {{ freed{i}[now.v{MEMORY}] }}"
            if m is None
            else str(int(source.shared.mortals[i] in source.shared.values[MEMORY][m].freed))
        )
        out.append((" && ".join([*guard, f"({test})"]), _assign(known), int(tables.uaf[b])))
        alive = [f"!({test})"]
    for (thread, value), (target, left) in sorted(source.edges[b].items()):
        if thread != who or target < 0 or known.get(var, value) != value:
            continue
        test_value = [] if var in known else [f"v{var} == {value}"]
        after = dict(known)
        after[var] = left
        behind = source.node(target)
        if behind.ghost and behind.kind == STEP:
            _chain(source, t, target, [*guard, *test_value, *alive], after, out)
        else:
            changes = {v: x for v, x in after.items() if not (v == var and x == value and v not in known)}
            out.append((" && ".join([*guard, *test_value, *alive]) or "true", _assign(changes), target))


def _assign(values: dict[int, int]) -> list[str]:
    return [f"v{var} = {value}" for var, value in values.items()]


@dataclass(frozen=True)
class SpinResult:
    """The result of SPIN's verifier. errors: assertion violations and invalid end states. seconds, cpu_seconds: of all three
    steps (spin, the C compiler, the verifier); verifier_cpu: of the verifier alone."""

    states: int
    transitions: int
    errors: int
    seconds: float
    cpu_seconds: float
    verifier_cpu: float


def run_spin(model: str, *, reduce: bool = False, all_errors: bool = True, optimise: int = 2) -> SpinResult:
    """Verify a model with SPIN: safety, every state stored in full, no partial-order reduction unless `reduce`.
    optimise: how hard the C compiler tries.

    Raises MissingError where spin or a C compiler is not installed.
    """
    for program, package in (("spin", "spin"), ("gcc", "gcc")):
        if shutil.which(program) is None:
            raise MissingError(f"{program} is not installed", hint=f"apt-get install {package}")
    began, used = time.perf_counter(), _children()
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        (where / "model.pml").write_text(model)
        _call(["spin", "-a", "-o3", "model.pml"], where)
        flags = [f"-O{optimise}", "-DSAFETY", "-DNOFAIR", "-w"] + ([] if reduce else ["-DNOREDUCE"])
        _call(["gcc", *flags, "-o", "pan", "pan.c"], where)
        compiled = _children()
        arguments = ["./pan", f"-m{_DEPTH}", "-w22", "-n"] + (["-c0"] if all_errors else [])
        output = _call(arguments, where)
        seconds, cpu, verifier = time.perf_counter() - began, _children() - used, _children() - compiled

    def number(pattern: str) -> float:
        found = re.search(pattern, output)
        return float(found.group(1)) if found else 0.0

    if "max search depth too small" in output:
        raise UsageError("SPIN's search depth was too small", hint=f"it was {_DEPTH}")
    return SpinResult(
        int(number(r"(\d+(?:\.\d+e\+\d+)?) states, stored")), int(number(r"(\d+(?:\.\d+e\+\d+)?) transitions")),
        int(number(r"errors: (\d+)")), seconds, cpu, verifier,
    )  # fmt: skip


def _children() -> float:
    """CPU seconds of all finished children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _call(arguments: list[str], where: Path) -> str:
    done = subprocess.run(arguments, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode and arguments[0] != "./pan":
        raise UsageError(
            f"{arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}", hint="a bug in the export"
        )
    return done.stdout
