"""Measure reading, checking, converting and synthesis of traces on this machine.

    python tools/bench_trace.py TRACE.parquet...

Medians of three runs each, in million rows (or accesses) a second and a second of CPU time (all threads; what a busy
machine does not distort). Foreign files are made here: the first trace's
rows (at most half a million) in each tool's format.
"""

import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from agewalk.trace import Batch, Trace, open_trace, write_trace
from agewalk.trace.convert import How, convert
from agewalk.trace.facts import facts
from agewalk.trace.synth import KINDS, Synthesis, SyntheticTrace

MOST = 500_000


def measure(what: str, amount: int, work: Callable[[], object]) -> None:
    wall, cpu = [], []
    for _ in range(3):
        start = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    rates = [amount / statistics.median(s) / 1e6 for s in (wall, cpu)]
    print(f"{what:<42} {rates[0]:8.2f} M/s {rates[1]:8.2f} M/CPU-s   ({amount:,})", flush=True)


def read(trace: Trace, rows: int) -> int:
    return sum(len(b) for b in trace.batches(rows))


def foreign(batch: Batch, folder: Path) -> dict[str, Path]:
    """The same accesses in each format but DAMON's."""
    time_ns, gfn, vcpu = batch.time_ns.tolist(), batch.gfn.tolist(), batch.vcpu.tolist()
    rows = list(zip(time_ns, gfn, vcpu, strict=True))
    texts = {
        "lackey": "".join(f"I  {g << 12:08x},4\n" for g in gfn),
        "csv": "time_ns,gfn,vcpu\n" + "".join(f"{t},{g},{v}\n" for t, g, v in rows),
        "perf": "".join(
            f"prog 1/1 [{v:03}] {t // 10**9}.{t % 10**9 // 1000:06}: cpu/mem-loads/P: {(g << 12) + 8:x}\n"
            for t, g, v in rows
        ),
    }
    paths = {kind: folder / kind for kind in (*texts, "oracle")}
    for kind, text in texts.items():
        paths[kind].write_text(text)
    paths["oracle"].write_bytes(b"".join(struct.pack("<IQIq", t // 10**9, g, 4096, -1) for t, g, _ in rows))
    return paths


def main() -> None:
    traces = [open_trace(path) for path in sys.argv[1:]]
    for trace in traces:
        label = Path(trace.name).name
        for rows in (1 << 16, 1 << 18):
            measure(f"read and check {label}, by {rows >> 10} Ki", trace.rows, partial(read, trace, rows))
        measure(f"facts of {label} (two passes)", trace.rows, partial(facts, trace))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        measure("write", traces[0].rows, lambda: write_trace(folder / "out", traces[0]))
        parts = list(traces[0].batches())
        batch = Batch.concatenate(parts)[:MOST]
        for kind, path in foreign(batch, folder).items():
            for slot, text in ((0, "every access"), (10**6, "slots of 1 ms")):
                how = How(kind=kind, slot_ns=slot)
                measure(f"convert {kind}, {text}", len(batch), partial(convert, path, folder / "out", how))
    for kind in KINDS[:-1]:
        what = SyntheticTrace(Synthesis(kind=kind, pages=1 << 16, hot_pages=1 << 12, rows=1 << 22))
        measure(f"synth {kind}", what.rows, partial(read, what, 1 << 18))
    print(f"numpy {np.__version__}")


if __name__ == "__main__":
    main()
