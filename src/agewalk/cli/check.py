"""`agewalk check`: every interleaving of a small system of threads, and what must be true of all of them."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agewalk.core.errors import Interrupted, UsageError
from agewalk.core.files import whole
from agewalk.core.text import printable
from agewalk.report.table import Column, coloured, paragraph, room
from agewalk.report.table import table as table_of

if TYPE_CHECKING:
    from agewalk.checker.explore import Outcome
    from agewalk.checker.matrix import Cell, Matrix
    from agewalk.checker.search.bfs import Bounds, Progress


_BUILT_IN = "no WARN, use after free, deadlock, starvation ..."

_MOST = (1 << 31) - 1
_QUIET = 2.0  # seconds before a single search shows how it goes
_CLEAR = "\r\x1b[K"  # back to the start of the line, which is emptied
_WIDE = 18  # of a column of the matrix


def command(
    system: Annotated[
        str | None,
        typer.Argument(
            help="SYSTEM, SYSTEM/PROTOCOL or SYSTEM/PROTOCOL/MMU, as in age-vs-zap/v7/nested or age-vs-zap/my.py:Class; "
            "or your own system, file.py:function."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every system for every protocol and MMU kind, as a matrix.")
    ] = False,
    names: Annotated[bool, typer.Option("--list", help="What can be checked.")] = False,
    replay: Annotated[
        str | None, typer.Option(help="Follow a replay string step by step and show what happens.")
    ] = None,
    memory_model: Annotated[
        str, typer.Option(help="sc, tso (x86 store buffers) or weak (plain stores overtake).")
    ] = "sc",
    reduce: Annotated[
        bool,
        typer.Option(
            help="Partial-order reduction from the start, for systems too large to see whole. Safety is decided; liveness "
            "only where no thread can go round."
        ),
    ] = False,
    symmetry: Annotated[
        bool,
        typer.Option(
            help="From the start, let one state stand for all that exchanging identical threads and pages makes of it."
        ),
    ] = False,
    max_states: Annotated[int | None, typer.Option(min=1, max=_MOST, help="Stop at so many states.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Stop at so much memory, as in '2 GiB'.")] = None,
    walks: Annotated[
        int | None, typer.Option(min=1, max=_MOST, help="Random walks instead of a search: how many.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=_MOST, help="Of the random walks.")] = 1,
    promela: Annotated[Path | None, typer.Option(help="Write the system as a SPIN model.")] = None,
    mermaid: Annotated[Path | None, typer.Option(help="Write the counterexample as a sequence diagram.")] = None,
    perfetto: Annotated[Path | None, typer.Option(help="Write the counterexample as a Perfetto timeline.")] = None,
    emit_test: Annotated[Path | None, typer.Option(help="Write a pytest that fails until the bug is fixed.")] = None,
    brief: Annotated[bool, typer.Option(help="Of a path, only steps that change something or read an entry.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Explore every interleaving. Exit code 1: a must-property is violated."""
    from agewalk.checker.search.bfs import Bounds
    from agewalk.core.units import parse_size

    if max_seconds is not None and not math.isfinite(max_seconds):
        raise UsageError(f"--max-seconds {max_seconds} is no number of seconds", hint="leave it out for no bound")
    bounds = Bounds(max_states, max_seconds, parse_size(max_memory) if max_memory is not None else None)
    if names:
        _list(as_json)
    elif every:
        if system is not None or reduce or symmetry:
            raise UsageError(
                "--all checks every system, whole",
                hint="leave out --reduce and --symmetry, or name one system and leave out --all",
            )
        _all(bounds, as_json)
    elif replay is not None:
        _replay(replay, as_json, brief=brief)
    elif system is None:
        raise UsageError("nothing to check", hint="name a system (`agewalk check --list`), or say --all")
    elif walks is not None:
        _walk(system, memory_model, walks, seed, as_json)
    else:
        _one(system, bounds, memory_model, (reduce, symmetry, brief), (promela, mermaid, perfetto, emit_test), as_json)


