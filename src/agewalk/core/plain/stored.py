"""The rewritten modules, compiled and kept for the next process: rewriting takes far longer than running what was rewritten.

What a module becomes hangs on its own source, on those of its like, and on the rewriting: so an entry is good only for the very
texts of the whole package, the path and the interpreter that it was made from. One file a module, made anew when any of that
changes. It lies where the user's other caches do; if it cannot be read or written, modules are rewritten as if there were none.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType

from agewalk.core.files import caches, whole


def directory() -> Path:
    """Where they are kept."""
    return caches() / "plain"


@cache
def digest_of(package: Path) -> bytes:
    """Over the path and text of every Python source below a directory, and the interpreter."""
    seen = hashlib.sha256(f"{sys.version} {sys.flags.optimize}".encode() + MAGIC_NUMBER)
    for folder, below, names in os.walk(package):
        below.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(folder, name)  # noqa: PTH118 (a Path a file would take as long as the reading)
                with open(path, "rb") as file:  # noqa: PTH123
                    text = file.read()
                seen.update(f"\0{path}\0{len(text)}\0".encode() + text)
    return seen.digest()


def kept(name: str, path: str, source: bytes, about: str, make: Callable[[], CodeType]) -> CodeType:
    """The code of module `name`, from `source` in the file `path`: as it was kept, or else made and kept.

    about: what else decides how it is made, beside all sources of the package.
    A file outside the package, a user's own, is always made: nobody knows what else it hangs on.
    """
    package = Path(__file__).parents[2]
    if not Path(path).is_relative_to(package):
        return make()
    key = digest_of(package) + hashlib.sha256(f"{name}\0{path}\0{about}\0".encode() + source).digest()
    file = f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:8]}.{sys.implementation.cache_tag}"
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody has a home here
        found = (directory() / file).read_bytes()
        seal, payload = found[:32], found[32:]
        if seal == hashlib.sha256(key + payload).digest():
            code = marshal.loads(payload)  # sealed with a digest of what it was made from
            if isinstance(code, CodeType):
                return code
    code = make()
    payload = marshal.dumps(code)
    # others may be writing the same
    with contextlib.suppress(OSError, RuntimeError), whole(directory() / file, durable=False) as part:
        part.write_bytes(hashlib.sha256(key + payload).digest() + payload)
    return code
