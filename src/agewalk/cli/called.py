"""Commands as the shell that started this process takes them."""

import os
import shlex
import shutil
import sys

from agewalk.core.text import printable


def command_line(*words: str, argv0: str | None = None) -> str:
    """`agewalk WORDS`, to be copied into the same shell: with the path that the shell needs, such as .venv/bin/agewalk."""
    return " ".join([_program(argv0 or sys.argv[0]), *(shlex.quote(printable(word)) for word in words)])


def _program(argv0: str) -> str:
    if os.path.basename(argv0) != "agewalk":  # noqa: PTH119 - python -m agewalk, a test runner
        return f"{shlex.quote(sys.executable)} -m agewalk"
    found = shutil.which("agewalk")
    if found is not None and os.path.realpath(found) == os.path.realpath(argv0):
        return "agewalk"
    near = os.path.relpath(argv0)
    return shlex.quote(argv0 if near.startswith("..") else near)
