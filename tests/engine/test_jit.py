"""The compiler's cache: keyed by all sources, writable by the user, told about; and kernels that Python must not call."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agewalk.core.errors import UsageError
from agewalk.engine.compiler import jit
from agewalk.engine.compiler.state_types import count_bits, lowest_bit, which_of, window
from agewalk.engine.engine import build
from agewalk.engine.state import features
from agewalk.engine.state import layout as at
from agewalk.engine.state.arrays import State
from agewalk.engine.state.config import Host, Space
from agewalk.engine.state.truth_table import MODES


def test_importing_the_package_loads_no_compiler() -> None:
    code = "import sys, agewalk.engine; sys.exit('numba' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_page_costs_less_than_24_bytes() -> None:
    for policy, most in (("mglru", 22), ("two-list", 24)):
        host = Host([Space("vm", 1 << 20)], 1 << 20, {}, policy=policy)
        state = build(host, np.zeros((3, MODES * 8), np.uint8))
        assert sum(array.nbytes for array in state) / (1 << 20) < most


def test_unknown_features_and_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="does not know the feature 'time_travel'"):
        features.encode({"time_travel": True})
    with pytest.raises(UsageError, match="shrink_loop cannot be 'never'"):
        features.encode({"shrink_loop": "never"})
    for nothing in (Host([], 10, {}), Host([Space("vm", 8)], 0, {})):
        with pytest.raises(UsageError, match="a host needs a space and a page of memory"):
            build(nothing, np.zeros((3, MODES * 8), np.uint8))
    with pytest.raises(UsageError, match=r"2,147,483,648 pages in all"):
        build(Host([Space("vm", 1 << 31)], 8, {}), np.zeros((3, MODES * 8), np.uint8))


@jit.entry
def _row_of(s: State, folio: jit.Int) -> jit.Int:
    row = s.asked[1]
    row[3] += s.folios[folio, at.META]
    return row[3] + s.word[at.NOW]


def test_kernels_see_a_state_as_it_is() -> None:
    """Elements, rows, stores of every width; the same arrays, not copies."""
    state = build(Host([Space("vm", 1024)], 1024, {}), np.zeros((3, MODES * 8), np.uint8))
    state.folios[1023, at.META], state.asked[1, 3], state.word[at.NOW] = -7, 50, 1 << 40
    assert _row_of(state, 1023) == 43 + (1 << 40)
    assert (state.asked[1, 3], state.asked.sum()) == (43, 43)


@jit.entry
def _sums(s: State, first: jit.Int, count: jit.Int, out: jit.Array) -> None:
    which = which_of(s.pte_bits, first, count, 5)
    out[0] = count_bits(which)
    while which:
        out[1] += first + lowest_bit(which)
        which &= which - 1
    out[2] = count_bits(
        ~which_of(s.folios, first, count, at.MAPPED | at.ZERO) & which_of(s.pte_bits, first, count, 255)
    )
    block, shift = first // 64, first % 64
    s.listed[0], s.listed[1] = (
        which_of(s.pte_bits, block * 64, 64, 9),
        which_of(s.pte_bits, min(block + 1, 15) * 64, 64, 9),
    )
    joined = window(s.listed[0], s.listed[1], shift, count)
    out[3] = count_bits(joined & ~which_of(s.pte_bits, first, count, 9)) + count_bits(
        which_of(s.pte_bits, first, count, 9) & ~joined
    )


def test_windows_of_up_to_64_elements() -> None:
    """Vectors find what NumPy finds, and so does plain Python; nothing is seen beyond the window, or the end of the arrays."""
    state = build(Host([Space("vm", 1024)], 1024, {}), np.zeros((3, MODES * 8), np.uint8))
    dice = np.random.default_rng(1)
    state.pte_bits[:] = dice.integers(0, 256, 1024) * dice.integers(0, 2, 1024)
    state.folios[:, at.META] = dice.integers(-(1 << 31), 1 << 31, len(state.folios))
    state.folios[:, at.SLOT] = -1
    for first, count in [(0, 64), (0, 1), (63, 2), (500, 64), (960, 64), (1023, 1), (1000, 24), (300, 63)]:
        touch, meta = state.pte_bits[first : first + count], state.folios[first : first + count, at.META]
        found = np.flatnonzero(touch & 5)
        wanted = [
            len(found),
            int((found + first).sum()),
            int(((touch != 0) & (meta & (at.MAPPED | at.ZERO) == 0)).sum()),
            0,  # two words of 64, side by side, say the same
        ]
        out = np.zeros(4, np.int64)
        _sums(state, first, count, out)
        assert out.tolist() == wanted, (first, count)


@pytest.mark.skipif(not jit.COMPILED, reason="plain Python indexes the arrays themselves")
def test_a_state_of_other_arrays_is_refused() -> None:
    state = build(Host([Space("vm", 1024)], 1024, {}), np.zeros((3, MODES * 8), np.uint8))
    with pytest.raises(TypeError, match=r"State\.word is not a contiguous array"):
        _row_of(state._replace(word=state.word[::2]), 0)


INNER = {"njit", "njit_inline", "njit_merge"}
ROOT = Path(__file__).parents[2]


def _decorators(node: ast.FunctionDef) -> set[str]:
    return {ast.unparse(d).rpartition(".")[2] for d in node.decorator_list}


def _inner(text: str) -> set[str]:
    return {n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and INNER & _decorators(n)}


def _called_from_python(text: str, module: str, inner: dict[str, set[str]]) -> list[str]:
    """Compiled functions (by module) without a way in from Python that a source names outside of compiled ones."""
    tree = ast.parse(text)
    known = {name: f"{module}.{name}" for name in inner.get(module, ())}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("agewalk.engine"):
            for alias in node.names:
                if alias.name in inner.get(node.module, ()):
                    known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                for inside in inner.get(f"{node.module}.{alias.name}", ()):
                    known[f"{alias.asname or alias.name}.{inside}"] = f"{node.module}.{alias.name}.{inside}"
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef) and (INNER | {"entry"}) & _decorators(node):
            return
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in known:
            found.append(known[ast.unparse(node)])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def test_python_calls_no_function_that_has_no_way_in() -> None:
    """The process would die."""
    folders = ("src/agewalk/engine", "src/agewalk/study", "src/agewalk/cli", "bench", "tests/engine")
    sources = {path: path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")}
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("src.") for path in sources}
    inner = {names[path]: _inner(text) for path, text in sources.items()}
    assert "list_add" in inner["agewalk.engine.state.lru_lists"]
    for path, text in sources.items():
        if path.name != "decisions.py":  # runs without the compiler
            assert not _called_from_python(text, names[path], inner), path


def test_such_a_call_is_found() -> None:
    inner = {"agewalk.engine.state.lru_lists": {"list_add"}}
    for call in (
        "from agewalk.engine.state.lru_lists import list_add\nlist_add()",
        "from agewalk.engine.state import lru_lists as l\nl.list_add()",
    ):
        assert _called_from_python(call, "x", inner) == ["agewalk.engine.state.lru_lists.list_add"]
    assert not _called_from_python("@entry\ndef f():\n    list_add()\n", "agewalk.engine.state.lru_lists", inner)
