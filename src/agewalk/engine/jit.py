"""Compiling the engine once, and never running stale machine code.

`numba.njit(cache=True)` looks at the file of the function that it decorates and at no other, so an edited callee in a second
file leaves the old caller's machine code in place. Here the cache directory carries a digest of every source of the engine
(and of the versions of numba and NumPy), so an edit anywhere compiles everything anew.

What is kept there is entries: kernels that only kernels call have no machine code but theirs (`agewalk.engine.link`).

With `NUMBA_DISABLE_JIT=1` the decorator returns the plain function: every kernel also runs as Python.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy
import numpy.typing as npt
from numba.core import config as _config

from agewalk.core import build_cache
from agewalk.engine.link import Program, fits

#: An array of integers; kernels say in their docstring which.
Array = npt.NDArray[Any]
#: An integer: a machine word compiled, Python's or NumPy's under NUMBA_DISABLE_JIT.
Int = Any
#: Widen to a signed 64-bit integer: unsigned and signed operands never mix, compiled or not.
i64: Any = numpy.int64

F = TypeVar("F", bound=Callable[..., Any])
config: Any = _config  # its attributes are made at import

#: Whether kernels are compiled (False under NUMBA_DISABLE_JIT=1).
COMPILED: bool = not config.DISABLE_JIT
#: Whether what an entry reaches is compiled as one program (`agewalk.engine.link`), which takes half the time.
LINKED: bool = COMPILED and fits()


DIGEST = build_cache.digest(sorted(Path(__file__).parent.rglob("*.py")), numba.__version__, numpy.__version__)
_directory: Path | None = None


def directory() -> Path:
    """The cache directory of the running sources, made on first use."""
    global _directory
    if _directory is None:
        _directory = build_cache.directory(f"engine-{DIGEST}")
    return _directory


def _compiled(kernel: F, *, forceinline: bool = False, **options: Any) -> F:
    """Options are said outright: what is left open, numba takes over from whoever compiles first what calls this kernel."""
    if not COMPILED:
        return kernel
    compiler: Any = numba.njit
    before = config.CACHE_DIR
    config.CACHE_DIR = str(directory())  # read once, when the cache of this one function is set up
    try:
        # No kernel allocates, so none needs to count references to its arrays: calls get cheaper by half.
        compiled: Any = compiler(_nrt=False, no_cfunc_wrapper=True, forceinline=forceinline, **options)(kernel)
    finally:
        config.CACHE_DIR = before
    return cast("F", compiled)


class _Entry:
    """A kernel that Python calls, and other kernels do: for Python a program of its own, for them a part of theirs."""

    def __init__(self, kernel: Any) -> None:
        self._program: Any = _compiled(kernel, cache=True, pipeline_class=Program)
        self._part: Any = _compiled(kernel, no_cpython_wrapper=True, pipeline_class=Program)
        functools.update_wrapper(self, kernel)

    def __call__(self, *args: Any) -> Any:
        return self._program(*args)

    @property
    def _numba_type_(self) -> Any:
        """What numba sees where a kernel names this."""
        return self._part._numba_type_


def _inner(kernel: F, **options: Any) -> F:
    """Compile `kernel` for other kernels alone."""
    how: dict[str, Any] = {"pipeline_class": Program} if LINKED else {"cache": True}
    return _compiled(kernel, no_cpython_wrapper=True, **how, **options)


def entry(kernel: F) -> F:
    """Compile `kernel`, which Python calls, and all that it reaches, on its first call; with a cache that any change of the
    engine's sources empties."""
    if LINKED:
        return cast("F", _Entry(kernel))
    return _compiled(kernel, cache=True)


def njit(kernel: F) -> F:
    """Compile `kernel` as a part of the entries that reach it. Called from Python it raises a KeyError that says so (without
    LINKED the process would die; tests/engine/test_jit.py looks for such calls)."""
    return _inner(kernel)


def njit_inline(kernel: F) -> F:
    """Paste `kernel` into its few callers, before types are known."""
    return _inner(kernel, inline="always")


def njit_merge(kernel: F) -> F:
    """Compile `kernel`, and let the optimiser merge it into every caller: for what each fault and each eviction goes through."""
    return _inner(kernel, forceinline=True)


def is_warm() -> bool:
    """Whether `mark_warm` was called for these sources: a start will load machine code, not make it."""
    return not COMPILED or (directory() / "warm").exists()


def mark_warm() -> None:
    """Remember that everything has been compiled."""
    if COMPILED:
        (directory() / "warm").touch()
