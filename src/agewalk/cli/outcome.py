"""How a command ends: the one place that turns an error into a message and an exit code.

Exit codes: 0 done; 1 the verdict does not hold, and nothing else; 2 bad usage or input; 3 something is missing on this machine;
70 a fault of agewalk's own (EX_SOFTWARE of sysexits.h); 130 interrupted; 141 the reader of the output has gone (128 + SIGPIPE).
"""

import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from agewalk.core.errors import AgewalkError
from agewalk.core.text import printable

VERDICT: Final = 1
USAGE: Final = 2
MISSING: Final = 3
FAULT: Final = 70
INTERRUPTED: Final = 130
NO_READER: Final = 141

#: What a command says that has nothing better to say of what it kept.
NOTHING_HALF: Final = "interrupted: no file is left half-written"
DEBUG: Final = "AGEWALK_DEBUG"  # environment variable: show the traceback of what ended a command


def prepare_streams() -> None:
    """Make standard streams that take every text.

    A stream that the caller has closed (`>&-`) becomes /dev/null: else the next file that is opened would get its number, and
    all that is printed. A character that the stream's encoding does not have is written as "?".
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def ended(work: Callable[[], int]) -> int:
    """Run a command; its exit code. What it raises is told on standard error."""
    try:
        code = _code(work)
        sys.stdout.flush()
    except BaseException as error:
        if os.environ.get(DEBUG):
            with suppress(OSError):
                sys.stderr.write(printable("".join(traceback.format_exception(error)), keep="\n\t"))
        message, hint, code = _told(error)
        _flush()
        if message:
            _tell(message, hint)
    return code


def _code(work: Callable[[], int]) -> int:
    try:
        return work()
    except SystemExit as end:
        if _blamed(end) is not None:
            raise
        if isinstance(end.__context__, BrokenPipeError):  # rich's console ends so
            return NO_READER
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        raise AgewalkError(str(end.code)) from end


def _told(error: BaseException) -> tuple[str, str, int]:
    """Message, hint and exit code of what ended a command."""
    match error:
        case AgewalkError():
            return str(error), error.hint, error.exit_code
        case KeyboardInterrupt():
            return NOTHING_HALF, "", INTERRUPTED
        case BrokenPipeError():  # `| head`: there is no reader left to tell
            return "", "", NO_READER
        case MemoryError():
            return (
                "this machine has too little memory for that",
                "fewer pages, fewer policies at once, or --workers 1",
                MISSING,
            )
    found = _blamed(error)  # code of a user's file, run by any command
    if found is not None:
        return str(found), found.hint, found.exit_code
    match error:
        case FileExistsError():
            return f"{error.filename}: {error.strerror}", "name another place", USAGE
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return (
                f"{where}{error.strerror or error}",
                "is there room, and may this user read and write there?",
                USAGE,
            )
        case ImportError() if not (error.name or "").startswith("agewalk"):
            return f"a library cannot be loaded: {error}", "install agewalk again, with what it needs", MISSING
        case RecursionError():
            return (
                "something in the input is nested too deeply",
                f"flatten it; {DEBUG}=1 shows what was being read",
                USAGE,
            )
    said = " ".join(str(error).split())
    kind = type(error).__name__
    return (
        f"a fault in agewalk itself: {kind}: {said}" if said else f"a fault in agewalk itself: {kind}",
        f"please report it with this command, its files, and what `agewalk --version` prints; {DEBUG}=1 shows the traceback",
        FAULT,
    )


def _blamed(error: BaseException) -> Any:
    from agewalk.core.userfile import blamed

    return blamed(error)


def _flush() -> None:
    """Write what is buffered. If that fails, drop it: Python would try once more at its end, and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def _tell(message: str, hint: str) -> None:
    text = f"agewalk: {message}\n" + (f"   hint: {hint}\n" if hint else "")
    with suppress(OSError):  # the terminal may have gone
        sys.stderr.write(printable(text, keep="\n\t"))
        sys.stderr.flush()
