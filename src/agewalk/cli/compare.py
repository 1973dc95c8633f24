"""`agewalk compare`: the same accesses under several protocols, side by side."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agewalk.core.errors import Interrupted, UsageError
from agewalk.core.files import whole
from agewalk.core.text import printable
from agewalk.core.units import PAGE_SIZE, format_size, format_time

if TYPE_CHECKING:
    from agewalk.study.compare import News
    from agewalk.study.result import Run
    from agewalk.study.scenarios.scenario import Scenario

OUT = Path("out")
LONG = 20_000_000  # accesses: the pictures take a while


def command(
    scenario: Annotated[Path, typer.Argument(help="A scenario (.toml) or a trace (.parquet).", show_default=False)],
    engine: Annotated[
        str, typer.Option(help="compiled, or direct: the model itself, some 100 times slower.")
    ] = "compiled",
    workers: Annotated[int, typer.Option(min=0, help="Runs at once; 0: one a core.")] = 0,
    memory: Annotated[
        list[str] | None,
        typer.Option(
            help="Memory sizes, such as '512 MiB' or '50 %,70 %' of the pages that the traces touch; several draw a curve.",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="A protocol instead of the scenario's; repeat for more.", show_default=False),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="A baseline instead of the scenario's; repeat for more.", show_default=False),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(help="Proactive aging instead of the scenario's, as in '30 s'; '' for none.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.json, report.html and finished runs.")] = OUT,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take runs that an earlier call has finished from OUT.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Replay VMs' page accesses on a host with less memory than they use, under several protocols.

    A trace alone makes a default host: memory for 70 % of the pages it touches, aged every 2 s.
    What the numbers mean: agewalk docs metrics.
    """
    run(scenario, Wanted(engine, workers, memory, protocol, baseline, every, out, resume, report, as_json))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of a comparison; see `command`."""

    engine: str = "compiled"
    workers: int = 0
    memory: list[str] | None = None
    protocols: list[str] | None = None
    baselines: list[str] | None = None
    every: str | None = None
    out: Path = OUT
    resume: bool = False
    report: bool = True
    as_json: bool = False


def run(path: Path, wanted: Wanted) -> None:
    """The command; `agewalk demo` calls it with the sample."""
    engine, out = wanted.engine, wanted.out
    if engine not in {"compiled", "direct"}:
        raise UsageError(f"there is no engine {engine!r}", hint="--engine compiled or --engine direct")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is not a folder", hint="--out names the folder that results go to")
    from agewalk.study.compare import run_jobs
    from agewalk.study.job import plan
    from agewalk.study.policies import Keys
    from agewalk.study.quality import rows
    from agewalk.study.scenarios.scenario import load
    from agewalk.study.store import Store

    chosen = load(path).with_(
        memory=wanted.memory,
        protocols=wanted.protocols,
        baselines=wanted.baselines,
        every=wanted.every,
        where="command line",
    )
    keys = Keys(
        f"{path}: host.kernel",
        f"{path}: compare.protocols" if wanted.protocols is None else "command line: --protocol",
        f"{path}: compare.baselines" if wanted.baselines is None else "command line: --baseline",
    )
    planned = plan(chosen, "direct" if engine == "direct" else "compiled", keys=keys)  # before anything takes time
    store = Store(out / "runs")
    with _folders(out, out / "runs"), progress() as tell:
        if engine == "compiled":
            from agewalk.engine.engine import compile_once

            compile_once(_say)
        runs = run_jobs(
            planned,
            workers=wanted.workers or None,
            store=store,
            resume=wanted.resume,
            tell=tell,
        )
    if store.unusable:
        _say(
            f"{store.unusable} of the runs kept in {printable(str(store.folder))} could not be used, and were run again"
        )
    document: dict[str, Any] = {"schema": 1, "scenario": str(path), "results": rows(runs)}
    with whole(out / "results.json") as part:
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if wanted.report:
        if runs[0].measured.accesses > LONG:
            _say("reading the traces once more for the pictures (--no-report leaves them out)")
        from agewalk.report.comparison import comparison_page

        try:
            with whole(out / "report.html") as part:
                part.write_text(comparison_page(path.name, chosen, runs), encoding="utf-8")
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: all {len(runs)} runs are finished and in {out / 'results.json'}; there is no new report",
                hint="the same command with --resume draws it, without running anything again",
            ) from None
    if wanted.as_json:
        sys.stdout.write(json.dumps(document) + "\n")
        return
    from agewalk.report.table import coloured, paragraph
    from agewalk.report.terminal import show

    sys.stdout.write(show(document["results"], colour=coloured()))
    for note in notes(chosen, runs):
        sys.stdout.write(paragraph(f"\n{note}"))
    where = f"report: {out / 'report.html'}   " if wanted.report else ""
    sys.stdout.write(paragraph(f"\n{where}data: {out / 'results.json'}"))


@contextmanager
def _folders(*folders: Path) -> Iterator[None]:
    """Folders that a run may write to, outer ones first: asked about now, and those that are new and empty go if it fails."""
    new = [folder for folder in folders if not folder.exists()]
    place = folders[-1]
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{place}: this user may not write there", hint="--out names the folder that results go to")
    try:
        yield
    except BaseException:
        for folder in reversed(new):
            with suppress(OSError):
                folder.rmdir()
        raise


def notes(scenario: Scenario, runs: Sequence[Run]) -> list[str]:
    """What a reader of the table would wonder about."""
    said = []
    if not any(one.measured.evictions for one in runs):
        touched = sum(vm.resident_pages for vm in runs[0].measured.vms) * PAGE_SIZE
        said.append(
            f"Nothing was evicted: the traces touch {format_size(touched)}, and there is memory for all of it. "
            "Try less, as in --memory '70 %'."
        )
    every, span = scenario.aging.every, runs[0].span_ns
    if every and span < every and any(one.measured.ptes_walked is not None for one in runs):
        said.append(
            f"No proactive aging took place: the traces last {format_time(span)}, and aging.every is {format_time(every)}."
        )
    return said


@contextmanager
def progress() -> Iterator[Callable[[News], None]]:
    """A bar on standard error with rate and time left; one line a finished run where that is no terminal."""
    if not sys.stderr.isatty():
        yield _lines
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.fields[runs]} runs"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[running]}", style="dim", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None, runs="0", rate="", running="")

        def tell(news: News) -> None:
            if news.finished:
                bar.console.print(_said(news.finished), highlight=False, markup=False)
            speed = bar.tasks[0].speed
            bar.update(
                task,
                completed=news.done,
                total=news.total,
                runs=f"{news.runs_done}/{news.runs}",
                rate=f"{speed / 1e6:.2f} M/s" if speed else "",
                running=printable(", ".join(news.running)[:40]),
            )

        yield tell


def _say(text: str) -> None:
    sys.stderr.write(printable(text) + "\n")


def _lines(news: News) -> None:
    if news.finished:
        _say(f"[{news.runs_done}/{news.runs}] {_said(news.finished)}")


def _said(run: Run) -> str:
    return (
        f"{printable(run.policy)} with {format_size(run.memory_bytes)}: {run.refaults:,} refaults ({run.seconds:.1f} s)"
    )
