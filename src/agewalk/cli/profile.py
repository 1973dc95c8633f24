"""`agewalk profile`: the kernels that we model, and in which features they differ."""

import json
import sys
from typing import Annotated

import typer

from agewalk.report.table import Column, coloured, table

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Kernels as bundles of named features, each with its citation."
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command("list")
def list_command(*, as_json: Json = False) -> None:
    """All kernels."""
    from agewalk.model.profiles import PROFILES

    rows = [
        {"profile": p.name, "recorded": p.recorded, "protocol": p.protocol, "summary": p.summary}
        for p in PROFILES.values()
    ]
    if as_json:
        json.dump({"schema": 1, "profiles": rows}, sys.stdout)
        sys.stdout.write("\n")
        return
    columns = [Column("kernel"), Column("recorded"), Column("protocol"), Column("what it is", prose=True)]
    lines = [
        [str(row["profile"]), "yes" if row["recorded"] else "no", str(row["protocol"]), str(row["summary"])]
        for row in rows
    ]
    sys.stdout.write(table(columns, lines, colour=coloured()))


@app.command("show")
def show_command(
    kernel: Annotated[str, typer.Argument(help="A profile: 6.1, 6.9, 6.12, 6.13, 6.15, 6.18 or 7.3.")],
    other: Annotated[str, typer.Argument(help="Show only what differs from this one.", show_default=False)] = "",
    *,
    as_json: Json = False,
) -> None:
    """The features of a kernel, or those in which two kernels differ."""
    from agewalk.model.profiles import features, profile

    mine = list(features(profile(kernel)))
    theirs = {(f.part, f.name): f.value for f in features(profile(other))} if other else {}
    rows = [f for f in mine if not other or theirs[f.part, f.name] != f.value]
    if as_json:
        listed = [{"part": f.part, "feature": f.name, "value": f.value, "cite": f.cite} for f in rows]
        json.dump({"schema": 1, "profile": kernel, "compared_with": other or None, "features": listed}, sys.stdout)
        sys.stdout.write("\n")
        return
    values = [kernel, *([other] if other else [])]
    columns = [Column("part"), Column("feature"), *(Column(name) for name in values)]
    lines = [[f.part, f.name, str(f.value), *([str(theirs[f.part, f.name])] if other else []), f.cite] for f in rows]
    columns.append(Column("what it means, and since when", prose=True))
    sys.stdout.write(table(columns, lines, colour=coloured(), keys=2))
