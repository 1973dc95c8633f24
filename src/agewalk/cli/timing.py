"""`agewalk timing`: what a protocol costs, and who waits for whom."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agewalk.core.errors import Interrupted, UsageError
from agewalk.core.text import printable
from agewalk.report.table import Column, coloured, paragraph
from agewalk.report.table import table as table_of

if TYPE_CHECKING:
    from agewalk.timing.calibrate import Compared
    from agewalk.timing.experiment import Experiment
    from agewalk.timing.hardware.costs import CostTable
    from agewalk.timing.run import Row

Name = Annotated[
    str, typer.Argument(help="An experiment, a .toml of your own, or: list, costs, one-page.", show_default=False)
]
Vcpus = Annotated[str, typer.Option(help="Numbers of vCPUs, as 1,4,16; default: the experiment's.")]
Scale = Annotated[
    int, typer.Option(help="Run with memory / SCALE and report times * SCALE; 0: the experiment's.", min=0)
]
Protocols = Annotated[
    list[str] | None, typer.Option("--protocol", help="Instead of the experiment's protocols; repeatable.")
]
Seeds = Annotated[int, typer.Option(help="Runs with seeds 0, 1, ... for error bars.", min=1, max=100)]
Costs = Annotated[Path | None, typer.Option(help="Your own cost table (TOML); names only what differs.")]
Charts = Annotated[Path | None, typer.Option(help="Directory for charts (HTML, SVG, PNG).")]
Perfetto = Annotated[Path | None, typer.Option(help="Write a timeline of the last variant, for ui.perfetto.dev.")]
Calibrate = Annotated[bool, typer.Option("--calibrate", help="Fit the free costs on the published rows first.")]
Sensitivity = Annotated[
    bool, typer.Option("--sensitivity", help="Also move each cost down and up by half; with --charts, draw it.")
]
Workers = Annotated[int, typer.Option(help="Rows at the same time; 0: one a CPU.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

#: What is no experiment, and the options that it takes.
_NO_EXPERIMENTS: dict[str, tuple[str, ...]] = {"list": (), "costs": ("--costs",), "one-page": ("--costs", "--protocol")}
TIMELINE_SCALE = 4096  # a timeline is for reading: few pages, every event


def command(
    experiment: Name,
    vcpus: Vcpus = "",
    scale: Scale = 0,
    protocol: Protocols = None,
    seeds: Seeds = 1,
    costs: Costs = None,
    charts: Charts = None,
    perfetto: Perfetto = None,
    calibrate: Calibrate = False,
    sensitivity: Sensitivity = False,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Run the model's generators on modelled CPUs: each effect costs time, lines move, locks queue.

    Experiments: access-tracking, nested, shadow, arm64-read-lock, invalidate-storm, look-around. See agewalk docs timing.
    """
    from agewalk.timing.compiled import compile_once
    from agewalk.timing.experiment import load_experiment
    from agewalk.timing.hardware.costs import load_costs

    if experiment in _NO_EXPERIMENTS:
        given = {
            "--vcpus": vcpus,
            "--scale": scale,
            "--protocol": protocol,
            "--seeds": seeds != 1,
            "--costs": costs,
            "--charts": charts,
            "--perfetto": perfetto,
            "--calibrate": calibrate,
            "--sensitivity": sensitivity,
            "--workers": workers,
        }
        _refuse(
            [name for name, value in given.items() if value and name not in _NO_EXPERIMENTS[experiment]], experiment
        )
    table = load_costs(costs)
    if experiment in {"list", "costs"}:
        _print_names(as_json) if experiment == "list" else _print_costs(table, as_json)
        return
    if experiment == "one-page":
        _one_page(table, protocol, as_json)
        return
    plan = load_experiment(experiment)
    if protocol:
        plan = plan.with_protocols(protocol)
    counts = _counts(vcpus) if vcpus else plan.vcpus
    plan.pages(scale or None)  # complains before any work
    compile_once(_tell)
    jobs = workers or os.cpu_count() or 1
    if calibrate:
        table = _calibrate(plan, table, scale, seeds, jobs)
    rows = _run(plan, table, counts, scale, seeds, jobs)
    document: dict[str, Any] = {"schema": 1, "experiment": plan.name, "rows": [r.json() for r in rows]}
    compared = _compared(plan, rows)
    if compared:
        document["published"] = [{**vars(c), "off": c.off} for c in compared]
    if calibrate:
        document["costs"] = {n: c.value for n, c in table.items() if c.fitted}
    written = _extras(plan, table, rows, counts, scale, seeds, charts, perfetto, document if sensitivity else None)
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        _print(plan, rows, compared, document)
    for path in written:
        _tell(f"wrote {path}")


