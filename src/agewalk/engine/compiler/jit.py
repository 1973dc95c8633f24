"""Compiling the engine once, and never running stale machine code.

`numba.njit(cache=True)` looks at the file of the function that it decorates and at no other, so an edited callee in a second
file leaves the old caller's machine code in place. Here the cache directory carries a digest of every source of the engine
(and of the versions of numba and NumPy), so an edit anywhere compiles everything anew.

With `NUMBA_DISABLE_JIT=1` the decorators return the plain function: every compiled function also runs as Python.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy
import numpy.typing as npt
from numba.core import config as _config

from agewalk.core import build_cache

#: An array of integers; functions say in their docstring which.
Array = npt.NDArray[Any]
#: An integer: a machine word compiled, Python's or NumPy's under NUMBA_DISABLE_JIT.
Int = Any
#: Widen to a signed 64-bit integer: unsigned and signed operands never mix, compiled or not.
i64: Any = numpy.int64

F = TypeVar("F", bound=Callable[..., Any])
config: Any = _config  # its attributes are made at import

#: Whether functions are compiled (False under NUMBA_DISABLE_JIT=1).
COMPILED: bool = not config.DISABLE_JIT


DIGEST = build_cache.digest(
    sorted(Path(__file__).parents[1].rglob("*.py")), numba.__version__, numpy.__version__, stamps=True
)
_directory: Path | None = None


def directory() -> Path:
    """The cache directory of the running sources, made on first use."""
    global _directory
    if _directory is None:
        _directory = build_cache.directory(f"engine-{DIGEST}")
    return _directory


def _compiled(function: F, *, forceinline: bool = False, **options: Any) -> F:
    """Options are given in full: numba takes what is left open from the first compiled caller of this function."""
    if not COMPILED:
        return function
    compiler: Any = numba.njit
    before = config.CACHE_DIR
    config.CACHE_DIR = str(directory())  # read once, when the cache of this one function is set up
    try:
        # No function here allocates, so none needs to count references to its arrays: calls get cheaper by half.
        fixed: dict[str, Any] = {"cache": True, "_nrt": False, "no_cfunc_wrapper": True, "forceinline": forceinline}
        compiled: Any = compiler(**fixed, **options)(function)
    finally:
        config.CACHE_DIR = before
    return cast("F", compiled)


def entry(function: F) -> F:
    """Compile `function`, which Python calls, and all that it reaches, on its first call; with a cache that any change of the
    engine's sources empties."""
    return _compiled(function)


def njit(function: F) -> F:
    """Compile `function` as a part of the entries that reach it. It has no way in from Python."""
    return _compiled(function, no_cpython_wrapper=True)


def njit_inline(function: F) -> F:
    """Paste `function` into its few callers, before types are known."""
    return _compiled(function, no_cpython_wrapper=True, inline="always")


def njit_merge(function: F) -> F:
    """Compile `function`, and let the optimiser merge it into every caller: for what each fault and eviction goes through."""
    return _compiled(function, no_cpython_wrapper=True, forceinline=True)


def is_warm() -> bool:
    """Whether `mark_warm` was called for these sources: a start will load machine code, not make it."""
    return not COMPILED or (directory() / "warm").exists()


def mark_warm() -> None:
    """Remember that everything has been compiled."""
    if COMPILED:
        (directory() / "warm").touch()
