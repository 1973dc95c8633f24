"""`agewalk witness`: recordings of real kernels, and the model on the same steps."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from agewalk.core.errors import UsageError
from agewalk.report.table import Cell, Column, coloured, paragraph, table

if TYPE_CHECKING:
    from agewalk.study.witness import FileVerdict

T = TypeVar("T")
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Recordings of real kernels, page by page, and what the model says of the same steps.",
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Files = Annotated[list[Path], typer.Argument(help="Witness files, or directories of them.", show_default=False)]
Jobs = Annotated[int, typer.Option(help="Files at the same time; 0: one a CPU.", min=0)]

_WHERE = (
    "the 363 recordings are in tests/witness of agewalk's source tree; an installed agewalk does not carry them, and "
    "'agewalk docs witness' says how to make your own"
)


def _files(paths: list[Path]) -> list[Path]:
    out: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*.json") if p.name != "index.json")
            if not found:
                raise UsageError(
                    f"{path}: no witness files in there", hint="they are called PROFILE/BACKING/SCENARIO.json"
                )
            out.extend(found)
        elif not path.exists():
            raise UsageError(f"{path}: no such file or directory", hint=_WHERE)
        else:
            out.append(path)
    return out


def _verify_all(files: list[Path], jobs: int) -> list["FileVerdict"]:
    from rich.console import Console
    from rich.progress import track

    from agewalk.core.process_pool import ProcessPool
    from agewalk.study.witness import read_witness, verify
    from agewalk.study.witness.verify import verify_job

    witnesses = [read_witness(path) for path in files]  # all of them before the work starts: a bad one is told at once
    console = Console(stderr=True)
    workers = min(jobs or os.cpu_count() or 1, len(files))

    def shown(results: Iterable[T]) -> list[T]:
        hidden = not console.is_terminal
        return list(track(results, "replaying", len(files), console=console, transient=True, disable=hidden))

    if workers <= 1:
        return shown(map(verify, witnesses))
    with ProcessPool(verify_job, list(enumerate(witnesses)), workers, name=lambda witness: str(witness.path)) as pool:
        found = dict(shown(result for result in pool.results() if result is not None))
    return [found[i] for i in range(len(files))]


@app.command("verify")
def verify_command(files: Files, *, as_json: Json = False, jobs: Jobs = 0) -> None:
    """Run the model through each file; exit code 1 if the pages of any differ.

    equal: every page, generation and eviction order. calls: the counted kernel functions. counts: also how much reclaim
    took was the model's own choice.
    """
    from agewalk.study.witness.verify import as_json as verdict_json

    verdicts = _verify_all(_files(files), jobs)
    if as_json:
        json.dump({"schema": 1, "files": [verdict_json(v) for v in verdicts]}, sys.stdout)
        sys.stdout.write("\n")
    else:
        _table(verdicts)
    if not all(v.equal for v in verdicts):
        raise SystemExit(1)


def _table(verdicts: list["FileVerdict"]) -> None:
    right = {"steps", "pages"}
    names = ("file", "steps", "pages", "equal", "calls", "counts")
    columns = [*(Column(name, right=name in right) for name in names), Column("first difference", prose=True)]
    word = {True: Cell("yes"), False: Cell("no", "bad")}
    rows: list[list[str | Cell]] = []
    for v in verdicts:
        first = next(iter(v.mismatches or v.call_mismatches or v.count_mismatches), None)
        where = "" if first is None or first.page is None else f" of page {first.page}"
        text = (
            "" if first is None else f"step {first.step}: {first.field}{where} is {first.expected}, model {first.got}"
        )
        rows.append(
            ["/".join(Path(v.file).parts[-3:]), str(v.steps), str(v.pages), word[v.equal], word[v.calls_equal],
             word[v.counts_equal], text]
        )  # fmt: skip
    sys.stdout.write(table(columns, rows, colour=coloured()))
    total = len(verdicts)
    sys.stdout.write(
        paragraph(
            f"{sum(v.equal for v in verdicts)} of {total} equal, {sum(v.calls_equal for v in verdicts)} with equal calls, "
            f"{sum(v.counts_equal for v in verdicts)} with equal counts"
        )
    )


@app.command("show")
def show_command(file: Annotated[Path, typer.Argument(help="A witness file.")], *, as_json: Json = False) -> None:
    """The steps of a recording: where the kernel had the pages after each, and where the model has them."""
    from agewalk.study.witness import read_witness
    from agewalk.study.witness.replay import replay
    from agewalk.study.witness.text import describe, modelled, recorded

    witness = read_witness(file)
    rows: list[dict[str, str]] = [
        {
            "step": str(number),
            "what": describe(step),
            "kernel": recorded(seen) if seen is not None else "",
            "model": modelled(shown) if seen is not None else "",
        }
        for number, (step, seen, shown) in enumerate(
            zip(witness.steps, witness.recordings[0], replay(witness, given=False), strict=True)
        )
    ]
    if as_json:
        json.dump({"schema": 1, "file": str(file), "kernel": witness.kernel, "steps": rows}, sys.stdout)
        sys.stdout.write("\n")
        return
    columns = [
        Column("step", right=True),
        *(Column(n, prose=True) for n in ("what", f"Linux {witness.kernel}", "model")),
    ]
    lines = []
    for row in rows:
        same = row["kernel"] == row["model"] and row["kernel"]
        lines.append([row["step"], row["what"], row["kernel"], "same" if same else row["model"]])
    head = (
        f"{witness.scenario}: {witness.pages} pages, backing {witness.backing}. n@k: k generations below the youngest"
    )
    sys.stdout.write(paragraph(head) + table(columns, lines, colour=coloured()))
