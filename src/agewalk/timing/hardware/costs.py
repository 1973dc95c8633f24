"""The cost table: what each step takes, with unit and source. Standard library only.

The numbers are in `costs.toml`. A user's own table (`--costs FILE`) has only the entries that differ.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from agewalk.core.errors import InputError
from agewalk.core.parse import parse_toml

SCHEMA: Final = 1
_PS: Final = {"ps": 1, "ns": 10**3, "us": 10**6, "ms": 10**9, "s": 10**12}
_PURE: Final = frozenset({"count", "ratio", "flag"})


@dataclass(frozen=True)
class Cost:
    """One entry. value: in `unit`. fitted: found by calibration."""

    value: float
    unit: str
    source: str
    fitted: bool = False


class CostTable(Mapping[str, Cost]):
    """Costs by dotted name, as `table["line.core_to_core"]`. Immutable."""

    def __init__(self, entries: Mapping[str, Cost]) -> None:
        self._entries = dict(sorted(entries.items()))

    def __getitem__(self, name: str) -> Cost:
        try:
            return self._entries[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._entries, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"names: {', '.join(self._entries)}"
            raise InputError(f"the cost table has no {name!r}", hint=hint) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def ps(self, name: str) -> int:
        """A duration in integer picoseconds. Raises InputError if the entry is a pure number."""
        cost = self[name]
        if cost.unit not in _PS:
            raise InputError(f"cost {name!r} is a {cost.unit}, not a duration", hint=f"use one of {', '.join(_PS)}")
        return round(cost.value * _PS[cost.unit])

    def number(self, name: str) -> float:
        """A pure number: a count, ratio or flag."""
        cost = self[name]
        if cost.unit not in _PURE:
            raise InputError(f"cost {name!r} is a duration in {cost.unit}", hint="a count, ratio or flag is meant here")
        return cost.value

    def with_values(self, values: Mapping[str, float], *, fitted: bool | None = None) -> CostTable:
        """A copy in which the named entries have other values, in their own units."""
        changed = dict(self._entries)
        for name, value in values.items():
            old = self[name]
            changed[name] = replace(old, value=value, fitted=old.fitted if fitted is None else fitted)
        return CostTable(changed)

    def digest_items(self) -> tuple[tuple[str, float], ...]:
        """Name and value of every entry, in order; equal for equal tables."""
        return tuple((name, cost.value) for name, cost in self._entries.items())


def _entries(raw: Mapping[str, Any], where: str) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    for section, body in raw.items():
        if not isinstance(body, dict):
            raise InputError(
                f"{where}: [{section}] is not a section", hint='write name = { value = 1, unit = "ns", source = "..." }'
            )
        for name, entry in body.items():
            full = f"{section}.{name}"
            if not isinstance(entry, dict) or not {"value", "unit", "source"} <= entry.keys():
                raise InputError(
                    f"{where}: {full} needs value, unit and source",
                    hint="as in costs.toml: every cost names its source",
                )
            unknown = entry.keys() - {"value", "unit", "source", "fitted"}
            if unknown:
                raise InputError(
                    f"{where}: {full} has unknown keys {sorted(unknown)}", hint="value, unit, source, fitted"
                )
            value = entry["value"]
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise InputError(
                    f"{where}: {full} = {value!r} is not a non-negative number", hint="costs are never negative"
                )
            if entry["unit"] not in _PS.keys() | _PURE:
                raise InputError(
                    f"{where}: {full} has unknown unit {entry['unit']!r}",
                    hint=f"one of {', '.join([*_PS, *sorted(_PURE)])}",
                )
            found[full] = Cost(float(value), entry["unit"], entry["source"], bool(entry.get("fitted", False)))
    return found


def load_costs(path: Path | None = None) -> CostTable:
    """The shipped table, with the entries of the TOML file `path` laid over it. Raises InputError that names the entry."""
    shipped = tomllib.loads(
        resources.files("agewalk.timing.hardware").joinpath("costs.toml").read_text(encoding="utf-8")
    )
    shipped.pop("schema")
    table = CostTable(_entries(shipped, "costs.toml"))
    if path is None:
        return table
    try:
        raw = parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot read the cost table {path}: {error.strerror}", hint="--costs takes a TOML file"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: {error}", hint="a cost table is TOML, see 'agewalk docs timing'") from None
    if raw.pop("schema", None) != SCHEMA:
        raise InputError(f"{path}: schema is not {SCHEMA}", hint=f"begin the file with schema = {SCHEMA}")
    own = _entries(raw, str(path))
    for name, cost in own.items():
        shipped_unit = table[name].unit  # raises with the nearest name
        if (shipped_unit in _PURE) != (cost.unit in _PURE):
            raise InputError(
                f"{path}: {name} is in {cost.unit}, the shipped one in {shipped_unit}",
                hint="a duration stays a duration",
            )
    return CostTable({**{name: table[name] for name in table}, **own})