def _emit(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def _finish(ok: bool) -> None:
    sys.stdout.flush()
    raise typer.Exit(0 if ok else 1)


def _fitted(text: str) -> str:
    """Lines that fit the terminal, but for replay strings: those are copied, so they stay whole."""
    return "".join(
        printable(line) + "\n" if "--replay " in line else paragraph(line) or "\n" for line in text.splitlines()
    )


def _list(as_json: bool) -> None:
    from agewalk.checker.catalog import SYSTEMS, VARIANTS

    if as_json:
        rows = [
            {"system": n, "mmus": list(s.mmus), "sections": s.sections, "about": s.about} for n, s in SYSTEMS.items()
        ]
        _emit({"schema": 1, "systems": rows, "protocols": list(VARIANTS)})
        return
    columns = [Column("system"), Column("what it is", prose=True), Column("MMUs", prose=True)]
    lines = [[name, shipped.about, ", ".join(shipped.mmus)] for name, shipped in SYSTEMS.items()]
    sys.stdout.write(table_of(columns, lines, colour=coloured()))
    sys.stdout.write(paragraph(f"\nprotocols: {', '.join(VARIANTS)}\nas in: agewalk check age-vs-zap/v7/nested"))


def _say_first_use() -> None:
    from agewalk.checker.jit import is_first_use

    if is_first_use():
        sys.stderr.write("compiling the search, once: about half a minute\n")


def _show_progress(p: Progress) -> None:
    if p.seconds < _QUIET:
        return
    rate = p.states / p.seconds / 1e6
    sys.stderr.write(
        f"{_CLEAR}{p.states:,} states, {rate:.2f} M/s, depth {p.depth:,}, {p.queue:,} to expand, {p.bytes >> 20:,} MiB, "
        f"{p.seconds:.0f} s"
    )
    sys.stderr.flush()


def _one(
    name: str,
    bounds: Bounds,
    model: str,
    how: tuple[bool, bool, bool],
    files: tuple[Path | None, Path | None, Path | None, Path | None],
    as_json: bool,
) -> None:
    from agewalk.checker.automata.store_buffers import with_memory_model
    from agewalk.checker.catalog import get_system
    from agewalk.checker.explore import check

    built = with_memory_model(get_system(name), model)
    progress = _show_progress if sys.stderr.isatty() else None
    _say_first_use()
    reduce, symmetric, brief = how
    try:
        outcome = check(built, bounds, reduce=reduce, symmetric=symmetric, progress=progress)
    except KeyboardInterrupt:
        if progress:
            sys.stderr.write(_CLEAR)
        raise Interrupted(
            "interrupted: nothing is kept",
            hint="--max-seconds, --max-states and --max-memory end a search with a report",
        ) from None
    if progress:
        sys.stderr.write(_CLEAR)
    _write(outcome, files, name, model)
    if as_json:
        _emit(document(outcome))
    else:
        sys.stdout.write(_fitted(report(outcome, brief=brief, width=room())))
    _finish(outcome.verdict != "violated")


def _write(outcome: Outcome, files: tuple[Path | None, ...], name: str, model: str) -> None:
    from agewalk.checker import render
    from agewalk.checker.promela import promela
    from agewalk.checker.search.minimal import Minimal

    spin, diagram, timeline, test = files
    if spin is not None:
        _save(spin, promela(Minimal(outcome.automata)))
    wanted = [f for f in (diagram, timeline, test) if f is not None]
    if wanted and outcome.path is None:
        raise UsageError(
            f"{outcome.system.name} has no counterexample to write", hint=f"its verdict is {outcome.verdict!r}"
        )
    if outcome.path is None:
        return
    if diagram is not None:
        _save(diagram, render.mermaid(outcome.path))
    if timeline is not None:
        render.write_perfetto(outcome.path, timeline)
    if test is not None:
        broken = next(v.name for v in outcome.verdicts if not v.holds and v.state is not None)
        _save(test, render.emit_test(outcome.path, name, broken, model))


def _save(path: Path, content: str) -> None:
    with whole(path) as part:
        part.write_text(content, encoding="utf-8")


def document(outcome: Outcome) -> dict[str, Any]:
    """`agewalk check SYSTEM --json` (formats.md), with a few facts more."""
    from agewalk.checker.render import as_json

    return {
        "schema": 1, "system": outcome.system.name, "verdict": outcome.verdict, "states": outcome.states,
        "transitions": outcome.transitions, "depth": outcome.depth, "seconds": round(outcome.seconds, 3),
        "bound": outcome.bound, "peak_bytes": outcome.peak_bytes, "note": outcome.note,
        "properties": [
            {"name": v.name, "holds": v.holds and v.verdict != "bounded", "witnessed": v.witnessed, "kind": v.severity,
             "verdict": v.verdict, "length": v.length, "count": v.count, "worst": v.worst, "why": v.why}
            for v in outcome.verdicts
        ],
        "counterexample": as_json(outcome.path) if outcome.path else [],
        "replay": outcome.path.replay if outcome.path else "",
    }  # fmt: skip


def report(outcome: Outcome, *, brief: bool = False, width: int | None = None) -> str:
    """The same for people."""
    from agewalk.checker.render import text

    o = outcome
    rate = o.graph.count / o.graph.seconds / 1e6 if o.graph.seconds else 0.0  # of the search that decides
    bound = f" (stopped at {o.bound}: not all was seen)" if o.bound else ""
    if o.verdict == "bounded" and not o.bound:
        bound = " (all that was judged holds; liveness needs a search without --reduce and --symmetry)"
    lines = [
        f"{o.system.name}: {o.verdict}{bound}",
        f"  {o.system.about}",
        f"  {o.states:,} states, {o.transitions:,} transitions, depth {o.depth}",
        f"  {rate:.1f} M states/s, {o.seconds:.1f} s in all, peak memory {o.peak_bytes >> 20} MiB",
        *([f"  {o.note}"] if o.note else []),
        "",
    ]
    for v in o.verdicts:
        at = f", {v.length} steps" if v.length is not None and v.verdict in {"violated", "tolerated"} else ""
        more = f", in {v.count} of the states looked at" if v.count else ""
        worst = f", worst {v.worst}" if v.worst is not None else ""
        why = f" ({v.why})" if v.why and v.why != v.name else ""
        lines.append(f"  {v.severity:<10}{v.verdict:<15}{v.name}{at}{more}{worst}{why}")
    if o.path:
        lines += ["", text(o.path, brief=brief, width=width)]
    return "\n".join(lines) + "\n"


def _replay(text: str, as_json: bool, *, brief: bool) -> None:
    from agewalk.checker import render
    from agewalk.checker.automata.store_buffers import MODELS, with_memory_model
    from agewalk.checker.automata.unfolding import Automata
    from agewalk.checker.catalog import get_system
    from agewalk.checker.search.simulate import Simulator, parse_replay

    name, moves = parse_replay(text)
    base, _, model = name.rpartition("+")
    if model not in MODELS:
        base, model = name, "sc"
    path = Simulator(Automata(with_memory_model(get_system(base), model))).path(moves)
    if as_json:
        _emit({"schema": 1, "system": name, "steps": render.as_json(path), "outcome": path.outcome})
    else:
        sys.stdout.write(_fitted(render.text(path, brief=brief, width=room())))


def _walk(name: str, model: str, walks: int, seed: int, as_json: bool) -> None:
    from agewalk.checker.automata.store_buffers import with_memory_model
    from agewalk.checker.automata.unfolding import Automata
    from agewalk.checker.catalog import get_system
    from agewalk.checker.search.simulate import Simulator

    simulator = Simulator(Automata(with_memory_model(get_system(name), model)))
    found: dict[str, tuple[int, str]] = {}
    for n in range(walks):
        moves, _ = simulator.walk(seed + n)
        path = simulator.path(moves)
        count, first = found.get(path.outcome, (0, path.replay))
        found[path.outcome] = (count + 1, first)
    rows = [{"outcome": what, "count": count, "replay": how} for what, (count, how) in sorted(found.items())]
    if as_json:
        _emit({"schema": 1, "system": name, "walks": walks, "seed": seed, "outcomes": rows})
    else:
        text = "".join(f"{r['count']:>8}  {r['outcome']}\n          --replay {r['replay']}\n" for r in rows)
        sys.stdout.write(_fitted(text))


def _all(bounds: Bounds, as_json: bool) -> None:
    from agewalk.checker.catalog import all_names
    from agewalk.checker.matrix import run

    names = list(all_names())
    _say_first_use()
    sys.stderr.write(f"{len(names):,} systems: about a minute and a half of CPU time\n")
    began = time.monotonic()
    done = 0

    def each(name: str, _: Outcome) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            seconds = (time.monotonic() - began) * (len(names) - done) / done
            width = max(20, shutil.get_terminal_size().columns - 1)
            sys.stderr.write(_CLEAR + printable(f"{done} of {len(names)}, {seconds:.0f} s left: {name}")[:width])
            sys.stderr.flush()

    matrix = run(names, bounds, each=each)
    if sys.stderr.isatty():
        sys.stderr.write(_CLEAR)
    if as_json:
        _emit({"schema": 1, "cells": [c.document() for c in matrix.cells], "seconds": round(matrix.seconds, 1)})
    else:
        sys.stdout.write(table(matrix))
    _finish(not matrix.violated)


def table(matrix: Matrix) -> str:
    """Protocols across, properties of systems down; what is the same for all MMU kinds is one row."""
    from agewalk.checker.system import BUILT_IN

    protocols = list(dict.fromkeys(c.protocol for c in matrix.cells))
    rows: dict[tuple[str, str, str], dict[str, list[Cell]]] = {}
    for c in matrix.cells:
        name = c.property if c.property not in BUILT_IN or c.verdict == "violated" else _BUILT_IN
        rows.setdefault((c.system, c.kind, name), {}).setdefault(c.protocol, []).append(c)
    cuts = (("linux-", ""), ("must_check=", ""), ("variant=", ""), ("christopherson", "christoph"))
    short = protocols
    for long, cut in cuts:
        short = [p.replace(long, cut) for p in short]
    short = [s if len(s) <= _WIDE else s[-_WIDE:] for s in short]
    parts = []
    for system in dict.fromkeys(system for system, _, _ in rows):
        columns = [Column(system, prose=True), *(Column(s, right=True) for s in short)]
        lines = [
            [f"{'' if kind == 'must' else '~ '}{name}", *(_mark(by.get(p, [])) for p in protocols)]
            for (of, kind, name), by in rows.items()
            if of == system
        ]
        parts.append(table_of(columns, lines, colour=coloured()) + "\n")
    slowest = f"slowest {matrix.slowest[1]} ({matrix.slowest[0]:.1f} s)"
    notes = [
        "ok holds   BUG/n violated, shortest path n steps   n seen (worst w): tolerated, path of n steps   - not applicable",
        f"{len(matrix.violated)} violations of must-properties; {matrix.seconds:.0f} s, {slowest}",
        f"{_BUILT_IN!r}: {', '.join(BUILT_IN)}",
        "~ marks a tolerated inaccuracy. One violation, with its path: agewalk check SYSTEM/PROTOCOL/MMU",
        "",
        *sorted({f"- {c.property}: {c.why}" for c in matrix.cells if c.verdict == "not-applicable" and c.why}),
    ]
    return "".join(parts) + _fitted("\n".join(notes))


def _mark(cells: list[Cell]) -> str:
    """The worst over MMU kinds."""
    for verdict in ("violated", "tolerated", "bounded", "holds"):
        found = [c for c in cells if c.verdict == verdict]
        if found:
            shortest = min((c.length for c in found if c.length is not None), default=None)
            if verdict == "violated":
                return f"BUG/{shortest}" if shortest is not None else "BUG"
            if verdict == "tolerated":
                worst = max((c.worst for c in found if c.worst is not None), default=None)
                return f"{shortest} seen" + (f" ({worst})" if worst is not None else "")
            return "ok" if verdict == "holds" else "?"
    return "-"
