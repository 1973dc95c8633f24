"""The innermost modules of the machine, compiled: one text, read by the interpreter or by Cython and a C compiler.

Beside each such module lies a `.pxd` that tells the compiler which numbers are machine words and which objects have fixed fields.
The module itself is ordinary Python and says all that happens. It is compiled on the first use of `agewalk timing` and kept with
the user's other caches, under a digest of the sources and of both compilers: an edit is compiled anew, never passed over. Without
a C compiler, or with AGEWALK_TIMING=text, the interpreter reads the modules: the same results, at half the speed or less.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from agewalk.core import cells
from agewalk.core.files import caches

MODULES: Final = ("lines", "threads", "events", "coherence", "holding", "locks", "turns", "operations")
LAYOUT: Final = "memory.pxd"  # where the interpreter keeps the fields of core/cells.py
PACKAGE: Final = "agewalk.timing"
SUFFIX: Final = EXTENSION_SUFFIXES[0]
# Names are looked up and integers wrap as in the interpreter; sums of products are rounded as there (no fused multiply-add).
CYTHON: Final = ("-3", "-X", "annotation_typing=False", "-X", "binding=False")
CC: Final = ("-O2", "-fPIC", "-shared", "-fno-strict-aliasing", "-fwrapv", "-ffp-contract=off", "-w")
# Sifts are within their heap by construction.
OWN: Final = {"events": ("-X", "boundscheck=False", "-X", "wraparound=False")}
FAILED: Final = "failed"
# Run in a process of its own before anything is kept: modules that read memory wrongly may well crash.
TRY: Final = "import sys; from agewalk.timing.compiled import try_out; try_out(*sys.argv[1:])"


class CannotCompile(Exception):
    """What a compiler printed."""


def _here() -> Path:
    return Path(__file__).parent


def c_compiler() -> list[str] | None:
    """The command of the C compiler: $CC, what Python was built with, or cc; None if there is none."""
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        words = shlex.split(command) if command else []
        if words and shutil.which(words[0]):
            return words
    return None


def text_is_wanted() -> bool:
    """Has the user asked for the interpreter?"""
    return os.environ.get("AGEWALK_TIMING") == "text"


@cache
def directory() -> Path | None:
    """Where the compiled modules of these sources are, or will be. None if nothing can be compiled or kept here."""
    compiler, cython = c_compiler(), find_spec("Cython")
    if compiler is None or cython is None or cython.origin is None:
        return None
    try:
        home = caches()
    except RuntimeError:  # nobody has a home here
        return None
    how = "\0".join([sys.version, sysconfig.get_platform(), *CYTHON, repr(OWN), *CC, *compiler])
    seen = hashlib.sha256(how.encode())
    named = Path(cython.origin).with_name("Shadow.py")  # says which version it is, and is read in no time
    ours = [_here() / f"{name}{ending}" for name in MODULES for ending in (".py", ".pxd")]
    for path in (named, Path(cells.__file__), _here() / LAYOUT, *ours):
        text = path.read_bytes()
        seen.update(f"\0{path.name}\0{len(text)}\0".encode() + text)
    return home / f"timing-{seen.hexdigest()[:16]}"


class _Finder(MetaPathFinder):
    """Imports the compiled modules from where they are kept."""

    def __init__(self, folder: Path) -> None:
        self.paths = {f"{PACKAGE}.{name}": folder / f"{name}{SUFFIX}" for name in MODULES}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system asks."""
        file = self.paths.get(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, str(file)))


def install() -> bool:
    """Have the compiled modules imported from now on, all or none. Are they? Asked when the package is imported."""
    if text_is_wanted():
        return False
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return True
    folder = directory()
    if folder is None or not all((folder / f"{name}{SUFFIX}").exists() for name in MODULES):
        return False
    sys.meta_path.insert(0, _Finder(folder))
    return True


def compile_once(say: Callable[[str], None] | None = None) -> bool:
    """Compile what has not been compiled for these sources. Are the compiled modules in use?

    say: told what takes a quarter of a minute, or why the interpreter has to do. To be called before the modules are imported.
    """
    if install():
        return True
    if text_is_wanted():
        return False
    tell = say or (lambda _: None)
    folder = directory()
    if folder is None:
        tell("timing: no C compiler or no Cython here: the machine is interpreted, half as fast")
        return False
    if (folder / FAILED).exists():
        tell(f"timing: the machine is interpreted, half as fast; it could not be compiled: see {folder / FAILED}")
        return False
    tell("timing: compiling the modelled machine, once: a quarter of a minute")
    try:
        _build(folder)
    except OSError as error:
        tell(f"timing: the machine is interpreted, half as fast: {error}")
        return False
    except CannotCompile as error:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILED).write_text(str(error))
        tell(f"timing: it could not be compiled, so it is interpreted, half as fast; see {folder / FAILED}")
        return False
    if any(f"{PACKAGE}.{name}" in sys.modules for name in MODULES):
        tell("timing: compiled for the next start; this one has loaded the text already")
        return False
    return install()


def _build(folder: Path) -> None:
    """Compile all modules, side by side, into a folder that appears when it is complete. Raises CannotCompile, OSError."""
    import tempfile
    from concurrent.futures import ThreadPoolExecutor

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".timing-", dir=folder.parent) as part:
        ready = Path(part) / "ready"
        ready.mkdir()
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for done in [pool.submit(_compile, name, Path(part), ready) for name in MODULES]:
                done.result()
        _run([sys.executable, "-c", TRY, str(ready), *MODULES], Path(cells.__file__).parents[2])
        try:
            ready.rename(folder)
        except OSError:  # somebody else was faster
            if not folder.exists():
                raise


def try_out(folder: str, *names: str) -> None:
    """Import compiled modules from a folder. Raises ImportError if they do not find the fields of the model's memory."""
    sys.meta_path.insert(0, _Finder(Path(folder)))
    for name in names:
        import_module(f"{PACKAGE}.{name}")
    lines = import_module(f"{PACKAGE}.lines")
    if lines.__file__ is None or not lines.__file__.endswith(SUFFIX) or not lines.layout_holds():
        raise ImportError(f"fields of {cells.__name__} do not lie where {LAYOUT} says")


def _compile(name: str, part: Path, ready: Path) -> None:
    """One module: to C, and to an extension module. Paths are relative, so that no place is compiled in."""
    root = _here().parents[1]
    text = part / f"{name}.c"
    source = Path(*PACKAGE.split("."), f"{name}.py")
    _run([sys.executable, "-m", "cython", *CYTHON, *OWN.get(name, ()), "-I", ".", str(source), "-o", str(text)], root)
    include = sysconfig.get_paths()["include"]
    _run([*(c_compiler() or ()), *CC, f"-I{include}", text.name, "-o", str(ready / f"{name}{SUFFIX}")], part)


def _run(command: list[str], where: Path) -> None:
    import subprocess

    done = subprocess.run(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise CannotCompile(f"{shlex.join(command)}\n{done.stdout}")
