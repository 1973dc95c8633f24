"""Does the kit notice a change anywhere in the engine? Draws small changes at random, and tries each against the kit.

    NUMBA_DISABLE_JIT=1 python -m tests.engine.mutants --sample 200 --seed 1 [--module eviction.isolate] [--limit 60]

A mutant is a function of the engine with one token or one statement changed. In a process of its own it meets the cases that
run the changed statement, first the quickest of each test. A line each: `caught`, and by what; `ALIVE`, after how many cases;
`never run`. What is alive is no change at all, or a gap in the kit; a fault that a person could make then belongs into the
list of tests/engine/faults.py.
"""

import argparse
import ast
import contextlib
import functools
import importlib
import inspect
import io
import itertools
import operator
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from hypothesis import Phase, settings

import agewalk

ENGINE = Path(next(iter(agewalk.__path__))) / "engine"
MODULES = (
    "access.batch", "access.folio_batches", "access.hit_path", "access.kvm_fault", "access.memoised_fault",
    "access.mm_fault", "aging.generations", "aging.look_around", "aging.page_table_walk", "aging.tiers", "aging.young_bitmap",
    "classic_lru.lists", "classic_lru.reclaim", "engine", "eviction.isolate", "eviction.reclaim",
    "eviction.shrink_folio_list", "eviction.uniform_batch", "quality", "state.huge", "state.lru_lists",
)  # fmt: skip
KIT = ("lists", "conformance", "huge", "nested", "two_list", "recut", "rows", "quality_causes", "quality")
OTHER: dict[type, Any] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Mutant(NamedTuple):
    """Bytes [start, end) of a module, in the statement at `line`, in `function`, become `after`."""

    module: str
    function: str
    line: int
    start: int
    end: int
    after: str

    def described(self) -> str:
        """On one line."""
        before = source(self.module).encode()[self.start : self.end].decode()
        return f"{self.module}.py:{self.line} {self.function}: {' '.join(before.split())}  ->  {self.after}"

    def code(self, text: str) -> CodeType:
        """The function then; text: the module."""
        source = text.encode()
        return _codes(compile(source[: self.start] + self.after.encode() + source[self.end :], self.module, "exec"))[
            self.function
        ]


class Case(NamedTuple):
    """A part of the kit, what it costs in seconds of CPU time, and the statements of the engine that it runs."""

    name: str
    run: Callable[[], object]
    seconds: float
    ran: set[tuple[str, int]]


def variants(node: ast.AST) -> Iterator[tuple[Any, str]]:
    """What could be changed about it: which part, into what."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in OTHER:
            for other in (ast.BinOp(left, OTHER[type(op)](), right), left, right):
                yield node, ast.unparse(other)
        case ast.Compare(left, ops, right):
            for i, each in enumerate(ops):
                if type(each) in OTHER:
                    yield node, ast.unparse(ast.Compare(left, [*ops[:i], OTHER[type(each)](), *ops[i + 1 :]], right))
        case ast.BoolOp(op, values):
            yield node, ast.unparse(ast.BoolOp(OTHER[type(op)](), values))
            for i in range(len(values)):
                yield node, ast.unparse(ast.BoolOp(op, values[:i] + values[i + 1 :]))
        case ast.UnaryOp(ast.Not() | ast.Invert(), operand):
            yield node, ast.unparse(operand)
        case ast.IfExp(_, body, other):
            yield node, ast.unparse(body)
            yield node, ast.unparse(other)
        case ast.If(test):
            yield from ((test, "False"), (test, "True"))
        case ast.While(test):
            yield test, "False"
        case ast.Constant(bool(value)):
            yield node, str(not value)
        case ast.Constant(int(value)):
            yield from ((node, str(n)) for n in (value + 1, value - 1) if n >= 0)
        case ast.AugAssign(target, op, value):
            yield node, ast.unparse(ast.AugAssign(target, OTHER[type(op)](), value))
            yield node, "pass"
        case ast.Assign([ast.Subscript() | ast.Attribute()]) | ast.Expr(ast.Call()) | ast.Return(None):
            yield node, "pass"
        case ast.Break() | ast.Continue():
            yield node, "pass"


def _parts(node: ast.AST, line: int) -> Iterator[tuple[ast.AST, int]]:
    """Everything in it, and in which line the statement begins that holds that."""
    line = node.lineno if isinstance(node, ast.stmt) else line
    yield node, line
    for inside in ast.iter_child_nodes(node):
        yield from _parts(inside, line)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods by their names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{n.name}", n) for n in node.body if isinstance(n, ast.FunctionDef))


def _codes(code: CodeType) -> dict[str, CodeType]:
    """What is compiled in it, by name."""
    inside = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {name: each for part in inside for name, each in ({part.co_qualname: part} | _codes(part)).items()}


def mutants_of(module: str, text: str) -> list[Mutant]:
    """Every mutant of every function of a source."""
    found = []
    begins = [0, *itertools.accumulate(len(line.encode()) for line in text.splitlines(keepends=True))]
    for name, function in _functions(ast.parse(text)):
        for part, line in (part for statement in function.body for part in _parts(statement, 0)):
            for node, after in variants(part):
                start = begins[node.lineno - 1] + node.col_offset
                end = begins[node.end_lineno - 1] + node.end_col_offset
                new = after if isinstance(node, ast.stmt) else f"({after})"
                found.append(Mutant(module, name, line, start, end, new))
    return found


def source(module: str) -> str:
    """Of a module of the engine."""
    return (ENGINE / f"{module.replace('.', '/')}.py").read_text()


def _put(module: str, function: str, code: CodeType) -> None:
    """Run `code` for a function of the engine, also where it was imported to."""
    holder: Any = importlib.import_module(f"agewalk.engine.{module}")
    *owner, name = function.split(".")
    found = vars(getattr(holder, owner[0]) if owner else holder)[name]
    getattr(found, "fget", found).__code__ = code


def _choices(test: Any) -> list[dict[str, Any]]:
    """What pytest would call it with."""
    choices: list[list[dict[str, Any]]] = []
    for mark in getattr(test, "pytestmark", ()):
        names, values = mark.args
        if isinstance(names, str):
            names, values = [names], [[value] for value in values]
        choices.append([dict(zip(names, value, strict=True)) for value in values])
    return [{key: value for part in parts for key, value in part.items()} for parts in itertools.product(*choices)]


def _tests() -> Iterator[tuple[str, Callable[[], object]]]:
    """The kit without pytest: every test with all its parameters, but those that want fixtures or start other processes."""
    settings.register_profile("mutants", phases=[Phase.generate], database=None)  # a failure is enough
    settings.load_profile("mutants")
    for module in ("decisions", "scaled"):
        yield module, importlib.import_module(f"tests.engine.{module}").alike
    for module in KIT:
        for name, test in vars(importlib.import_module(f"tests.engine.test_{module}")).items():
            if not name.startswith("test_") or "subprocess" in inspect.getsource(test):
                continue
            for number, choice in enumerate(_choices(test)):
                if set(choice) == set(inspect.signature(test).parameters):
                    yield f"{module}.{name}[{number}]", functools.partial(test, **choice)


class _Watch(ast.NodeTransformer):
    """Notes in `ran` which statements of a function run."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and not isinstance(node, ast.Module | ast.ClassDef):
                setattr(node, name, [each for s in block for each in (*ast.parse(f"ran[{s.lineno}] = 1").body, s)])
        return node


