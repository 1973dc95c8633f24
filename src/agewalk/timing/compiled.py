"""Compiles the inner modules of the machine with Cython and a C compiler; the interpreter can run the same files.

Each such module is ordinary Python. The `.pxd` beside it declares which numbers are machine words and which objects have fixed
fields. Cells and effects are among them: the model makes one effect for each step, the machine reads its fields. Modules are
compiled on the first use of `agewalk timing` and kept with the user's other caches, under a digest of the sources and of both
compilers, so that an edit is compiled anew. Without a C compiler, or with AGEWALK_TIMING=text, the interpreter runs the modules:
the same results, at a third of the speed.

A process imports all of these modules compiled or none. The checker's processes, which look into effects and cells, import none;
a process that has imported cells already runs experiments in worker processes (`run.run_all`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from agewalk.core import build_cache, isolated
from agewalk.core.files import caches

CORE: Final = (
    "core.cells",
    "core.effects.memory",
    "core.effects.locking",
    "core.effects.marks",
)
MODULES: Final = (
    *CORE,
    "timing.hardware.cache_lines",
    "timing.threads",
    "timing.scheduler.events",
    "timing.hardware.coherence",
    "timing.locks.uncontended",
    "timing.locks.qspinlock",
    "timing.locks.qrwlock",
    "timing.locks.rwsem",
    "timing.scheduler.generators",
    "timing.scheduler.scheduler",
    "timing.operations",
)
PACKAGE: Final = "agewalk"
SUFFIX: Final = EXTENSION_SUFFIXES[0]
# Integers and names behave as in the interpreter; no fused multiply-add, so that rounding is the interpreter's, too.
CYTHON: Final = ("-3", "-X", "annotation_typing=False", "-X", "binding=False")
CC: Final = ("-O2", "-fPIC", "-shared", "-fno-strict-aliasing", "-fwrapv", "-ffp-contract=off", "-w")
# Indices are within the heap by construction.
OWN: Final = {"timing.scheduler.events": ("-X", "boundscheck=False", "-X", "wraparound=False")}
FAILED: Final = "failed"


class CannotCompile(Exception):
    """A compiler failed; the message is what it printed."""


def _here() -> Path:
    return Path(__file__).parents[1]


def c_compiler() -> list[str] | None:
    """The command of the C compiler: $CC, what Python was built with, or cc; None if there is none."""
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        words = shlex.split(command) if command else []
        if words and shutil.which(words[0]):
            return words
    return None


def text_is_wanted() -> bool:
    """Whether AGEWALK_TIMING=text asks for the interpreter."""
    return os.environ.get("AGEWALK_TIMING") == "text"


@cache
def name() -> str | None:
    """The name of these sources' directory in the cache of compiled code; None if nothing can be compiled here."""
    compiler, cython = c_compiler(), find_spec("Cython")
    if compiler is None or cython is None or cython.origin is None:
        return None
    shadow = Path(cython.origin).with_name("Shadow.py")  # a short file that holds Cython's version
    ours = [_here() / f"{module.replace('.', '/')}{ending}" for module in MODULES for ending in (".py", ".pxd")]
    how = [sysconfig.get_platform(), *CYTHON, repr(OWN), *CC, *compiler]
    return f"timing-{build_cache.digest([shadow, *ours], *how)}"


def _kept() -> Path | None:
    """The directory of the compiled modules if it is complete and no other user can have written there."""
    named = name()
    try:
        folder = caches() / named if named else None
    except RuntimeError:  # no home directory
        return None
    if folder is None or not all((folder / f"{module}{SUFFIX}").exists() for module in MODULES):
        return None
    return None if build_cache.distrust(folder) else folder


class _Finder(MetaPathFinder):
    """Imports the compiled modules from where they are kept."""

    def __init__(self, folder: Path) -> None:
        self.paths = {f"{PACKAGE}.{module}": folder / f"{module}{SUFFIX}" for module in MODULES}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The place of a compiled module; None for other modules."""
        file = self.paths.get(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, str(file)))


def install() -> bool:
    """Install the import hook for the compiled modules, all or none. Returns whether it is active. Called when the package is
    imported."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return True
    folder = None if text_is_wanted() else _kept()
    if folder is None or any(f"{PACKAGE}.{module}" in sys.modules for module in MODULES):
        return False
    sys.meta_path.insert(0, _Finder(folder))
    return True


def workers_are_faster() -> bool:
    """Whether a new process would import the compiled modules, where this one has imported the interpreted ones."""
    return not install() and not text_is_wanted() and _kept() is not None


def compile_once(say: Callable[[str], None] | None = None) -> bool:
    """Compile the modules if these sources have not been compiled. Returns whether the compiled modules are in use.

    Call it before the modules are imported. say: receives what is done and how long it takes, or why the interpreter is used.
    """
    if install():
        return True
    if text_is_wanted() or _kept() is not None:
        return False
    tell = say or (lambda _: None)
    named = name()
    if named is None:
        tell("timing: no C compiler or no Cython here: the machine is interpreted, at a third of the speed")
        return False
    try:
        folder = build_cache.directory(named)
    except OSError as error:
        tell(f"timing: the machine is interpreted, at a third of the speed: {error}")
        return False
    if (folder / FAILED).exists():
        tell(
            f"timing: the machine is interpreted, at a third of the speed; it could not be compiled: see {folder / FAILED}"
        )
        return False
    tell("timing: compiling the modelled machine with Cython, once; takes about half a minute")
    try:
        _build(folder)
    except OSError as error:
        tell(f"timing: the machine is interpreted, at a third of the speed: {error}")
        return False
    except CannotCompile as error:
        (folder / FAILED).write_text(str(error))
        tell(
            f"timing: the machine could not be compiled and is interpreted, at a third of the speed; see {folder / FAILED}"
        )
        return False
    return install()


def _build(folder: Path) -> None:
    """Compile all modules into a folder, as many at a time as there are CPUs. Raises CannotCompile, OSError.

    An interrupt ends the compilers at once.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as part:
        _run_all([_commands(module, Path(part)) for module in MODULES], Path(part))
        for module in MODULES:
            (Path(part) / f"{module}{SUFFIX}").replace(folder / f"{module}{SUFFIX}")


def _commands(module: str, part: Path) -> str:
    """The shell command that compiles one module: to C, and to an extension module. Paths in the C text are relative."""
    text = part / f"{module}.c"
    source = Path(*PACKAGE.split("."), *module.split(".")).with_suffix(".py")
    cython = isolated.module("cython", *CYTHON, *OWN.get(module, ()), "-I", ".", str(source), "-o", str(text))
    include = f"-I{sysconfig.get_paths()['include']}"
    cc = [*(c_compiler() or ()), *CC, include, text.name, "-o", f"{module}{SUFFIX}"]
    root, there = shlex.quote(str(_here().parent)), shlex.quote(str(part))
    return f"cd {root} && {shlex.join(cython)} && cd {there} && {shlex.join(cc)}"


def _run_all(commands: list[str], part: Path) -> None:
    import signal
    import subprocess

    waiting, running = list(reversed(commands)), dict[str, tuple[subprocess.Popen[bytes], Path]]()
    try:
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                command = waiting.pop()
                said = part / f"said.{len(waiting)}"
                with said.open("wb") as out:
                    started = subprocess.Popen(
                        ["/bin/sh", "-c", command], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
                    )
                running[command] = started, said
            command, (process, said) = next(iter(running.items()))
            if process.wait():
                raise CannotCompile(f"{command}\n{said.read_text(errors='replace')}")
            del running[command]
    finally:
        for process, _ in running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
