"""Processes of our own, started so that nothing in the current directory or the environment is imported in place of ours."""

import json
import os
import sys
from pathlib import Path
from typing import Final

#: Takes over the import path of the parent, drops it from the arguments, and goes on with what it was given.
_START: Final = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "


def import_path() -> list[str]:
    """Where this process imports from, without the current directory: a child that imports from there finds the same modules."""
    here = os.path.realpath(os.curdir)
    root = str(Path(__file__).parents[2])
    path = [entry for entry in sys.path if entry and (os.path.realpath(entry) != here or entry == root)]
    return path if root in path else [*path, root]


def python(code: str, *arguments: str) -> list[str]:
    """The command line of a Python process that runs `code`; `sys.argv[1:]` are the arguments there.

    It is isolated (python -I): neither the current directory, nor PYTHONPATH, nor the user's site directory are searched, but
    for what this process searches itself.
    """
    return [sys.executable, "-I", "-c", _START + code, json.dumps(import_path()), *arguments]


def module(name: str, *arguments: str) -> list[str]:
    """The command line of `python -m name`, isolated likewise."""
    code = f"import runpy; sys.argv[0] = {name!r}; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
    return python(code, *arguments)