def measured() -> list[Case]:
    """The kit as it is, run once: every case."""
    tests = list(_tests())
    whole: dict[str, dict[str, CodeType]] = {}
    ran: dict[str, bytearray] = {}
    for module in MODULES:
        text = source(module)
        tree = ast.parse(text)
        names = [name for name, _ in _functions(tree)]
        whole[module] = _codes(compile(text, f"{module}.py", "exec"))
        watched = _codes(compile(ast.fix_missing_locations(_Watch().visit(tree)), f"{module}.py", "exec"))
        vars(importlib.import_module(f"agewalk.engine.{module}"))["ran"] = ran[module] = bytearray(text.count("\n") + 1)
        for name in names:
            _put(module, name, watched[name])
    cases = []
    for name, run in tests:
        start = time.process_time()
        run()
        seconds = time.process_time() - start
        cases.append(
            Case(name, run, seconds, {(m, i) for m, lines in ran.items() for i, hit in enumerate(lines) if hit})
        )
        for lines in ran.values():
            lines[:] = bytes(len(lines))
    for module in MODULES:
        for name, _ in _functions(ast.parse(source(module))):
            _put(module, name, whole[module][name])
    return cases


def _meets(mutant: Mutant, cases: list[Case], limit: float) -> str:
    _put(mutant.module, mutant.function, mutant.code(source(mutant.module)))
    start = time.process_time()
    for number, case in enumerate(cases):
        if time.process_time() - start > limit:
            return f"ALIVE  {number} of {len(cases)} cases"
        signal.setitimer(signal.ITIMER_VIRTUAL, 5 + 10 * case.seconds)  # at its end, so does the process
        try:
            case.run()
        except BaseException as error:  # pytest's own are no Exception
            return f"caught  {case.name}: {(str(error) or repr(error)).splitlines()[0][:70]}"
    return f"ALIVE  all of {len(cases)} cases"


def judged(mutant: Mutant, cases: list[Case], limit: float) -> str:
    """What the kit says, in at most `limit` seconds of CPU time and one case more."""
    place = (mutant.module, mutant.line)
    chosen: list[tuple[int, Case]] = []
    met = Counter[str]()
    for case in sorted(cases, key=lambda case: case.seconds):
        if place in case.ran:
            test = case.name.partition("[")[0]
            chosen.append((met[test], case))
            met[test] += 1
    if not chosen:
        return "never run"
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            os.write(
                theirs, _meets(mutant, [case for _, case in sorted(chosen, key=operator.itemgetter(0))], limit).encode()
            )
        os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours) as pipe:
        return pipe.read() or "caught  it comes to no end"


def main() -> None:
    """Draw, try, count."""
    options = argparse.ArgumentParser()
    options.add_argument("--sample", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--limit", type=float, default=60, help="seconds of CPU time a mutant")
    options.add_argument("--module", choices=MODULES, action="append", help="of these alone")
    asked = options.parse_args()
    everything = [m for name in asked.module or MODULES for m in mutants_of(name, source(name))]
    drawn = random.Random(asked.seed).sample(everything, min(asked.sample, len(everything)))
    cases = measured()
    print(f"{len(drawn)} of {len(everything)} mutants, {len(cases)} cases", flush=True)
    said = []
    for mutant in drawn:
        said.append(judged(mutant, cases, asked.limit))
        print(f"{mutant.described()}\n    {said[-1]}", flush=True)
    print(", ".join(f"{sum(s.startswith(what) for s in said)} {what}" for what in ("caught", "ALIVE", "never run")))


if __name__ == "__main__":
    main()
