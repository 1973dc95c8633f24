"""A Python file of the user's, run so that something in it can be taken: a protocol of their own, a system to check."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from agewalk.core.errors import InputError
from agewalk.core.plain.copy import copy_of


def run_user_file(path: Path, *, wanted: str, example: str, like: str | None = None) -> ModuleType:
    """Run `path` as a module of its own. wanted: what a path should be followed by, for people ("the class in it").

    example: a page that shows a file that works. like: a module; if that is a plain copy (core/plain), the file is read as
    plain text, too. Raises InputError that says what is wrong with the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint=f"give a path to a Python file, then a colon and {wanted}")
    name = f"agewalk_user_{path.stem}_{abs(hash(path.resolve()))}"
    copy = copy_of(like) if like is not None else None
    if copy is None:
        spec = importlib.util.spec_from_file_location(name, path)
    else:
        name = f"{copy.name}_{name}"
        spec = copy.file_spec(name, str(path))
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} does not run: {type(error).__name__}: {error}",
            hint=f"try `python {path}`; {example} shows a file that works",
        ) from error
    return module
