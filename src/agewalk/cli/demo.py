"""`agewalk demo`: the main job on the sample that ships with the package."""

from __future__ import annotations

import shlex
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from agewalk.cli.called import command_line

_BEFORE = """\
Two recorded VMs, SQLite and Redis, on a host with 24 MiB for the 55 MiB that they touch. Each has busy phases, an
idle phase and a scan. Which of their pages does the kernel take, and does it take the right ones?

"""
_AFTER = """
What the columns say:
{columns}

What to look at:
  linux-6.9 asks KVM only at eviction, so its walks find nothing young in a guest. Since 6.13 walks ask KVM, too, and
  refaults fall. The second table says why a policy is wrong about pages, since agewalk knows when each page was last
  used. opt knows the future and is the bound; two-list is the classic LRU (MGLRU off). A VM that gives up more than it
  does under opt pays for the others. "Refaults over time" in the report shows in which phase of the guests they differ.
Next:
"""


def command(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    engine: Annotated[str, typer.Option(help="compiled, or direct: the model itself, slow.")] = "compiled",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Compare aging protocols on two recorded VMs: a table here, pictures in out/report.html. Under a minute."""
    from agewalk.cli.compare import Wanted, run
    from agewalk.report.table import listed, paragraph, room

    with resources.as_file(resources.files("agewalk.data").joinpath("sample.toml")) as scenario:
        if not as_json:
            sys.stdout.write(paragraph(_BEFORE))
            sys.stdout.flush()
        run(scenario, Wanted(engine=engine, out=out, as_json=as_json))
        if not as_json:
            sys.stdout.write(paragraph(_AFTER.format(columns=_columns())))
            lines = {
                command: f"# {what}" for command, what in _following(out).items()
            }  # so that a whole line can be copied
            sys.stdout.write("\n".join(listed(lines, room())) + "\n")


def _columns() -> str:
    """A line for each column of the table, in the words of the report."""
    from agewalk.report.page import MEANINGS
    from agewalk.report.table import listed, room
    from agewalk.report.terminal import COLUMNS

    meanings = {heading: MEANINGS[key] for key, heading, *_ in COLUMNS}
    return "\n".join(listed(meanings, min(room(), 120)))


def _following(out: Path) -> dict[str, str]:
    """Commands that work in the shell that this was started from."""
    return {
        f"xdg-open {shlex.quote(str(out / 'report.html'))}": "the same with pictures; one file, no network",
        command_line("init"): "writes my-host.toml, to be edited; name your own traces, if you have some",
        command_line("compare", "my-host.toml"): "replays it",
        command_line("protocol", "diff", "linux-6.9", "linux-6.18"): "what two kernels do with a page, state by state",
    }
