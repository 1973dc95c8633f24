"""Reading a witness file: one real kernel, one backing, one scenario (docs/witness.md has the format)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agewalk.core.errors import WitnessError
from agewalk.core.parse import parse_json

Step = dict[str, Any]
BACKINGS: Final = ("host", "tdp", "legacy", "shadow")
OPS: Final = {
    "populate": ("by", "write"),
    "touch": ("by", "write", "pages"),
    "flush_tlb": (),
    "age": ("force_scan", "can_swap", "ret"),
    "reclaim": ("bytes", "reclaimed_pages"),
    "evict_cmd": ("seq", "nr_to_reclaim", "swappiness"),
    "close_vm": ("vm",),
}
PAGE_FIELDS: Final = ("seq", "referenced", "workingset", "active", "dirty", "swapcache", "lru", "refs", "swapped")
_ACTORS: Final = ("host", "guest", "guest_b")


@dataclass(frozen=True)
class Observation:
    """What was read after a step. pages: by field, one value a page, None where the page was not present.

    order: by name, pages of the region in the order in which reclaim came to them. calls: probe hits within the step.
    """

    max_seq: int
    min_seq: tuple[int, int]
    pages: dict[str, list[int | None]]
    calls: dict[str, int]
    order: dict[str, list[int]]
    raw: dict[str, Any]


Recording = tuple[Observation | None, ...]  # one per step; None: nothing was read


@dataclass(frozen=True)
class Witness:
    """A file. recordings: one, or the two different ones of an unstable file. mthp_kb: size of the folios that a fault takes
    (mTHP), 0: pages of 4 KiB."""

    path: Path
    profile: str
    backing: str
    scenario: str
    kernel: str
    pages: int
    vms: int
    stable: bool
    calls_stable: bool
    schedules: bool
    swappiness: int
    counted: frozenset[str]
    mthp_kb: int
    steps: tuple[Step, ...]
    recordings: tuple[Recording, ...]


def expand(runs: list[Any]) -> list[Any]:
    """Run lengths `[[x, count], ...]`, x a value or again such a list, to one value an element."""
    out: list[Any] = []
    for x, count in runs:
        out.extend(expand(x) * count if isinstance(x, list) else [x] * count)
    return out


def expand_order(runs: list[Any]) -> list[int]:
    """Runs `[first, count, step]` to page numbers."""
    return [first + i * step for first, count, step in runs for i in range(count)]


def slices(texts: list[str]) -> list[int]:
    """`["start:stop:step", ...]`, one after the other."""
    out: list[int] = []
    for text in texts:
        start, stop, step = (int(part) for part in text.split(":"))
        out.extend(range(start, stop, step))
    return out


def read_witness(path: Path) -> Witness:
    """A witness file, checked. Raises WitnessError: what is wrong, in which step."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise WitnessError(
            f"{path}: {error.strerror or error}", hint="a witness is PROFILE/BACKING/SCENARIO.json"
        ) from None
    except UnicodeDecodeError:
        raise WitnessError(f"{path}: not a text file", hint="a witness is JSON in UTF-8") from None
    try:
        data = parse_json(text)
    except json.JSONDecodeError as error:
        raise WitnessError(
            f"{path}: line {error.lineno}: {error.msg}", hint="not JSON, or cut off: copy the file again"
        ) from None
    except ValueError as error:
        raise WitnessError(f"{path}: {error}", hint="'agewalk docs witness' says what a witness holds") from None
    if not isinstance(data, dict):
        raise WitnessError(f"{path}: not a JSON object", hint="is this index.json? Name single witness files")
    try:
        return _witness(path, data)
    except KeyError as error:
        raise WitnessError(f"{path}: key {error} is missing", hint="'agewalk docs witness' lists the keys") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise WitnessError(
            f"{path}: {error}", hint="a value has another type than 'agewalk docs witness' says"
        ) from error


def _witness(path: Path, data: dict[str, Any]) -> Witness:
    steps = data["steps"]
    if data["backing"] not in BACKINGS:
        raise WitnessError(f"{path}: backing {data['backing']!r}", hint=f"one of: {', '.join(BACKINGS)}")
    for number, step in enumerate(steps):
        _check_step(path, number, step, data)
    recordings = [data["observations"]]
    if data.get("repeat_observations"):
        recordings.append(data["repeat_observations"])
    pages = int(data["pages"])
    return Witness(
        path=path,
        profile=str(data["profile"]),
        backing=str(data["backing"]),
        scenario=str(data["scenario"]),
        kernel=str(data["kernel"]),
        pages=pages,
        vms=int(data["vms"]),
        stable=data["stable"] is not False,
        calls_stable=data.get("calls_stable") is not False,
        schedules=bool(data["sched_before_each_op"]),
        swappiness=int(data["env"]["swappiness"]),
        mthp_kb=_mthp(path, data.get("mthp_kb", 0)),
        counted=frozenset(data["counted_functions"]),
        steps=tuple(steps),
        recordings=tuple(_recording(path, pages, steps, each) for each in recordings),
    )


def _mthp(path: Path, kb: Any) -> int:
    if kb not in (0, *(8 << i for i in range(8))):
        raise WitnessError(f"{path}: mthp_kb {kb!r}", hint="a power of two between 8 and 1024, or no such key")
    return int(kb)


def _check_step(path: Path, number: int, step: Step, data: dict[str, Any]) -> None:
    where = f"{path}: step {number}"
    op = step.get("op")
    if op not in OPS:
        raise WitnessError(f"{where}: unknown op {op!r}", hint=f"known: {', '.join(OPS)}")
    for key in OPS[op]:
        if key not in step:
            raise WitnessError(
                f"{where}: {op} has no {key!r}", hint="'agewalk docs witness' lists what each op carries"
            )
    if "by" in step and step["by"] not in _ACTORS:
        raise WitnessError(f"{where}: by {step['by']!r}", hint=f"one of: {', '.join(_ACTORS)}")
    if str(step.get("by", "")).startswith("guest") and data["backing"] == "host":
        raise WitnessError(f"{where}: a guest touches memory on a host without VMs", hint="write by: host")
    for page in slices(step["pages"]) if op == "touch" else ():
        if not 0 <= page < data["pages"]:
            raise WitnessError(f"{where}: page {page} of {data['pages']}", hint="pages count from 0")


def _recording(path: Path, pages: int, steps: list[Step], observations: list[Any]) -> Recording:
    if len(observations) != len(steps):
        raise WitnessError(
            f"{path}: {len(steps)} steps but {len(observations)} observations", hint="one per step; null for flush_tlb"
        )
    out: list[Observation | None] = []
    for number, raw in enumerate(observations):
        if raw is None:
            out.append(None)
            continue
        fields = {name: expand(raw[name]) for name in PAGE_FIELDS}
        for name, values in fields.items():
            if len(values) != pages:
                raise WitnessError(
                    f"{path}: step {number}: {name} has {len(values)} values for {pages} pages",
                    hint="run lengths must add up to `pages`",
                )
        anon, file = raw["min_seq"]
        out.append(
            Observation(
                max_seq=int(raw["max_seq"]),
                min_seq=(int(anon), int(file)),
                pages=fields,
                calls=dict(raw["calls"]),
                order={name: expand_order(runs) for name, runs in raw.get("order", {}).items()},
                raw=raw,
            )
        )
    return tuple(out)
