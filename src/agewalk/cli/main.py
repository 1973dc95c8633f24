"""`agewalk`: one table of commands, and the one place that turns an error into a message and an exit code.

A command is a module of this package with `app` (a `typer.Typer` with several verbs) or `command` (a function). It is
imported when it is called: `agewalk --help` loads no library at all.
"""

import difflib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from math import inf
from typing import Any, Final, NoReturn

from agewalk.core.errors import AgewalkError, Interrupted, UsageError
from agewalk.core.text import printable

#: Groups of commands as `agewalk --help` shows them: name, what it is for.
COMMANDS: Final[dict[str, dict[str, str]]] = {
    "Start here": {
        "demo": "the whole story on two recorded VMs, in under a minute",
        "compare": "replay VMs' page accesses under several aging protocols, side by side",
    },
    "Understand a protocol": {
        "protocol": "list, show and compare protocols; their truth tables",
        "check": "every interleaving: can an accessed bit be lost, a lock dead-lock?",
        "timing": "what aging costs, and who waits for mmu_lock, up to 112 vCPUs",
        "witness": "the model against recordings of real kernels, page by page",
        "profile": "the kernels, and the named features in which they differ",
    },
    "Bring your own data": {
        "trace": "facts about a trace; convert other tools' files; synthesise",
    },
}

_HELP: Final = """\
agewalk: page aging for hosts that run virtual machines

A page of a VM has two accessed bits: in the process's page tables and in KVM's. Which of them the kernel reads,
when, and under which lock, decides what it reclaims. agewalk holds the kernel's rules as a program that you can run,
check, time and change.

Usage:  agewalk COMMAND [OPTIONS]        agewalk COMMAND --help        agewalk --version

{commands}
First steps:
  agewalk demo                             a table in the terminal and out/report.html
  agewalk compare my-host.toml             your VMs, your memory sizes, the protocols you name
  agewalk compare guest.parquet            one trace, memory = 70 % of what it touches

Every command takes --json. Exit codes: 0 done, 1 the verdict does not hold, 2 bad input, 3 something is missing here.
"""

#: What a command says that has nothing better to say of what it kept.
INTERRUPTED: Final = "interrupted: no file is left half-written"


def _help() -> str:
    lines: list[str] = []
    for title, commands in COMMANDS.items():
        lines += [f"{title}:", *(f"  {name:<10} {what}" for name, what in commands.items()), ""]
    return _HELP.format(commands="\n".join(lines))


def _module(name: str) -> Any:
    names = [command for group in COMMANDS.values() for command in group]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        what = "option" if name.startswith("-") else "command"
        raise UsageError(
            f"there is no {what} {name!r}",
            hint=f"did you mean 'agewalk {near[0]}'?" if near else f"the commands are {', '.join(names)}",
        )
    return import_module(f"agewalk.cli.{name}")


def _call(name: str, arguments: list[str]) -> None:
    module = _module(name)
    import typer
    from typer.main import get_command

    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode="rich")
        app.command()(module.command)
    root: Any = get_command(app)
    invoke = root.invoke

    def told(context: Any) -> Any:
        try:
            return invoke(context)
        except KeyboardInterrupt:  # typer would end without a word
            raise Interrupted(INTERRUPTED) from None

    root.invoke = told
    root.main(args=arguments, prog_name=f"agewalk {name}")


def _fail(message: str, hint: str, code: int) -> NoReturn:
    text = f"agewalk: {message}\n" + (f"   hint: {hint}\n" if hint else "")
    with suppress(OSError):  # the terminal may have gone
        sys.stdout.flush()
        sys.stderr.write(printable(text, keep="\n\t"))
    raise SystemExit(code)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM (a shutdown, a batch system) and SIGHUP (the terminal has gone) end like Ctrl-C: what is half-written goes.

    Those that follow within a second would disturb the tidying up, and say nothing new. What is ignored (nohup) stays ignored,
    and a process forked from this one ends as if nothing were here.
    """
    here = os.getpid()
    before: dict[signal.Signals, Any] = {}
    last = -inf

    def stop(number: int, _frame: Any) -> None:
        nonlocal last
        if os.getpid() != here:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif time.monotonic() - last > 1:
            last = time.monotonic()
            raise KeyboardInterrupt

    with suppress(ValueError):  # not the main thread: signals are somebody else's
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line (without the program's name); ends in SystemExit with the exit code, 0 included or not."""
    with _stoppable():
        _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(words: list[str]) -> None:
    try:
        if not words or words[0] in {"--help", "-h", "help"}:
            if len(words) > 1 and words[0] == "help":
                _call(words[1], ["--help"])
            sys.stdout.write(_help())
        elif words[0] in {"--version", "-V", "version"}:
            from agewalk.cli.version import facts

            sys.stdout.write("".join(printable(f"{name} {value}") + "\n" for name, value in facts()))
        else:
            _call(words[0], words[1:])
    except AgewalkError as error:
        _fail(str(error), error.hint, error.exit_code)
    except KeyboardInterrupt:
        _fail(INTERRUPTED, "", 130)
    except BrokenPipeError:  # the reader of a pipe has gone (`| head`): nobody is left to tell
        sys.stderr.close()
        raise SystemExit(1) from None
    except MemoryError:
        _fail("this machine has too little memory for that", "fewer pages, fewer policies at once, or --workers 1", 3)
    except FileExistsError as error:
        _fail(f"{error.filename}: {error.strerror}", "name another place", 2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", "is there room, and may this user read and write there?", 2)
    except BaseException as error:
        from agewalk.core.userfile import blamed

        found = blamed(error)  # code of a user's file, run by any command
        if found is None:
            raise
        _fail(str(found), found.hint, found.exit_code)


if __name__ == "__main__":
    main()
