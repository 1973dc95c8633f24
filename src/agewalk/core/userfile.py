"""A Python file of the user's, run so that something in it can be taken: a protocol of their own, a system to check.

What it prints goes to standard error: standard output is agewalk's, and with --json one document. What it raises, now or when
it is called later, is an InputError that names file and line.
"""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Final

from agewalk.core.errors import AgewalkError, InputError

_FILES: Final[dict[str, Path]] = {}  # name of a module made of a user's file -> the file, as it was given


def run_user_file(path: Path, *, wanted: str, example: str) -> ModuleType:
    """Run `path` as a module of its own. wanted: what a path should be followed by, for people ("the class in it").

    example: a page that shows a file that works. Raises InputError that says what is wrong with the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint=f"give a path to a Python file, then a colon and {wanted}")
    name = f"agewalk_user_{path.stem}_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _FILES[name] = path
    try:
        with users_output(), _no_bytecode():
            spec.loader.exec_module(module)
    except (InputError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        line = _line_in(error, path)
        where = f"{path}, line {line}," if line else f"{path}"
        raise InputError(
            f"{where} does not run: {_said(error)}", hint=f"try `python {path}`; {example} shows a file that works"
        ) from error
    return module


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Nothing is written beside a user's file."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


@contextmanager
def users_output() -> Iterator[None]:
    """While a user's code runs: what it prints goes to standard error."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def users_code(cls: type | None = None) -> Iterator[None]:
    """While code runs that may be a user's: `users_output()`, and what it raises becomes an InputError (`blamed`)."""
    try:
        with users_output():
            yield
    except BaseException as error:
        found = blamed(error, cls)
        if found is None:
            raise
        raise found from error


def file_of(cls: type) -> Path | None:
    """The user's file that a class is from; None for one of agewalk's own."""
    return _FILES.get(cls.__module__)


def blamed(error: BaseException, cls: type | None = None) -> InputError | None:
    """An error that code of a user's file raised, or let happen, as one that names file and line; None if it is not theirs.

    cls: the user's class that was asked, which is to blame for an error outside it, too: it answered with the wrong type, or its
    method does not take what it is called with.
    """
    if isinstance(error, AgewalkError | KeyboardInterrupt | MemoryError | GeneratorExit):
        return None
    hint = "'agewalk docs your-own-protocol' says what its methods take and answer"
    for file in dict.fromkeys(_FILES.values()):
        line = _line_in(error, file)
        if line:
            return InputError(f"{file}, line {line}: {_said(error)}", hint=hint)
    path = file_of(cls) if cls is not None else None
    if path is None or cls is None or isinstance(error, OSError):
        return None
    try:
        where = f"{path}, line {inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        where = str(path)
    return InputError(f"{where}: class {cls.__name__} does not answer as it should: {_said(error)}", hint=hint)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _line_in(error: BaseException, path: Path) -> int:
    """The innermost line of a file that an error passed through; 0 if it did not."""
    file = str(path.absolute())
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno or 0
    line, frame = 0, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename in (file, str(path)):
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
