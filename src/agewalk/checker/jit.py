"""Compiling the search once, and never running stale machine code.

`numba.njit(cache=True)` looks at the file of the function that it decorates and at no other, so an edited callee in a second
file would leave the old caller's machine code in place. The cache directory therefore carries a digest of every compiled
file of this package (their names end in _numba.py) and of the versions of numba and NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
from numba.core import config as _config

from agewalk.core import build_cache

_settings: Any = _config  # its attributes are made at import
_files: Final = [*sorted(Path(__file__).parent.rglob("*_numba.py")), Path(__file__)]
_CACHE: Final = build_cache.directory(
    f"check-{build_cache.digest(_files, numba.__version__, np.__version__, stamps=True)}"
)


def is_first_use() -> bool:
    """Is there no compiled search yet? Then the first search takes half a minute more."""
    return not any(_CACHE.iterdir())


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit with a cache that any change of the compiled files empties."""

    def decorate(function: Callable[..., Any]) -> Any:
        compiler: Any = numba.njit
        before = _settings.CACHE_DIR
        _settings.CACHE_DIR = str(_CACHE)  # read once, when the cache of this one function is set up
        try:
            return compiler(cache=True, **options)(function)
        finally:
            _settings.CACHE_DIR = before

    return decorate
