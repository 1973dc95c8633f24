"""The plain text against the generators it is made from: same ends, same times; and rewritings that are wrong on purpose."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import agewalk.model
from agewalk.core.direct import Direct
from agewalk.core.errors import InputError, ModelError
from agewalk.core.plain import PlainCopy, text
from agewalk.model.protocols.registry import PROTOCOLS
from agewalk.timing.costs import load_costs
from agewalk.timing.machine import Machine
from agewalk.timing.plain import PLAIN
from agewalk.timing.run import protocol_of

PAGES = 64


def modules(copy: PlainCopy | None) -> tuple[ModuleType, ModuleType, ModuleType]:
    names = ("agewalk.timing.world", "agewalk.timing.bodies", "agewalk.model.protocols.registry")
    world, bodies, registry = (copy.module(n) if copy else importlib.import_module(n) for n in names)
    return world, bodies, registry


def build(copy: PlainCopy | None, protocol: str, vcpus: int = 2) -> Any:
    """A world of the generators (no copy), or of a copy."""
    world, _, registry = modules(copy)
    made = world.build(kernel="6.13", protocol=registry.get_protocol(protocol), vcpus=vcpus, pages_per_vcpu=PAGES)
    if copy is None:
        Direct().run(world.boot(made))
    else:
        with copy.performed_by(Direct().operations()):
            world.boot(made)
    return made


def threads(copy: PlainCopy | None, w: Any) -> list[Any]:
    _, bodies, _ = modules(copy)
    parts = [*(partial(bodies.populate, w, v) for v in w.kvm.vcpus), partial(bodies.age_again, w, 2)]
    return [part() for part in parts] if copy is None else parts


def view(w: Any) -> str:
    ptes = [(i, c.field, c.value) for i, t in sorted(w.mm.tables.items()) for c in t.ptes.every()]
    folios = [(f.pfn, f.flags.value, f.refcount.value, len(f.mappings.value)) for f in w.memory.mem_map.values()]
    sptes = [(p.label, n, c.value) for p in w.kvm._pages.values() for n, c in sorted(p._entries.items())]
    lists = [[m.label for m in head.items] for gen in w.lruvec.folios for head in gen]
    return repr((ptes, folios, sptes, lists, w.memory.free.value, w.memory.batches.lru_add.value))


def directly(copy: PlainCopy | None, protocol: str) -> tuple[str, dict[str, int]]:
    w = build(copy, protocol)
    cpu = Direct()
    for body in threads(copy, w):
        if copy is None:
            cpu.run(body)
        else:
            with copy.performed_by(finite(cpu.operations())):
                body()
    return view(w), dict(cpu.counters)


def finite(do: ModuleType) -> ModuleType:
    """A fault may make a loop that never ends."""
    load, rounds = do.Load, iter(range(300_000))

    def counted(*args: Any) -> Any:
        if next(rounds, None) is None:
            raise ModelError("a loop without an end", hint="a seeded fault")
        return load(*args)

    vars(do)["Load"] = counted
    return do


def timed(copy: PlainCopy | None, protocol: str, cpus: int) -> tuple[object, ...]:
    w = build(copy, protocol)
    machine = Machine(cpus, costs=load_costs().with_values({"sched.slice": 10**9}), seed=3)
    for n, body in enumerate(threads(copy, w)):
        machine.spawn(f"t{n}", body, cpu=n % cpus)
    machine.run()
    per_thread = [(th.ended, th.stall, th.lock_wait, th.durations) for th in machine.threads]
    return view(w), dict(machine.counters), machine.effects, machine.transfers, per_thread


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_text_ends_where_the_generators_end(protocol: str) -> None:
    assert directly(PLAIN, protocol) == directly(None, protocol)
    on_one_cpu = timed(PLAIN, protocol, 1)
    assert on_one_cpu[:2] == directly(None, protocol)


@pytest.mark.parametrize("protocol", ["linux-6.13", "v7"])
def test_the_machine_reads_both_alike_to_the_picosecond(protocol: str) -> None:
    assert timed(PLAIN, protocol, 3) == timed(None, protocol, 3)


def test_no_step_of_the_model_is_left_a_generator() -> None:
    left = []
    for found in pkgutil.walk_packages(agewalk.model.__path__, "agewalk.model."):
        module = PLAIN.module(found.name)
        for function in _functions(module):
            if inspect.isgeneratorfunction(function):
                left.append(f"{module.__name__}.{function.__qualname__}")
                assert str(function.__annotations__["return"]).startswith("Iterator["), left
    assert left == ["agewalk_timed.model.mglru.walk.pieces", "agewalk_timed.model.profiles.features"]


def _functions(module: ModuleType) -> Iterator[Any]:
    for value in vars(module).values():
        for function in vars(value).values() if inspect.isclass(value) else [value]:
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                yield function


def test_tracebacks_show_the_source() -> None:
    world = PLAIN.module("agewalk.timing.world")
    assert world.__file__ == world.boot.__code__.co_filename == sys.modules["agewalk.timing.world"].__file__
    assert world.boot.__code__.co_firstlineno == sys.modules["agewalk.timing.world"].boot.__code__.co_firstlineno


# --- seeded faults ----------------------------------------------------------------------------------------------------


@pytest.fixture
def copy() -> Iterator[PlainCopy]:
    """A copy of its own, to be made while the rewriting is broken."""
    made = PlainCopy("agewalk_faulty", of=PLAIN.of, effects=PLAIN.vocabulary.effects)
    yield made
    sys.meta_path.remove(made)
    for name in [n for n in sys.modules if n.startswith("agewalk_faulty")]:
        del sys.modules[name]


def differs(copy: PlainCopy) -> bool:
    try:
        return directly(copy, "v7") != directly(None, "v7")
    except (ModelError, TypeError, AttributeError, KeyError):
        return True


def test_a_faithful_copy_does_not_differ(copy: PlainCopy) -> None:
    assert not differs(copy)


SITES = [("swap.py", "FetchAdd"), ("page_fault.py", "Count"), ("lists.py", "ListAdd")]


@pytest.mark.parametrize(("module", "effect"), SITES)
def test_a_yield_that_is_dropped_is_found(
    copy: PlainCopy, module: str, effect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement is not performed."""
    whole, dropped = text.plain_text, []

    def drops(source: bytes, path: str, vocabulary: text.Vocabulary) -> ast.Module:
        tree = whole(source, path, vocabulary)
        for node in ast.walk(tree):
            if (
                path.endswith(module)
                and isinstance(node, ast.Expr)
                and ast.unparse(node).startswith(f"__do__.{effect}(")
            ):
                node.value = ast.copy_location(ast.Constant(None), node.value)
                dropped.append(node)
        return tree

    monkeypatch.setattr("agewalk.core.plain.copy.plain_text", drops)
    assert differs(copy)
    assert dropped


