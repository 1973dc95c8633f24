"""`agewalk`: one table of commands, and how one of them is called. How it ends is outcome.py's.

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

from agewalk.cli.outcome import NOTHING_HALF, ended, prepare_streams
from agewalk.core.errors import UsageError
from agewalk.core.text import printable

#: Groups of commands as `agewalk --help` shows them: name, what it is for.
COMMANDS: Final[dict[str, dict[str, str]]] = {
    "Start here": {
        "demo": "the whole story on two recorded VMs, in under a minute",
        "init": "write a commented my-host.toml around your own traces",
        "compare": "replay VMs' page accesses under several aging protocols, side by side",
    },
    "Understand a protocol": {
        "protocol": "list, show and compare protocols; their truth tables",
        "check": "every interleaving: can an accessed bit be lost, a lock dead-lock?",
        "timing": "what aging costs, and who waits for mmu_lock, up to 112 vCPUs",
        "witness": "the model against recordings of real kernels, page by page",
        "workload": "the model against whole workloads on real kernels, in a cgroup with a limit",
        "profile": "the kernels, and the named features in which they differ",
    },
    "Bring your own data": {
        "trace": "facts about a trace; convert other tools' files; synthesise",
        "host": "what a live host tells about aging, and its VMs",
    },
    "Read": {
        "docs": "the pages of the documentation, each as text",
    },
}

_ABOUT: Final = (
    "A page of a VM has two accessed bits: in the process's page tables and in KVM's. Which of them the kernel reads, when, and "
    "under which lock, decides what it reclaims. agewalk holds the kernel's rules as a program that you can run, check, time "
    "and change."
)
_STEPS: Final = {
    "agewalk demo": "a table in the terminal and out/report.html",
    "agewalk init guest.parquet": "my-host.toml: your VM, your kernel, each key explained",
    "agewalk compare my-host.toml": "replay it under your kernel and the newest one",
    "agewalk compare guest.parquet": "one trace, memory = 70 % of what it touches",
}
_ENDS: Final = (
    "Every command takes --json. Exit codes: 0 done, 1 the verdict does not hold, 2 bad input, 3 something is missing here, "
    "70 a fault of agewalk's own, 130 interrupted, 141 the reader of a pipe has gone."
)
#: What a command says that has nothing better to say of what it kept.
INTERRUPTED: Final = NOTHING_HALF


def _help() -> str:
    from agewalk.report.table import listed, room, wrapped

    width = min(room(), 120)
    parts = [
        *wrapped("agewalk: page aging for hosts that run virtual machines", width),
        "",
        *wrapped(_ABOUT, width),
        "",
    ]
    parts += ["Usage:", "  agewalk COMMAND [OPTIONS]", "  agewalk COMMAND --help", "  agewalk --version", ""]
    for title, commands in COMMANDS.items():
        parts += [f"{title}:", *listed(commands, width), ""]
    parts += ["First steps:", *listed(_STEPS, width), "", *wrapped(_ENDS, width)]
    return "\n".join(parts) + "\n"


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


def _call(name: str, arguments: list[str]) -> int:
    """Run a command; its exit code. Raises UsageError for a command line that it does not take."""
    module = _module(name)
    import typer
    from typer.main import get_command

    from agewalk.report.table import room

    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command()(module.command)
    app.rich_markup_mode = None
    root: Any = get_command(app)
    _fit_help(root)
    width = min(room(), 120)
    try:
        with root.make_context(f"agewalk {name}", arguments, terminal_width=width, max_content_width=width) as context:
            root.invoke(context)
    except typer.Exit as end:
        return int(end.exit_code)
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own errors are no public class
            raise
        raise _usage(error, f"agewalk {name}") from None
    return 0


def _usage(error: Any, command: str) -> UsageError:
    """An error of the command line as typer puts it, in our words."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else command
    verb = path.removeprefix("agewalk ")
    said = " ".join(error.format_message().split()).rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":
        verbs = ", ".join(context.command.commands) if context is not None else ""
        return UsageError(f"{verb}: say what to do: {verbs}", hint=f"{path} --help")
    return UsageError(f"{verb}: {said[:1].lower()}{said[1:]}", hint=f"{path} --help")


def _fit_help(root: Any) -> None:
    """Let help pages fit a narrow terminal: names of options take at most two fifths of its width."""

    def write_list(self: Any, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        super(type(self), self).write_dl(rows, min(col_max, self.width * 2 // 5), col_spacing)

    for command in (root, *getattr(root, "commands", {}).values()):
        context = command.context_class
        formatter = type("Formatter", (context.formatter_class,), {"write_dl": write_list})
        command.context_class = type("Context", (context,), {"formatter_class": formatter})


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

    with suppress(ValueError):  # not the main thread: Python takes signal handlers there alone
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line (without the program's name); ends in SystemExit with the exit code, 0 included."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    with _stoppable():
        code = ended(lambda: _run(words))
    raise SystemExit(code)


def _run(words: list[str]) -> int:
    if not words or words[0] in {"--help", "-h", "help"}:
        if len(words) > 1 and words[0] == "help":
            return _call(words[1], ["--help"])
        sys.stdout.write(_help())
    elif words[0] in {"--version", "-V", "version"}:
        from agewalk.cli.version import facts

        sys.stdout.write("".join(printable(f"{name} {value}") + "\n" for name, value in facts()))
    else:
        return _call(words[0], words[1:])
    return 0


if __name__ == "__main__":
    main()
