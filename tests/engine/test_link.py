"""Programs: kernels that are optimised together; each in the machine code of every entry that reaches it, and nowhere else."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agewalk.engine import jit, link
from agewalk.engine.jit import Array, Int

pytestmark = pytest.mark.skipif(not jit.COMPILED, reason="nothing is compiled")


@jit.njit
def _deepest(out: Array, i: Int) -> Int:
    if i >= out.shape[0]:
        raise IndexError("beyond the end")
    out[i] += 1
    return out[i]


@jit.njit_merge
def _left(out: Array, i: Int) -> Int:
    return 10 * _deepest(out, i)


@jit.njit
def _right(out: Array, i: Int) -> Int:
    return 100 * _deepest(out, i)


@jit.njit_inline
def _pasted(out: Array, i: Int) -> Int:
    return 1000 * _deepest(out, i)


@jit.entry
def _upper(out: Array, i: Int) -> Int:
    return _left(out, i) + _right(out, i) + _pasted(out, i)


@jit.entry
def _top(out: Array, i: Int) -> Int:
    """An entry that calls one: `_upper` is a part of it."""
    return _upper(out, i) + _right(out, i)


def test_entries_share_kernels_and_call_one_another() -> None:
    """By whatever way, and from Python as well: one array, one count."""
    out = np.zeros(3, np.int64)
    assert _top(out, 1) == 10 * 1 + 100 * 2 + 1000 * 3 + 100 * 4
    assert _upper(out, 1) == 10 * 5 + 100 * 6 + 1000 * 7
    assert out.tolist() == [0, 7, 0]


def test_an_error_below_reaches_python() -> None:
    for call in (_top, _upper):
        with pytest.raises(IndexError, match="beyond the end"):
            call(np.zeros(3, np.int64), 3)


def test_types_that_an_entry_meets_later_are_compiled_then() -> None:
    out = np.zeros(2, np.int16)
    assert _upper(out, 0) == 10 + 200 + 3000
    assert out.dtype == np.int16
    assert out.tolist() == [3, 0]


@pytest.mark.skipif(not jit.LINKED, reason="this numba cannot link them")
def test_a_kernel_for_kernels_refuses_python() -> None:
    _top(np.zeros(3, np.int64), 0)
    inner: Any = getattr(sys.modules[__name__], "_deepest")  # noqa: B009  (test_jit.py looks for the plain call)
    with pytest.raises(KeyError, match="_deepest is compiled for other kernels alone"):
        inner(np.zeros(3, np.int64), 0)


def test_the_numba_we_pin_can_link() -> None:
    assert link.fits()


PLAIN = """
from agewalk.engine import link
link.fits = lambda: False
import numpy as np
from agewalk.engine import jit
from agewalk.engine.rows import Rows, end_of_tick, plain
assert not jit.LINKED

@jit.njit
def inner(out, i):
    return out[i] + 1

@jit.entry
def outer(out, i):
    return 2 * inner(out, i)

assert outer(np.arange(3), 2) == 6
rows = plain(np.zeros(0, np.uint32), np.zeros(0, np.uint8))._replace(time=np.arange(9))
assert end_of_tick(rows, 0, 9, 4) == 4
"""


def _python(code: str, cache: Path) -> "subprocess.Popen[bytes]":
    script = cache / "program.py"  # numba caches what is in a file
    script.write_text(code)
    environment = {**os.environ, "AGEWALK_CACHE": str(cache), "NUMBA_DISABLE_JIT": "0"}
    return subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE)


def test_without_linking_numba_compiles_as_ever(tmp_path: Path) -> None:
    for _ in range(2):  # the second time from the cache
        assert _python(PLAIN, tmp_path).wait(timeout=120) == 0


SHARED = """
import numpy as np
from agewalk.engine import jit

@jit.njit
def inner(out, i):
    return out[i] + 1

@jit.entry
def outer(out, i):
    for _ in range(3):
        i = inner(out, i)
    return i

@jit.entry
def other(out, i):
    return inner(out, i) + outer(out, i)

print(outer(np.arange(9), 2), other(np.arange(9), 1), sum(outer._program.stats.cache_hits.values()), flush=True)
"""


def _printed(process: "subprocess.Popen[bytes]") -> list[int]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return [int(word) for word in out.split()]


@pytest.mark.skipif(not jit.LINKED, reason="what is cached differs")
def test_the_cache_holds_entries_whole(tmp_path: Path) -> None:
    """Two processes that compile at once, one that is killed while it compiles, one that finds everything: one answer."""
    both = [_python(SHARED, tmp_path) for _ in range(2)]
    assert [_printed(process)[:2] for process in both] == [[5, 6]] * 2
    assert _printed(_python(SHARED, tmp_path)) == [5, 6, 1]
    kept = {path.name.split("-")[0] for path in tmp_path.rglob("*.nbc")}
    assert kept == {"program.outer", "program.other"}

    for path in tmp_path.rglob("*.nb?"):
        path.unlink()
    process = _python(SHARED, tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("program.outer-*.nb?")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=60)
    assert _printed(_python(SHARED, tmp_path))[:2] == [5, 6]
