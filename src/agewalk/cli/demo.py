"""`agewalk demo`: the main job on the sample that ships with the package."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

_BEFORE = """\
Two recorded VMs, SQLite and Redis, on a host with 24 MiB for the 55 MiB that they touch. Each has busy phases, an
idle phase and a scan. Which of their pages does the kernel take, and does it take the right ones?

"""
_AFTER = """
What to look at:
  refaults            pages that were taken and needed again. linux-6.9 asks KVM only at eviction, so its walks find
                      nothing young in a guest; since 6.13 walks ask KVM too, and refaults fall
  cold right          of the pages that aging calls old, how many really were idle
  where aging is wrong  agewalk knows when each page was really used last: so many of its pages a policy calls old although
                      used, or young although idle, and why (docs/quality-of-aging.md). opt is the bound: who gives up
                      more than under it pays for the others
  two-list            the classic LRU (MGLRU off) on the same host. In which phase of the guests the policies part,
                      "Refaults over time" in the report shows
Next:
  xdg-open {report}                the same with pictures; one file, no network
  agewalk compare {scenario} --memory '32 MiB' --memory '40 MiB'
  agewalk protocol diff linux-6.9 linux-6.18       what differs, row by row
  docs/compare.md                                  a scenario of your own, from your own trace
"""


def command(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    engine: Annotated[str, typer.Option(help="compiled, or direct: the model itself, slow.")] = "compiled",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Compare aging protocols on two recorded VMs: a table here, pictures in out/report.html. Under a minute."""
    from agewalk.cli.compare import Wanted, run
    from agewalk.report.table import paragraph

    with resources.as_file(resources.files("agewalk.data").joinpath("sample.toml")) as scenario:
        if not as_json:
            sys.stdout.write(paragraph(_BEFORE))
            sys.stdout.flush()
        run(scenario, Wanted(engine=engine, out=out, as_json=as_json))
        if not as_json:
            sys.stdout.write(paragraph(_AFTER.format(report=out / "report.html", scenario=_short(scenario))))


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
