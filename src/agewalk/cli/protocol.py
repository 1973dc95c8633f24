"""`agewalk protocol`: protocols by name, their truth tables, and where two of them disagree."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agewalk.core.errors import UsageError
from agewalk.report.table import Column, coloured, paragraph, room, title
from agewalk.report.table import table as table_of

if TYPE_CHECKING:
    from agewalk.model.protocols.tables.table import ProtocolTable

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Aging protocols: who is asked about a page's accessed bits, under which lock, and what is concluded.",
)

Name = Annotated[str, typer.Argument(help="A protocol: v7, houghton:must_check=rmaps, path/to/file.py:ClassName.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

_LEGEND = (
    "MMUs: TDP MMU on or off; L2: a nested guest has tables now; L2 gone: one had (its rmaps stay). "
    "Bits set: primary, of the process; fast, of a TDP MMU SPTE; slow, of a shadow MMU SPTE."
)


def _emit(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def _table_of(name: str) -> ProtocolTable:
    from agewalk.model.protocols.registry import get_protocol
    from agewalk.model.protocols.tables.enumerate import protocol_table

    return protocol_table(get_protocol(name))


def _mmus(row: dict[str, Any]) -> str:
    """`TDP, L2 gone`: the state of a VM's MMUs."""
    nested = "L2" if row["shadow_pages"] else "L2 gone" if row["rmaps"] else ""
    return ", ".join(filter(None, ("TDP" if row["tdp"] else "no TDP", nested)))


def _bits(row: dict[str, Any]) -> str:
    return " ".join(bit for bit in ("primary", "fast", "slow") if row.get(bit)) or "none"


def _state(row: dict[str, Any]) -> str:
    """One state in words, whatever keys the row has."""
    if not row.get("subscribed", True):
        return "VM gone" if row["has_notifiers"] else "no VM"
    return _mmus(row)


