"""`agewalk workload`: whole workloads on real kernels, and the model on the same runs."""

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from agewalk.core.errors import UsageError
from agewalk.core.text import printable
from agewalk.report.table import Cell, Column, coloured, paragraph, table

if TYPE_CHECKING:
    from agewalk.study.workload import CellVerdict, Workload

T = TypeVar("T")
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Whole workloads that real kernels ran in a cgroup with a limit, and what the model predicts of the same runs.",
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
File = Annotated[Path, typer.Argument(help="Recorded workloads, one line of JSON a run.", show_default=False)]
Traces = Annotated[
    Path | None, typer.Option(help="Where traces lie that do not ship: DIR/NAME.parquet.", show_default=False)
]
Jobs = Annotated[int, typer.Option(help="Runs at the same time; 0: one a CPU.", min=0)]

#: Traces that ship with agewalk, by the name that recordings give them.
SHIPPED: Final = {"sqlite": "sqlite-vm.parquet", "redis": "redis-vm.parquet"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _trace_path(cell: "Workload", traces: Path | None) -> Path:
    """Path of a run's trace. The name comes from a file and is untrusted: it must not lead out of the directory."""
    if not _NAME.fullmatch(cell.trace):
        raise UsageError(
            f"{cell.where}: {printable(cell.trace)!r} is no name of a trace", hint="letters, digits, '.', '_' and '-'"
        )
    if traces is not None and (path := traces / f"{cell.trace}.parquet").exists():
        return path
    if cell.trace in SHIPPED:
        import agewalk

        return Path(agewalk.__file__).parent / "data" / SHIPPED[cell.trace]
    where = (
        f"{traces / cell.trace}.parquet: no such file" if traces is not None else f"trace {cell.trace!r}: not shipped"
    )
    raise UsageError(f"{cell.where}: {where}", hint="--traces DIR: the directory that holds NAME.parquet")


def _verify_all(jobs: list[tuple["Workload", str]], workers: int) -> list["CellVerdict"]:
    from rich.console import Console
    from rich.progress import track

    from agewalk.core.process_pool import ProcessPool
    from agewalk.study.workload.verify import verify_job

    console = Console(stderr=True)
    workers = min(workers or os.cpu_count() or 1, len(jobs))

    def shown(results: Iterable[T]) -> list[T]:
        hidden = not console.is_terminal
        return list(track(results, "replaying", len(jobs), console=console, transient=True, disable=hidden))

    if workers <= 1:
        return shown(verify_job(job, lambda _: None) for job in jobs)
    with ProcessPool(verify_job, list(enumerate(jobs)), workers, name=lambda job: job[0].where) as pool:
        found = dict(shown(result for result in pool.results() if result is not None))
    return [found[i] for i in range(len(jobs))]


@app.command("verify")
def verify_command(file: File, *, traces: Traces = None, as_json: Json = False, jobs: Jobs = 0) -> None:
    """Run each recorded workload on the model: the same accesses, kernel and limit; compare what came back from swap, what
    reclaim took, and which pages are resident at the end.

    The exit code is 0 whatever comes out: this measures a distance. `agewalk docs workload` says how far it is and why.
    """
    from agewalk.study.workload import read_workloads
    from agewalk.study.workload.verify import as_json as verdict_json

    cells = read_workloads(file)
    verdicts = _verify_all([(cell, str(_trace_path(cell, traces))) for cell in cells], jobs)
    if as_json:
        json.dump({"schema": 1, "cells": [verdict_json(v) for v in verdicts]}, sys.stdout)
        sys.stdout.write("\n")
        return
    _verdicts(verdicts)


def _verdicts(verdicts: list["CellVerdict"]) -> None:
    columns = [
        *(Column(name) for name in ("trace", "kernel", "backing")),
        Column("memory", right=True), Column("aging"), Column("lists"),
        *(Column(name, right=True) for name in ("refaults", "recorded", "off", "steals", "recorded", "same residents")),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = []
    for v in verdicts:
        cell = v.cell
        share = "" if v.resident_jaccard is None else f"{v.resident_jaccard:.2%}"
        rows.append(
            [cell.trace, cell.kernel, cell.backing, f"{cell.memory_percent} %", _aging(cell), _lists(cell),
             str(v.refaults), str(cell.refaults), Cell(f"{v.error:.1%}", "" if v.error <= 0.05 else "bad"),
             str(v.steals), str(cell.steals), share]
        )  # fmt: skip
    sys.stdout.write(table(columns, rows, colour=coloured()))
    errors = sorted(v.error for v in verdicts)
    jaccards = [v.resident_jaccard for v in verdicts if v.resident_jaccard is not None]
    residents = (
        f" Of the pages resident at the end, {median(jaccards):.2%} are the same in the median." if jaccards else ""
    )
    sys.stdout.write(
        paragraph(
            f"{sum(v.equal for v in verdicts)} of {len(verdicts)} runs are equal in refaults and residents. Refaults are off by "
            f"{median(errors):.1%} in the median, {errors[-1]:.1%} at worst; {sum(e <= 0.05 for e in errors)} are within 5 %."
            f"{residents}"
        )
    )


def _aging(cell: "Workload") -> str:
    return "none" if cell.aging_every_s is None else f"every {cell.aging_every_s:g} s"


def _lists(cell: "Workload") -> str:
    return "MGLRU" if cell.lru_gen else "two lists"


@app.command("list")
def list_command(file: File, *, as_json: Json = False) -> None:
    """The recorded runs of a file, numbered from 1."""
    from agewalk.study.workload import read_workloads

    cells = read_workloads(file)
    if as_json:
        facts = [
            {"number": n, "trace": c.trace, "kernel": c.kernel, "backing": c.backing, "memory_percent": c.memory_percent,
             "aging_every_s": c.aging_every_s, "lru_gen": c.lru_gen, "refaults": c.refaults, "steals": c.steals,
             "resident": c.resident}
            for n, c in enumerate(cells, start=1)
        ]  # fmt: skip
        json.dump({"schema": 1, "cells": facts}, sys.stdout)
        sys.stdout.write("\n")
        return
    columns = [
        Column("run", right=True), *(Column(name) for name in ("trace", "kernel", "backing")),
        Column("memory", right=True), Column("aging"), Column("lists"),
        *(Column(name, right=True) for name in ("refaults", "steals", "resident")),
    ]  # fmt: skip
    rows = [
        [str(n), c.trace, c.kernel, c.backing, f"{c.memory_percent} %", _aging(c), _lists(c), str(c.refaults), str(c.steals),
         str(c.resident)]
        for n, c in enumerate(cells, start=1)
    ]  # fmt: skip
    sys.stdout.write(table(columns, rows, colour=coloured()))


@app.command("show")
def show_command(
    file: File,
    run: Annotated[int, typer.Argument(help="Its number in `workload list`.", min=1)] = 1,
    *,
    traces: Traces = None,
    as_json: Json = False,
) -> None:
    """One run over time: at each mark what the kernel had swapped in and reclaimed so far, and what the model has."""
    from agewalk.study.workload import read_workloads
    from agewalk.study.workload.replay import replay
    from agewalk.trace import open_trace

    cells = read_workloads(file)
    if run > len(cells):
        raise UsageError(f"{file} has {len(cells)} runs, not {run}", hint="'agewalk workload list' numbers them")
    cell = cells[run - 1]
    outcome = replay(cell, open_trace(_trace_path(cell, traces)))
    pairs = list(zip(cell.series, outcome.series, strict=False))
    if as_json:
        marks = [
            {"accesses": seen.accesses, "refaults": shown.pswpin, "refaults_recorded": seen.pswpin, "steals": shown.pgsteal,
             "steals_recorded": seen.pgsteal, "anon_pages": shown.anon_pages, "anon_pages_recorded": seen.anon_pages}
            for seen, shown in pairs
        ]  # fmt: skip
        json.dump({"schema": 1, "run": run, "what": cell.describe(), "marks": marks}, sys.stdout)
        sys.stdout.write("\n")
        return
    names = ("accesses", "refaults", "recorded", "steals", "recorded", "resident", "recorded")
    rows = [
        [str(n) for n in (seen.accesses, shown.pswpin, seen.pswpin, shown.pgsteal, seen.pgsteal, shown.anon_pages,
                          seen.anon_pages)]
        for seen, shown in pairs
    ]  # fmt: skip
    sys.stdout.write(paragraph(f"{printable(cell.describe())}. Limit: {cell.memory_max} pages."))
    sys.stdout.write(table([Column(name, right=True) for name in names], rows, colour=coloured()))
