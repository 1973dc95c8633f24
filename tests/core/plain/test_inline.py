"""Which functions of one line stand in the place of their calls, and which calls stay."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

from agewalk.core.plain.inline import OneLiner, one_liners

MODULE = """
from agewalk.core.units import Pfn
BIT = 32
low = 3
def young(pte): return bool(pte & BIT)
def pfn(pte, shift=12): return Pfn(pte >> shift)
def twice(a, *, b): return a + a if b else b.c
def truth(a): return bool(a)
def lower(a): return a & low
def calls(a): return young(a)
def index(a, b): return a[b]
def many(*a): return a
@staticmethod
def decorated(a): return a
def longer(a):
    a += 1
    return a
"""


@pytest.fixture
def lines(tmp_path: Path) -> dict[str, OneLiner]:
    (tmp_path / "mine.py").write_text(MODULE)
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return one_liners(module)


def test_only_what_means_the_same_elsewhere(lines: dict[str, OneLiner]) -> None:
    assert set(lines) == {"young", "pfn", "twice"}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("young(x)", "x & 32 != 0"),
        ("young(a.b + 1)", "a.b + 1 & 32 != 0"),
        ("pfn(x)", "x >> 12"),
        ("pfn(x, n)", "x >> n"),
        ("twice(x, y.z)", None),  # b is needed twice
        ("twice(x, y)", "x + x if y else y.c"),
        ("twice(y.z, x)", None),  # a likewise
        ("young(f(x))", None),  # an effect may be in there
        ("young(x[0])", None),
        ("young(pte=x)", None),
        ("young(*x)", None),
        ("young()", None),
        ("young(x, y)", None),
    ],
)
def test_a_call(lines: dict[str, OneLiner], call: str, expected: str | None) -> None:
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    line = lines[call.partition("(")[0]].called(node)
    assert (None if line is None else ast.unparse(line)) == (
        None if expected is None else ast.unparse(ast.parse(expected))
    )
    assert line is None or {getattr(n, "lineno", 1) for n in ast.walk(line)} == {1}