def _print_rows(
    headline: str, columns: list[Column], rows: list[list[str]], *, keys: int = 1, legend: str = ""
) -> None:
    colour = coloured()
    if headline:
        sys.stdout.write(title(headline, room(), colour=colour))
    sys.stdout.write(table_of(columns, rows, colour=colour, keys=keys))
    if legend:
        sys.stdout.write(paragraph(legend))


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All protocols that come with agewalk, one line each."""
    from agewalk.model.protocols.registry import PROTOCOLS

    if as_json:
        known = [
            {"name": c.name, "summary": c.summary, "cite": c.cite, "kernel": c.profile or None, "options": c.options}
            for c in PROTOCOLS.values()
        ]
        _emit({"schema": 1, "protocols": known})
        return
    columns = [Column("protocol"), Column("what it does", prose=True), Column("options", prose=True)]
    rows = [
        [c.name, c.summary, "; ".join(f"{k}={'|'.join(v)}" for k, v in c.options.items())] for c in PROTOCOLS.values()
    ]
    _print_rows("", columns, rows)
    sys.stdout.write(paragraph("Your own: path/to/file.py:ClassName, about 15 lines (agewalk docs your-own-protocol)."))


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """One protocol: what it is, where it comes from, what its questions cost."""
    from agewalk.model.protocols.registry import get_protocol
    from agewalk.model.protocols.tables.difference import cost_summary
    from agewalk.model.protocols.tables.enumerate import protocol_table

    protocol = get_protocol(name)
    costs = cost_summary(protocol_table(protocol))
    facts: dict[str, Any] = {
        "name": protocol.full_name,
        "summary": protocol.summary,
        "cite": protocol.cite,
        "kernel": protocol.profile or None,
        "options": {k: {"values": list(v), "chosen": protocol.chosen[k]} for k, v in protocol.options.items()},
        "fast_only": protocol.fast_only,
        "opt_in": protocol.opt_in,
        "has_fast_aging": protocol.has_fast_aging,
        "mmu_lock_held_by_caller": not protocol.lockless,
        "mglru_features": protocol.mglru_changes(),
        "kvm_features": protocol.kvm_changes,
        "mean_costs": costs,
    }
    if as_json:
        _emit({"schema": 1, "protocol": facts})
        return
    lines = [f"{protocol.full_name}  {protocol.summary}"]
    if protocol.cite:
        lines.append(f"source: {protocol.cite}")
    lines.append(" ".join((type(protocol).__doc__ or "").split()))
    kernel = f"brings kernel {protocol.profile} along" if protocol.profile else "runs on any kernel profile"
    fast = "callers can ask for fast answers only" if protocol.fast_only else "no fast-only calls"
    lock = (
        "KVM answers without mmu_lock held by the caller"
        if protocol.lockless
        else "KVM's caller holds mmu_lock for write"
    )
    lines.append(f"{kernel}; {fast}; {lock}.")
    lines += (f"option {key}: {', '.join(v)} (now {protocol.chosen[key]})" for key, v in protocol.options.items())
    sys.stdout.write("".join(paragraph(line) for line in lines if line))
    names = [name.replace("_", " ") for name in next(iter(costs.values()))]
    rows = [[q, *[f"{v:.2f}" for v in c.values()]] for q, c in costs.items()]
    headline = "Calls and locks of one question, mean over all states of a VM's page"
    _print_rows(headline, [Column("question"), *(Column(name, right=True) for name in names)], rows)


@app.command()
def table(
    name: Name,
    as_json: Json = False,
    no_ad_bits: Annotated[
        bool, typer.Option("--no-ad-bits", help="SPTEs without hardware A/D bits (old EPT).")
    ] = False,
    engine: Annotated[bool, typer.Option("--engine", help="With the questions' outcomes and costs as well.")] = False,
) -> None:
    """What one call of a young operation answers, clears and locks, in every state that can occur."""
    from agewalk.model.protocols.registry import get_protocol
    from agewalk.model.protocols.tables.enumerate import age_rows, protocol_table

    protocol = get_protocol(name)
    if engine and not as_json:
        raise UsageError("--engine prints a table for machines", hint="add --json")
    if engine:
        _emit(protocol_table(protocol).to_json())
        return
    found = [row.to_json() for row in age_rows(protocol, ad_bits=not no_ad_bits)]
    if as_json:
        _emit({"schema": 1, "protocol": protocol.full_name, "rows": found})
        return
    rows = [
        [
            _mmus(r),
            _bits(r),
            r["op"] + ("_fast_only" if r["fast_only"] else ""),
            " ".join(["young" if r["young"] else "old", *r["flags"]]) if not r["skipped"] else "not asked",
            "write" if r["locked"] else "",
            " ".join(bit for bit in ("fast", "slow") if r[f"{bit}_cleared"]),
        ]
        for r in found
    ]
    columns = [Column(name) for name in ("MMUs", "bits set", "operation", "answer", "mmu_lock", "clears")]
    _print_rows(f"{protocol.full_name}: one call of a young operation", columns, rows, keys=3, legend=_LEGEND)


@app.command()
def lookaround(name: Name, as_json: Json = False) -> None:
    """When eviction meets the page: does it count as referenced, and are its neighbours looked at?"""
    made = _table_of(name)
    rows = made.lookaround()
    if as_json:
        _emit({"schema": 1, "protocol": made.name, "rows": rows})
        return
    shown = [
        [_mmus(r), _bits(r), "referenced" if r["referenced"] else "old", "look around" if r["look_around"] else ""]
        for r in rows
    ]
    columns = [Column(name) for name in ("MMUs", "bits set", "the page", "its neighbours")]
    _print_rows(f"{made.name}: the target of an eviction", columns, shown, keys=2, legend=_LEGEND)


@app.command()
def diff(a: Name, b: Name, as_json: Json = False) -> None:
    """Only the states in which two protocols disagree, and what each disagreement means for the page."""
    from agewalk.model.protocols.tables.difference import age_differences, question_differences

    first, second = _table_of(a), _table_of(b)
    questions, calls = question_differences(first, second), age_differences(first, second)
    if as_json:
        rows = [d.to_json() for d in questions + calls]
        _emit({"schema": 1, "a": first.name, "b": second.name, "rows": rows})
        return
    if not questions and not calls:
        sys.stdout.write(paragraph(f"{first.name} and {second.name} agree in every state."))
        return
    columns = [Column(name) for name in ("  question", "MMUs", "bits set")]
    columns += [Column(name, prose=True) for name in (first.name, second.name)]
    for headline, found in (("MGLRU's questions", questions), ("Calls of a young operation", calls)):
        if not found:
            sys.stdout.write(paragraph(f"{headline}: no difference."))
            continue
        sys.stdout.write(title(f"{headline}: {len(found)} states differ", room(), colour=coloured()))
        for meaning in dict.fromkeys(d.meaning for d in found):
            sys.stdout.write("\n" + paragraph(meaning))
            rows_ = [
                [f"  {d.question}", _state(d.asked), _bits(d.asked), _said(d.a), _said(d.b)]
                for d in found
                if d.meaning == meaning
            ]
            _print_rows("", columns, rows_, keys=3)
        sys.stdout.write("\n")
    sys.stdout.write(paragraph(_LEGEND))


def _said(answer: dict[str, Any]) -> str:
    """`young, not locked`: what one side answered where the other answered otherwise; costs are left to --json."""
    words = []
    for key, value in answer.items():
        word = key.replace("_", " ")
        if isinstance(value, bool):
            words.append(word if value else f"not {word}")
        elif isinstance(value, list):
            words.append(" ".join(value) or "no flags")
    return ", ".join(words)