def _refuse(options: list[str], word: str) -> None:
    if options:
        raise UsageError(
            f"'agewalk timing {word}' takes no {options[0]}", hint="'agewalk timing list' names the experiments that do"
        )


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise UsageError(f"--vcpus {text!r} is not a list of counts", hint="as in --vcpus 1,4,16")
    if len(set(counts)) < len(counts):
        raise UsageError(f"--vcpus {text!r} names a number twice", hint="--seeds repeats rows, for error bars")
    return counts


def _run(
    plan: "Experiment", table: "CostTable", counts: tuple[int, ...], scale: int, seeds: int, jobs: int
) -> list["Row"]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from agewalk.timing.run import run_all

    console = Console(stderr=True)
    weight = {n: n for n in counts}
    total = sum(weight[n] for n in counts) * len(plan.variants) * seeds
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task("vCPUs simulated", total=total)
        finished = 0

        def done(row: "Row", n: int, _of: int) -> None:
            nonlocal finished
            finished = n
            progress.advance(task, row.vcpus)

        try:
            return run_all(plan, table, vcpus=counts, factor=scale or None, seeds=range(seeds), workers=jobs, done=done)
        except KeyboardInterrupt:
            rows = len(counts) * len(plan.variants) * seeds
            raise Interrupted(
                f"interrupted: {finished} of {rows} rows were done, none is kept",
                hint="--vcpus asks for fewer rows, a larger --scale makes each of them shorter",
            ) from None


def _tell(text: str) -> None:
    sys.stderr.write(printable(text) + "\n")


def _calibrate(plan: "Experiment", table: "CostTable", scale: int, seeds: int, jobs: int) -> "CostTable":
    from agewalk.timing.calibrate import fit

    done = fit(plan, table, factor=scale or None, seeds=tuple(range(seeds)), workers=jobs, told=_tell)
    _tell(f"fitted in {done.runs} runs: error {' -> '.join(f'{e:.3f}' for e in done.errors)}")
    return done.costs


def _compared(plan: "Experiment", rows: list["Row"]) -> list["Compared"]:
    from agewalk.timing.calibrate import compare_published

    return compare_published(plan, rows)


def _extras(
    plan: "Experiment",
    table: "CostTable",
    rows: list["Row"],
    counts: tuple[int, ...],
    scale: int,
    seeds: int,
    charts: Path | None,
    perfetto: Path | None,
    document: dict[str, Any] | None,
) -> list[Path]:
    written: list[Path] = []
    swings = None
    if document is not None:
        from agewalk.timing.sensitivity import sensitivity

        swings = sensitivity(
            plan,
            table,
            vcpus=max(counts),
            factor=scale or None,
            seeds=range(seeds),
            told=_tell,
        )
        document["sensitivity"] = [vars(s) for s in swings.swings]
        document["sensitivity_noise"] = {"pass": swings.pass_noise, "wall": swings.wall_noise}
    if charts is not None:
        from agewalk.timing.output.charts import experiment_chart, sensitivity_chart, write_charts

        written += write_charts(experiment_chart(plan, rows), charts / f"timing-{plan.name}")
        if swings is not None:
            chart = sensitivity_chart(plan, swings, max(counts))
            written += write_charts(chart, charts / f"timing-{plan.name}-sensitivity")
    if perfetto is not None:
        from agewalk.timing.output.timeline import write_perfetto
        from agewalk.timing.recorder import Recorder
        from agewalk.timing.run import run_row

        recorder = Recorder()
        variant = plan.variants[-1]
        factor = max(scale or plan.factor, TIMELINE_SCALE)
        run_row(plan, variant, max(counts), table, factor=factor, recorder=recorder)
        write_perfetto(recorder, perfetto, title=f"agewalk timing {plan.name}: {variant.name}, {max(counts)} vCPUs")
        written.append(perfetto)
    return written


# --- for people -------------------------------------------------------------------------------------------------------


def _print_names(as_json: bool) -> None:
    from agewalk.timing.experiment import load_experiment, shipped

    found = [load_experiment(name) for name in shipped()]
    if as_json:
        listed = [{"experiment": e.name, "title": e.title, "cite": e.cite} for e in found]
        sys.stdout.write(json.dumps({"schema": 1, "experiments": listed}) + "\n")
        return
    columns = [Column("experiment"), Column("what it asks", prose=True), Column("source", prose=True)]
    _show(columns, [[e.name, e.title, e.cite] for e in found])


