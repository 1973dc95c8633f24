"""Cut the sample that ships with agewalk from the two recorded virtual machines.

    python tools/cut_sample.py SQLITE_VM.parquet REDIS_VM.parquet src/agewalk/data

The sources are 26 million rows; the sample must be small in bytes (it is in the wheel) and in work (the demo replays
it a dozen times, in pure Python too), and keep what aging is about: a hot set that changes, an idle phase, a scan.
What is done to each source, in this order:

1. Time: pieces of the recording, cut around the moments of interest, laid end to end. No piece is stretched.
2. Slots: coarser ones. A page that a vCPU touches in a slot appears once, with a write if any of its touches wrote;
   rows of a slot stay in the order of first touch.
3. Space: whole 2 MiB regions. Those touched in the pieces are ranked by their rows, and every n-th is taken, so hot and
   cold regions keep their shares; the rank to start at was chosen by hand so that rows and the share of writes are
   near the source's (a few regions have most of the writes). Regions are renumbered densely in their old order; the
   place inside a region is kept, so neighbourhoods (look-around, page tables, huge pages) stay real.

`memory_bytes` becomes the size of the regions taken. The same sources and parameters give the same bytes.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import Bytes, Ns
from agewalk.trace import Batch, MemoryTrace, Phase, RecordedTrace, TraceMeta, open_trace, write_trace

REGION_PAGES = 512
S = 10**9


@dataclass(frozen=True)
class Piece:
    """A stretch of the source: from `before` ns ahead of mark `first` to `after` ns past mark `last`."""

    first: int
    before: int
    last: int
    after: int


@dataclass(frozen=True)
class Recipe:
    """How one VM is cut: its pieces, every how-manieth region from which rank on, the new slot."""

    out: str
    pieces: tuple[Piece, ...]
    every_nth_region: int
    first_rank: int
    slot_ns: int


SQLITE = Recipe(
    "sqlite-vm.parquet",
    # hot set A -> idle; B -> full scan -> B; idle -> A again
    (Piece(4, 20 * S, 4, 10 * S), Piece(6, 20 * S, 7, 10 * S), Piece(11, 2 * S, 11, 8 * S)),
    every_nth_region=8,
    first_rank=5,
    slot_ns=100_000_000,
)
REDIS = Recipe(
    "redis-vm.parquet",
    # hot set B -> BGSAVE (fork, copy on write, a scan) -> B; idle; idle -> A
    (Piece(7, 20 * S, 8, 8 * S), Piece(12, 0, 12, 10 * S), Piece(13, 2 * S, 13, 18 * S)),
    every_nth_region=12,
    first_rank=3,
    slot_ns=100_000_000,
)


def cut(trace: RecordedTrace, recipe: Recipe) -> MemoryTrace:
    """The sample of one VM, in memory."""
    slot = recipe.slot_ns
    marks = {p.mark: p.time_ns for p in trace.meta.phases}
    spans = [(up(marks[p.first] - p.before, slot), up(marks[p.last] + p.after, slot)) for p in recipe.pieces]
    rows, phases = in_time(trace, spans)
    rows = reslot(rows, slot)
    regions = pick_regions(rows, recipe)
    new_region = np.full(int(rows.gfn.max()) // REGION_PAGES + 1, -1, np.int64)
    new_region[regions] = np.arange(len(regions))
    place = new_region[(rows.gfn // REGION_PAGES).astype(np.int64)]
    rows, place = rows.take(place >= 0), place[place >= 0]
    gfn = (place * REGION_PAGES).astype(np.uint64) + rows.gfn % np.uint64(REGION_PAGES)
    rows = Batch(rows.time_ns, rows.vcpu, gfn, rows.write, rows.context)
    made = {
        "script": "tools/cut_sample.py",
        "source_rows": trace.rows,
        "source_memory_bytes": trace.meta.memory_bytes,
        "source_pieces_ns": spans,
        "every_nth_region": recipe.every_nth_region,
        "first_rank": recipe.first_rank,
        "source_regions": [int(r) for r in regions],
        "dropped": "columns exec, kernel, user",
        "notes": (
            "pieces of the recording laid end to end; whole 2 MiB regions, renumbered densely (memory_bytes is theirs); "
            "coarser slots: a page touched in a slot by a vCPU appears once"
        ),
    }
    kept = {k: v for k, v in trace.meta.other.items() if k in ("clock", "not_seen", "ns_per_instruction")}
    meta = TraceMeta(
        memory_bytes=Bytes(len(regions) * REGION_PAGES * 4096),
        vcpus=trace.meta.vcpus,
        workload=f"cut from a recording (what was kept: phases, sample): {trace.meta.workload}",
        kernel=trace.meta.kernel,
        row_epoch_ns=Ns(slot),
        phases=tuple(phases),
        capture=trace.meta.capture,
        licence=trace.meta.licence,
        other={**kept, "sample": json.dumps(made)},
    )
    return MemoryTrace(meta, rows, name=recipe.out)


def in_time(trace: RecordedTrace, spans: list[tuple[int, int]]) -> tuple[Batch, list[Phase]]:
    """Rows and phases inside the spans, laid end to end from 0; the phase that runs at a span's start is named there."""
    parts: list[Batch] = []
    offsets = np.cumsum([0] + [end - start for start, end in spans])
    for batch in trace.batches():
        for (start, end), offset in zip(spans, offsets[:-1], strict=True):
            low, high = np.searchsorted(batch.time_ns, np.array([start, end], np.uint64))
            if high > low:
                part = batch[low:high]
                time = part.time_ns - np.uint64(start) + np.uint64(offset)
                parts.append(Batch(time, part.vcpu, part.gfn, part.write, part.context))
    phases: list[Phase] = []
    for (start, end), offset in zip(spans, offsets[:-1], strict=True):
        running = [p for p in trace.meta.phases if p.time_ns <= start][-1:]
        inside = [p for p in trace.meta.phases if start < p.time_ns < end]
        if phases and running and running[0].mark == phases[-1].mark:
            running = []  # it went on from the piece before
        phases += [Phase(p.mark, Ns(int(offset) + max(0, p.time_ns - start)), p.text) for p in running + inside]
    return Batch.concatenate(parts), phases


