"""Results of a comparison for people, in a terminal."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from agewalk.core.units import format_size, format_time
from agewalk.report.table import Cell, Column, room, table, title

Row = dict[str, Any]
Number = tuple[str, str, Callable[[Any], str], bool | None]


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


#: key of a row, heading, how to write it, is less better (None: neither)
COLUMNS: Final[tuple[Number, ...]] = (
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
    """The best value of a column among the policies that a kernel can run; None if all are equal, or none is better.

    less: is less better? Policies that read no page tables do not count: they see every access, or the future.
    """
    values = [row[key] for row in rows if row[key] is not None and row["ptes_walked"] is not None]
    if less is None or not values or min(values) == max(values):
        return None
    return min(values) if less else max(values)


def show(rows: Sequence[Row], *, colour: bool = False, width: int | None = None) -> str:
    """The results as a table for each memory size, one of causes and one for each VM. rows: as in `compare --json`.

    width: columns; by default what standard output has.
    """
    width = room() if width is None else width
    parts = []
    for memory in sorted({row["memory_bytes"] for row in rows}):
        here = [row for row in rows if row["memory_bytes"] == memory]
        tops = {key: best(here, key, less) for key, _, _, less in COLUMNS}
        columns = [Column("policy"), *(Column(heading, right=True) for _, heading, _, _ in COLUMNS)]
        lines = [
            [row["policy"], *(Cell(text(row[key]), _style(row, key, tops[key])) for key, _, text, _ in COLUMNS)]
            for row in here
        ]
        parts += [
            title(f"{format_size(memory)} of memory", width, colour=colour),
            table(columns, lines, width=width, colour=colour, rule=True),
        ]
        if known := [row for row in here if row.get("aging", {}).get("false_old_by")]:
            parts += _causes(known, width, colour=colour)
        parts += _members(here, width, colour=colour)
    return "\n".join(parts)


def _style(row: Row, key: str, top: Any) -> str:
    return "best" if top is not None and row[key] == top and row["ptes_walked"] is not None else ""


def why(causes: dict[str, int], most: int = 3) -> str:
    """The causes that matter most, with their shares: "fast only 57 %, sank 41 %"."""
    total = sum(causes.values())
    first = sorted(((n, name) for name, n in causes.items() if n), reverse=True)[:most]
    return ", ".join(f"{name.replace('_', ' ')} {100 * n / total:.0f} %" for n, name in first)


def _causes(rows: Sequence[Row], width: int, *, colour: bool) -> list[str]:
    """False old and false young by cause."""
    kinds = (("used, called old", "false_old"), ("idle, called young", "false_young"))
    columns = [Column("policy")]
    for heading, _ in kinds:
        columns += [Column(heading, right=True), Column(f"why {heading.rpartition(' ')[2]}", prose=True)]
    lines = []
    for row in rows:
        aging, line = row["aging"], [row["policy"]]
        for _, kind in kinds:
            line += [share(aging[kind] / aging["pages"] if aging["pages"] else None), why(aging[f"{kind}_by"])]
        lines.append(line)
    head = "where aging is wrong, in shares of the pages on its lists, and why"
    return [title(head, width, colour=colour), table(columns, lines, width=width, colour=colour, rule=True)]


#: key of a VM, heading, what it is, how to write it; the first three always stand, the others where a policy has them
_FIELDS: Final[tuple[tuple[str, str, str, Callable[[Any], str]], ...]] = (
    ("refaults", "refaults", "refaults", whole),
    ("resident_pages", "resident", "pages resident at the end", whole),
    ("working_set_pages", "working set", "working set in pages", whole),
    ("working_set_true_pages", "truly used", "pages truly used", whole),
    ("eviction_skew", "against OPT", "share of evictions against OPT's in points", points),
)


def _fields(rows: Sequence[Row]) -> list[tuple[str, str, str, Callable[[Any], str]]]:
    vms = [vm for row in rows for vm in row["vms"]]
    return [one for i, one in enumerate(_FIELDS) if i < 3 or any(one[0] in vm for vm in vms)]


def _members(rows: Sequence[Row], width: int, *, colour: bool) -> list[str]:
    """A table for each VM."""
    fields = _fields(rows)
    columns = [Column("policy"), *(Column(heading, right=True) for _, heading, _, _ in fields)]
    parts = [title(f"each VM: {', '.join(name for _, _, name, _ in fields)}", width, colour=colour)]
    for i, vm in enumerate(rows[0]["vms"]):
        lines = [[row["policy"], *(text(row["vms"][i].get(key)) for key, _, _, text in fields)] for row in rows]
        parts += [title(vm["name"], width, colour=colour), table(columns, lines, width=width, colour=colour, rule=True)]
    return parts