def test_arguments_in_the_wrong_order_are_found(copy: PlainCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = text._Rewriter.visit_Yield

    def swaps(self: Any, node: ast.Yield) -> ast.expr:
        call = operation(self, node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "__do__.CompareExchange":
            call.args[1:3] = call.args[2:0:-1]
        return call

    monkeypatch.setattr(text._Rewriter, "visit_Yield", swaps)
    assert differs(copy)


# --- a user's own protocol --------------------------------------------------------------------------------------------

MINE = """
from agewalk.core.effects import Step
from agewalk.model.kvm.kvm import GfnRange, Kvm
from agewalk.model.protocols.linux_6_15 import Linux615

class Mine(Linux615):
    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> {returns}:
        return (yield from super().age_gfn(kvm, rng, clear=clear, fast_only=fast_only))
"""


def test_a_protocol_from_a_file_is_read_as_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(returns="Step[int]"))
    mine = protocol_of(f"{path}:Mine")
    assert not inspect.isgeneratorfunction(type(mine).age_gfn)
    assert timed(PLAIN, f"{path}:Mine", 2)[2:] == timed(PLAIN, "linux-6.15", 2)[2:]


def test_a_protocol_that_cannot_be_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(returns="int"))
    with pytest.raises(InputError, match=r"mine\.py, line 7: the generator age_gfn\(\) says int"):
        protocol_of(f"{path}:Mine")
