"""DAMON's records as damo keeps them: JSON (`damo record --output_type json`, or json_compressed).

A list of records, one a monitoring target: {"target_id", "snapshots": [{"start_time", "end_time", "regions": [{"start",
"end", "nr_accesses": {"samples", "percent"}, "age"}]}]}; times in nanoseconds, addresses in bytes, numbers also as
texts with thousands separators (damo's `_damo_records.py` and `_damon.py`).

DAMON samples one page of a region and speaks for all of it. So for a snapshot, every page of a region with at least
`min_samples` accesses (or a percentage above 0 where it has no count) is touched once, at the snapshot's start. That is mostly
more than the working set, but a page that is touched in an idle region may be missed. A page at a region's edge belongs to it
if the region covers any of it. Targets are different address spaces. There are no writes and no CPUs.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from agewalk.core.errors import TraceError
from agewalk.core.units import PAGE_SHIFT, format_size
from agewalk.trace.convert.slots_and_frames import MAX_SPACES, SPACE_SHIFT
from agewalk.trace.convert.source import MAX_TOUCHED, Source
from agewalk.trace.format import DEFAULT_ROWS, Batch

MAX_BYTES: Final = 1 << 29  # of JSON; json needs about eight times that in memory
NEEDS: Final = (
    "DAMON's records are read whole: they take about eight times the size of their JSON in memory, 4 GiB at most"
)
_HINT: Final = (
    'expected damo\'s record format: [{"target_id": ..., "snapshots": [...]}]; see \'damo record --output_type json\''
)


def read_damon(source: Source, *, min_samples: int = 1, max_touched: int = MAX_TOUCHED) -> Iterator[Batch]:
    """Accesses of all targets, in order of time. Raises TraceError that says which record, snapshot and region is bad."""
    text = source.read_all(MAX_BYTES)  # outside the try: its own errors say more than "not JSON"
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as e:
        why = "nested too deeply" if isinstance(e, RecursionError) else " ".join(str(e).split())[:100]
        raise source.error(
            f"not JSON: {why}", hint="the file is truncated, or not damo's json or json_compressed"
        ) from None
    walk = _Walk(source)
    snapshots = []
    for space, record in enumerate(walk.items(records, "the file")):
        if space >= MAX_SPACES:
            raise source.error(f"more than {MAX_SPACES} records", hint="split the file")
        where = f"record {space}"
        for i, snapshot in enumerate(walk.items(walk.get(record, "snapshots", where), f"{where}: snapshots")):
            at = f"{where}, snapshot {i}"
            time = walk.number(snapshot, "start_time", at, 1 << 63)
            if walk.number(snapshot, "end_time", at, 1 << 63) < time:
                raise walk.bad(at, "end_time is before start_time")
            snapshots.append((time, space, at, snapshot))
    snapshots.sort(key=lambda s: s[:2])
    for time, space, at, snapshot in snapshots:
        spans = walk.spans(snapshot, at, min_samples)
        if sum(end - start for start, end in spans) << PAGE_SHIFT > max_touched:
            hint = "raise --min-samples, so that hardly used regions do not count whole; or allow it with --max-touched"
            raise source.error(f"{at}: touches more than {format_size(max_touched)}", hint=hint)
        for start, end in spans:
            for low in range(start, end, DEFAULT_ROWS):
                pages = np.arange(low, min(end, low + DEFAULT_ROWS), dtype=np.uint64)
                yield Batch.of(np.full(len(pages), time, np.uint64), pages | np.uint64(space << SPACE_SHIFT))


class _Walk:
    """Takes values out of JSON of any shape."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def bad(self, where: str, problem: str) -> TraceError:
        return self._source.error(f"{where}: {problem}", hint=_HINT)

    def items(self, value: object, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.bad(where, "is not a list")
        return value

    def get(self, value: object, key: str, where: str) -> Any:
        if not isinstance(value, dict) or key not in value:
            raise self.bad(where, f"has no {key!r}")
        return value[key]

    def number(self, holder: object, key: str, where: str, below: int) -> int:
        value = self.get(holder, key, where)
        if type(value) is int:
            number = value
        elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(,[0-9]{3}){1,6}|[0-9]{1,20}", value):
            number = int(value.replace(",", ""))
        else:
            raise self.bad(
                where, f"{key!r} is {str(value)[:40]!r}, not a whole number (times in ns, addresses in bytes)"
            )
        if not 0 <= number < below:
            raise self.bad(where, f"{key!r} is {str(number)[:40]}, outside 0..{below - 1}")
        return number

    def spans(self, snapshot: object, at: str, min_samples: int) -> list[tuple[int, int]]:
        """Page ranges [start, end) touched in a snapshot, ascending, joined where they meet or overlap."""
        found: list[tuple[int, int]] = []
        for i, region in enumerate(self.items(self.get(snapshot, "regions", at), f"{at}: regions")):
            where = f"{at}, region {i}"
            start, end = (self.number(region, key, where, (1 << 64) + 1) for key in ("start", "end"))
            if end < start:
                raise self.bad(where, "end is before start")
            touched = self._touched(self.get(region, "nr_accesses", where), where, min_samples)
            if end == start:
                self._source.account.skip("empty regions")
            elif not touched:
                self._source.account.skip(f"regions with fewer accesses than {min_samples} (--min-samples)")
            else:
                self._source.account.used += 1
                found.append((start >> PAGE_SHIFT, -(-end >> PAGE_SHIFT)))
        joined: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined

    def _touched(self, accesses: object, where: str, min_samples: int) -> bool:
        if isinstance(accesses, dict) and accesses.get("samples") is not None:
            return self.number(accesses, "samples", f"{where}: nr_accesses", 1 << 63) >= min_samples
        percent = self.get(accesses, "percent", f"{where}: nr_accesses")
        text = str(percent).replace("%", "").strip()
        if isinstance(percent, bool) or not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,18})?", text):
            raise self.bad(where, "nr_accesses has neither samples nor a percentage")
        return float(text) > 0