def _print_costs(costs: "CostTable", as_json: bool) -> None:
    if as_json:
        listed = {n: vars(c) for n, c in costs.items()}
        sys.stdout.write(json.dumps({"schema": 1, "costs": listed}) + "\n")
        return
    columns = [Column("cost"), Column("value", right=True), Column("fitted"), Column("source", prose=True)]
    rows = [[n, f"{c.value:g} {c.unit}", "yes" if c.fitted else "", c.source] for n, c in costs.items()]
    _show(columns, rows)


def _one_page(costs: "CostTable", protocols: list[str] | None, as_json: bool) -> None:
    from agewalk.timing.one_page import one_page

    names = protocols or ["linux-6.9", "linux-6.13", "linux-6.15", "v5", "v7", "houghton", "christopherson"]
    rows = [
        one_page(costs, name, mmu=mmu, other=other, retpoline=retpoline)
        for retpoline in (True, False)
        for name in names
        for mmu in ("tdp", "legacy")
        for other in (False, True)
    ]
    if as_json:
        document = {"schema": 1, "experiment": "one-page", "rows": [vars(r) for r in rows]}
        sys.stdout.write(json.dumps(document) + "\n")
        return
    text = "An aging pass on an idle host, ns a page, and indirect calls; 'other': a second subscriber that is not fast"
    sys.stdout.write(paragraph(text) + "\n")
    names = ["protocol", "calls", "MMU", "other"]
    numbers = ["first visit", "again", "indirect", "saved"]
    columns = [*(Column(name) for name in names), *(Column(name, right=True) for name in numbers)]
    lines = [
        [r.protocol, "retpoline" if r.retpoline else "plain", r.mmu, "other" if r.other else "",
         f"{r.first_ns:.1f}", f"{r.again_ns:.1f}", str(r.calls), str(r.calls_saved)]
        for r in rows
    ]  # fmt: skip
    _show(columns, lines, keys=4)


def _show(columns: list[Column], rows: list[list[str]], *, keys: int = 1) -> None:
    sys.stdout.write(table_of(columns, rows, colour=coloured(), keys=keys))


def _print(plan: "Experiment", rows: list["Row"], compared: list["Compared"], document: dict[str, Any]) -> None:
    sys.stdout.write(paragraph(f"{plan.title}\n{plan.about}") + "\n")
    numbers = ("scale", "wall s", "pass s", "whole", "passes", "stall s", "p50", "p99", "max us", "write-held s")
    columns = [Column("vCPUs, variant"), *(Column(name, right=True) for name in numbers)]
    _show(columns, [
        [
            f"{r.vcpus:>3} {r.variant}", str(r.factor), f"{r.wall_s:.3f}", "-" if r.pass_s is None else f"{r.pass_s:.4f}",
            "-" if r.pass_whole_s is None else f"{r.pass_whole_s:.4f}", str(r.passes),
            f"{r.stall_s:.3f}", f"{r.fault_p50_ns / 1000:.1f}", f"{r.fault_p99_ns / 1000:.1f}",
            f"{r.fault_max_ns / 1000:.0f}", f"{r.mmu_lock_write_s:.3f}",
        ]
        for r in rows
    ])  # fmt: skip
    if compared:
        sys.stdout.write(
            "\n" + paragraph(f"Against {plan.cite}\nPasses as they are counted there, the last one whole.")
        )
        columns = [Column("vCPUs, what"), *(Column(n, right=True) for n in ("published", "predicted", "+-", "off"))]
        lines = [
            [f"{c.vcpus:>3} {c.what}", f"{c.published:.4f}", f"{c.predicted:.4f}", f"{c.spread:.4f}", f"{c.off:+.0%}",
             "fitted" if c.fitted else "out of sample"]
            for c in compared
        ]  # fmt: skip
        _show([*columns, Column("")], lines)
    if "sensitivity" in document:
        noise = document["sensitivity_noise"]
        text = (
            "What a cost divided and multiplied by 1.5 does (small counts: by one); "
            f"seeds alone: {noise['pass']:.1%} and {noise['wall']:.1%}"
        )
        sys.stdout.write("\n" + paragraph(text))
        names = ("pass ratio -", "pass ratio +", "wall -", "wall +")
        keys = ("pass_low", "pass_high", "wall_low", "wall_high")
        lines = [[s["cost"], *(f"{s[k]:+.1%}" for k in keys)] for s in document["sensitivity"]]
        _show([Column("cost"), *(Column(name, right=True) for name in names)], lines)