def pick_regions(rows: Batch, recipe: Recipe) -> NDArray[np.int64]:
    """Every n-th of the touched 2 MiB regions, ranked by their rows after slotting; ascending."""
    regions, counts = np.unique(rows.gfn // np.uint64(REGION_PAGES), return_counts=True)
    ranked = regions[np.lexsort((regions, -counts))].astype(np.int64)
    return np.sort(ranked[recipe.first_rank :: recipe.every_nth_region])


def reslot(rows: Batch, slot: int) -> Batch:
    """One row for each (slot, page, vCPU), in the order of first touch; a write if any was."""
    time = rows.time_ns // np.uint64(slot)
    key = (time << np.uint64(40)) | (rows.gfn << np.uint64(8)) | rows.vcpu
    _, at, group = np.unique(key, return_index=True, return_inverse=True)
    wrote = np.bincount(group, weights=rows.write) > 0
    order = np.argsort(at)
    picked = rows.take(at[order])
    return Batch(time[at[order]] * np.uint64(slot), picked.vcpu, picked.gfn, wrote[order], picked.context)


def up(time: int, slot: int) -> int:
    """The first slot boundary at or after `time`: a piece that begins at a mark holds nothing from before it."""
    return -(-time // slot) * slot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sqlite", type=Path, help="the SQLite VM's trace")
    parser.add_argument("redis", type=Path, help="the Redis VM's trace")
    parser.add_argument("out", type=Path, help="directory for the sample")
    args = parser.parse_args()
    for source, recipe in ((args.sqlite, SQLITE), (args.redis, REDIS)):
        sample = cut(open_trace(source), recipe)
        target = args.out / recipe.out
        write_trace(target, sample, context=False)
        pages = len(np.unique(sample.columns.gfn))
        seconds = int(sample.columns.time_ns[-1]) / S
        size = target.stat().st_size
        print(f"{target}: {sample.rows} rows, {pages} pages of {sample.meta.pages}, {seconds:.1f} s, {size} bytes")


if __name__ == "__main__":
    main()
