"""Results for people, in a terminal: a table that fits 80 columns for a few numbers and grows with the window."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from agewalk.core.text import printable
from agewalk.core.units import format_size, format_time

Row = dict[str, Any]
Column = tuple[str, str, Callable[[Any], str], bool | None]


def whole(value: Any) -> str:
    """A count with separators; a dash for what a policy does not have."""
    return "-" if value is None else f"{value:,}"


def share(value: Any) -> str:
    """A ratio as per cent."""
    return "-" if value is None else f"{100 * value:.1f} %"


def ratio(value: Any) -> str:
    """A correlation."""
    return "-" if value is None else f"{value:+.2f}"


def points(value: Any) -> str:
    """A difference of shares in percentage points."""
    return "-" if value is None else f"{100 * value:+.1f}"


def time(value: Any) -> str:
    """Nanoseconds in a unit that people read."""
    return "-" if value is None else format_time(value) if value else "0"


def plain(text: str) -> str:
    """Text of a file as rich may print it: no control characters, no markup."""
    from rich.markup import escape

    return escape(printable(text))


def short(text: str, room: int) -> str:
    """At most `room` characters: names differ at both ends, so the middle goes."""
    if len(text) <= room:
        return text
    tail = room // 2
    return f"{text[: room - 1 - tail]}…{text[-tail:]}"


def _named(row: Row, width: int) -> str:
    """A policy's name where `width` columns are to be shared with numbers, without markup."""
    return short(printable(row["policy"]), max(14, width // 2 - 6))


#: key of a row, heading, how to write it, is less better (None: neither)
COLUMNS: Final[tuple[Column, ...]] = (
    ("refaults", "refaults", whole, True),
    ("evictions", "evictions", whole, True),
    ("hot_evictions", "hot evicted", whole, True),
    ("cold_recall", "cold found", share, False),
    ("cold_precision", "cold right", share, False),
    ("age_rank_correlation", "age order", ratio, False),
    ("ptes_walked", "PTEs walked", whole, None),
    ("notifier_calls", "notifier calls", whole, None),
    ("mmu_lock_write_ns", "mmu_lock", time, True),
    ("vcpu_stall_ns", "vCPU stall", time, True),
)


def best(rows: Sequence[Row], key: str, less: bool | None) -> Any:
    """The best value of a column among policies that a kernel can run, or None. The others see every access, or the
    future: they read no page tables."""
    values = [row[key] for row in rows if row[key] is not None and row["ptes_walked"] is not None]
    if less is None or not values or min(values) == max(values):
        return None
    return min(values) if less else max(values)


def show(rows: Sequence[Row], *, colour: bool = False, width: int | None = None) -> str:
    """The results as a table for each memory size, and one of the VMs. rows: as in `compare --json`.

    width: columns; by default the terminal's, and as many as it takes where there is none.
    """
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    console = Console(file=out, width=width or (None if colour else 200), force_terminal=colour, highlight=False)
    for memory in sorted({row["memory_bytes"] for row in rows}):
        here = [row for row in rows if row["memory_bytes"] == memory]
        title = f"{format_size(memory)} of memory"
        console.print(f"[bold]{title}[/]")
        for part in _parts(here, console.width):
            table = _table()
            table.add_column("policy", no_wrap=True)
            for _, heading, _, _ in part:
                table.add_column(heading, justify="right", no_wrap=True)
            tops = {key: best(here, key, less) for key, _, _, less in part}
            for row in here:
                cells = []
                for key, _, text, _ in part:
                    top = tops[key] is not None and row[key] == tops[key] and row["ptes_walked"] is not None
                    cells.append(f"[bold green]{text(row[key])}[/]" if top else text(row[key]))
                table.add_row(plain(_named(row, console.width)), *cells)
            console.print(table)
        if causes := _causes(here, console.width):
            console.print("[bold]where aging is wrong, in shares of the pages on its lists, and why[/]")
            for table in causes:
                console.print(table)
        console.print(f"[bold]each VM: {', '.join(name for _, name, _ in _fields(here))}[/]")
        for table in _members(here, console.width):
            console.print(table)
    return out.getvalue()


def _parts(rows: Sequence[Row], width: int) -> list[list[Column]]:
    """The columns, in as many tables as it takes for none to be cut."""
    first = 3 + max(len(_named(row, width)) for row in rows)
    parts: list[list[Column]] = [[]]
    used = first
    for column in COLUMNS:
        key, heading, text, _ = column
        needed = 3 + max(len(heading), *(len(text(row[key])) for row in rows))
        if used + needed > width and parts[-1]:
            parts.append([])
            used = first
        parts[-1].append(column)
        used += needed
    return parts


def _table() -> Any:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False)


def why(causes: dict[str, int], most: int = 3) -> str:
    """The causes that matter most, with their shares: "fast only 57 %, sank 41 %"."""
    total = sum(causes.values())
    first = sorted(((n, name) for name, n in causes.items() if n), reverse=True)[:most]
    return ", ".join(f"{name.replace('_', ' ')} {100 * n / total:.0f} %" for n, name in first)


def _causes(rows: Sequence[Row], width: int) -> list[Any]:
    """False old and false young by cause, as many causes as the width has room for, each in a table of its own where it is
    narrow; none if no policy has any."""
    known = [row for row in rows if row.get("aging", {}).get("false_old_by")]
    most = 3 if width >= 150 else 2 if width >= 118 else 1
    kinds = (("used, called old", "false_old"), ("idle, called young", "false_young"))
    tables = []
    for part in (kinds,) if width >= 60 else tuple((kind,) for kind in kinds):
        table = _table()
        table.add_column("policy", no_wrap=True)
        for heading, _ in part:
            table.add_column(heading, justify="right")
            table.add_column("why", no_wrap=width >= 60)
        for row in known:
            aging, cells = row["aging"], []
            for _, kind in part:
                cells += [
                    share(aging[kind] / aging["pages"]) if aging["pages"] else "-",
                    why(aging[f"{kind}_by"], most),
                ]
            table.add_row(plain(_named(row, width)), *cells)
        tables.append(table)
    return tables if known else []


#: key of a VM, what it is called, how to write it; the first three always stand, the others where a policy has them
_FIELDS: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("refaults", "refaults", whole),
    ("resident_pages", "pages resident at the end", whole),
    ("working_set_pages", "working set in pages", whole),
    ("working_set_true_pages", "the true one", whole),
    ("eviction_skew", "share of evictions against OPT's in points", points),
)


def _fields(rows: Sequence[Row]) -> list[tuple[str, str, Callable[[Any], str]]]:
    vms = [vm for row in rows for vm in row["vms"]]
    return [one for i, one in enumerate(_FIELDS) if i < 3 or any(one[0] in vm for vm in vms)]


def _members(rows: Sequence[Row], width: int) -> list[Any]:
    """The VMs side by side, in as many tables as it takes."""
    fields = _fields(rows)
    first = 3 + max(len(_named(row, width)) for row in rows)
    at_once = max(1, (width - first) // (8 * len(fields) + 2))
    tables = []
    for start in range(0, len(rows[0]["vms"]), at_once):
        table = _table()
        table.add_column("policy", no_wrap=True)
        for vm in rows[0]["vms"][start : start + at_once]:
            table.add_column(plain(vm["name"]), justify="right")
        for row in rows:
            vms = row["vms"][start : start + at_once]
            cells = ["  ".join(f"{text(vm.get(key)):>6}" for key, _, text in fields) for vm in vms]
            table.add_row(plain(_named(row, width)), *cells)
        tables.append(table)
    return tables
