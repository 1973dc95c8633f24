"""The engine's speed: next to a bare loop (the limit) and to libcachesim on the same accesses; memory; aging; the start.

`run(smoke)` prints tables and returns the numbers. Medians of CPU seconds; every ratio comes from one run. The two real
traces are whole recordings (`bench/traces/`); a smoke run takes the samples that ship with agewalk.

The comparison under reclaim, so that it is fair both ways. Same accesses in the same order, one object a page, every object of
size 1, memory for the same share of the distinct pages. Every page is first met by a write (as a guest's memory is: zeroed or
loaded), because a page that is only read maps the shared zero page, takes no frame, and would leave the engine nothing to
reclaim. What each evicted is printed, and the run fails if the engine evicted less than half of what LRU did. Theirs:
process_trace() of C++ over a binary file in the page cache, its fastest reader, no Python per access; a hash table as large as
its contents (`hashpower`; by default 128 MiB, which costs it a third). Ours: everything from rows of a trace to the last
eviction, and when each page was truly last used, in ticks of 20 ms as `agewalk compare` has them: recordings bring their times,
an access of the other streams takes a microsecond. Rounds are interleaved, so that what else runs here strikes all alike; one run
of the engine before them loads its compiled code and is not counted.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import libcachesim as lcs
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

import agewalk
from agewalk.engine.access.batch import plain
from agewalk.engine.access.kvm_fault import run_tick
from agewalk.engine.compiler.jit import entry
from agewalk.engine.engine import Engine, HostAccesses, build, compile_once
from agewalk.engine.eviction.reclaim import run_aging
from agewalk.engine.state import layout as at
from agewalk.engine.state.config import Host, Space
from agewalk.engine.state.truth_table import encode
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol
from agewalk.model.protocols.tables.enumerate import protocol_table
from agewalk.model.protocols.tables.table import ProtocolTable

U32 = npt.NDArray[np.uint32]
KERNELS = {"6.12": "linux-6.13", "6.18": "linux-6.18"}
POLICIES = ("LRU", "Clock", "FIFO", "Sieve")
TWO_LIST = "two-list 6.12"
SHARE = 0.7  # of the footprint: memory under pressure
ROUNDS = 11  # under reclaim: on the scans, medians of 5 differ by a third, those of 15 by a sixth
TICK_NS = 20_000_000  # agewalk.study.job.TICK


@entry
def _bare(bits: Any, pages: Any) -> None:
    for i in range(pages.shape[0]):
        bits[pages[i]] |= 1


def _zipf(accesses: int, pages: int) -> U32:
    rng = np.random.default_rng(1)
    shares = np.cumsum(1 / np.arange(1, pages + 1))
    return rng.permutation(pages).astype(np.uint32)[np.searchsorted(shares / shares[-1], rng.random(accesses))]


def _scans(accesses: int, pages: int) -> U32:
    stream = _zipf(accesses, pages // 10)
    for start in range(0, accesses, 4 * pages):
        length = min(pages, accesses - start)
        stream[start : start + length] = np.arange(length, dtype=np.uint32)
    return stream


class Stream(NamedTuple):
    """Accesses: page numbers, which of them write, and when they are (ns)."""

    pages: U32
    writes: npt.NDArray[np.bool_]
    times: npt.NDArray[np.int64]


def _populating(pages: U32, writes: npt.NDArray[np.bool_], times: npt.NDArray[np.int64] | None = None) -> Stream:
    """The first access to a page writes. times: else a microsecond an access."""
    writes = writes.copy()
    writes[np.unique(pages, return_index=True)[1]] = True
    return Stream(pages, writes, np.arange(len(pages)) * 1000 if times is None else times)


def streams(*, smoke: bool) -> dict[str, Stream]:
    """The access streams. The real ones say themselves what was written, in the others it is a third of all pages."""
    folder = Path(next(iter(agewalk.__path__))) / "data" if smoke else Path(__file__).parent / "traces"
    found: dict[str, Stream] = {}
    for name in ("sqlite-vm", "redis-vm"):
        table = pq.read_table(folder / f"{name}.parquet", columns=["time_ns", "gfn", "write"])
        pages, writes, times = (table[name].to_numpy() for name in ("gfn", "write", "time_ns"))
        found[name] = _populating(pages.astype(np.uint32), writes.astype(np.bool_), times.astype(np.int64))
    n, pages = (400_000, 50_000) if smoke else (10_000_000, 1_000_000)
    for name, stream in {"zipf": _zipf(n, pages), "scan": _scans(n, pages // 2)}.items():
        found[name] = _populating(stream, stream % 3 == 0)
    return found


def _median(work: Callable[[], float], times: int) -> float:
    return statistics.median(work() for _ in range(times))


def _seconds(work: Callable[[], Any]) -> float:
    """CPU seconds: all of this is one thread, and other programs may run beside it."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _host(pages: int, memory: int, kernel: str, policy: str = "mglru", *, huge: bool = False) -> Host:
    bundle = profile(kernel)
    features = {**asdict(bundle.mm), **asdict(bundle.kvm), **asdict(bundle.mglru)}
    return Host(
        [Space("vm", pages, huge=huge)], memory, features, folio_batch_size=bundle.mm.folio_batch_size,
        tick_ns=TICK_NS, policy=policy,
    )  # fmt: skip


def _batch(stream: Stream) -> HostAccesses:
    n = len(stream.pages)
    return HostAccesses(stream.times, np.zeros(n, np.uint16), stream.pages, stream.writes, np.zeros(n, np.uint8))


def hit_path(pages: U32, *, times: int) -> dict[str, float]:
    """Memory suffices: the engine's loop over accesses, and a loop that only sets a bit for each."""
    n, top = len(pages), int(pages.max()) + 1
    bits = np.zeros(top, np.uint8)
    table = protocol_table(get_protocol("linux-6.18"))
    state = build(_host(top, 4 * top, "6.18"), encode(table)[0])
    kinds = np.full(n, at.P_TDP | at.A_TDP | at.USED_NOW, np.uint8)
    kinds[pages % 3 == 0] |= at.WRITTEN
    run_tick(state, plain(pages, kinds), len(pages))
    _bare(bits, pages[:1])
    bare, ours = [], []
    for _ in range(times):
        bare.append(_seconds(lambda: _bare(bits, pages)))
        state.pte_bits[:] &= 255 - at.A_TDP - at.USED_NOW
        ours.append(_seconds(lambda: run_tick(state, plain(pages, kinds), len(pages))))
    limit, speed = n / statistics.median(bare) / 1e6, n / statistics.median(ours) / 1e6
    return {"bare_M_s": limit, "engine_M_s": speed, "share": speed / limit}


def _engine(host: Host, table: ProtocolTable, batch: HostAccesses) -> tuple[float, int]:
    """(CPU seconds, evictions) of one run."""
    engine = Engine(host, table, assess=False)
    engine.state.folios[:] += 0  # fault the host's own memory in first
    engine.state.pte_bits[:] = 0
    return _seconds(lambda: engine.feed(batch)), engine.result().evictions


def _theirs(policy: str, capacity: int, path: Path, n: int) -> tuple[float, int]:
    """(CPU seconds, evictions) of one run."""
    reader = lcs.TraceReader(str(path), lcs.TraceType.ORACLE_GENERAL_TRACE, lcs.ReaderInitParam(ignore_obj_size=True))
    cache = getattr(lcs, policy)(capacity, hashpower=max(16, capacity.bit_length()))
    ratios: list[tuple[float, float]] = []
    seconds = _seconds(lambda: ratios.append(cache.process_trace(reader)))
    return seconds, round(ratios[0][0] * n) - capacity


def under_reclaim(stream: Stream, *, times: int) -> dict[str, Any]:
    """Memory is SHARE of the footprint: the whole engine (feed to finish), and libcachesim's policies, in M accesses/s; how many
    pages each evicted. Raises RuntimeError if the engine was spared the work."""
    n, top = len(stream.pages), int(stream.pages.max()) + 1
    capacity = int(len(np.unique(stream.pages)) * SHARE)
    batch = _batch(stream)
    runs: dict[str, Callable[[], tuple[float, int]]] = {}
    for kernel, protocol in KERNELS.items():
        host, table = _host(top, capacity, kernel), protocol_table(get_protocol(protocol))
        runs[f"engine {kernel}"] = partial(_engine, host, table, batch)
    lists, table = _host(top, capacity, "6.12", "two-list"), protocol_table(get_protocol(KERNELS["6.12"]))
    runs[TWO_LIST] = partial(_engine, lists, table, batch)
    for warm_up in runs.values():
        warm_up()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        record = np.zeros(n, dtype=[("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
        record["id"], record["size"], record["next"] = stream.pages, 1, -1
        record.tofile(path)
        runs |= {policy: partial(_theirs, policy, capacity, path, n) for policy in POLICIES}
        rounds = [{name: once() for name, once in runs.items()} for _ in range(times)]
    evictions = {name: rounds[0][name][1] for name in runs}
    for name, n_evicted in evictions.items():
        if 2 * n_evicted < evictions["LRU"]:
            raise RuntimeError(f"{name} evicted {n_evicted:,}, LRU {evictions['LRU']:,}: no comparison")
    rates = {name: n / statistics.median(r[name][0] for r in rounds) / 1e6 for name in runs}
    return {"M_s": rates, "evictions": evictions}


def aging_curve(*, smoke: bool) -> list[dict[str, float]]:
    """The cost of one forced aging pass by pages walked."""
    rows = []
    ask = encode(protocol_table(get_protocol("linux-6.18")))[0]
    for shift in range(14, 18 if smoke else 24):
        pages = 1 << shift
        state = build(_host(pages, 4 * pages, "6.18"), ask)
        everyone = np.arange(pages, dtype=np.uint32)
        kinds = np.full(pages, at.P_TDP | at.A_TDP | at.USED_NOW | at.WRITTEN, np.uint8)
        run_tick(state, plain(everyone, kinds), len(everyone))

        def once(state: Any = state, everyone: U32 = everyone, kinds: Any = kinds) -> float:
            run_tick(state, plain(everyone, kinds), len(everyone))
            return _seconds(lambda: run_aging(state, 1))

        seconds = _median(once, 3)
        rows.append({"pages": pages, "ms": seconds * 1e3, "ns_per_page": seconds / pages * 1e9})
    return rows


def small_and_huge(stream: Stream, *, times: int) -> dict[str, dict[str, float]]:
    """The same accesses on 4 KiB and on 2 MiB pages, memory suffices: populating, hits, and one forced aging pass over all."""
    n, top = len(stream.pages), -(-(int(stream.pages.max()) + 1) // at.PTES) * at.PTES
    table = protocol_table(get_protocol("linux-6.18"))
    turns = [
        _batch(stream._replace(times=stream.times + turn * (stream.times[-1] + TICK_NS))) for turn in range(times + 1)
    ]
    found: dict[str, dict[str, float]] = {}
    for name, huge in (("4 KiB", False), ("2 MiB", True)):
        engine = Engine(_host(top, 4 * top, "6.18", huge=huge), table, assess=False)
        engine.state.folios[:] += 0  # fault the host's own memory in first
        populate = _seconds(lambda engine=engine: engine.feed(turns[0]))  # type: ignore[misc]
        hits, pass_s = [], []
        before = engine.result().counts
        for batch in turns[1:]:
            hits.append(_seconds(lambda engine=engine, batch=batch: engine.feed(batch)))  # type: ignore[misc]
            pass_s.append(_seconds(engine.age))
        after = engine.result().counts
        found[name] = {
            "populate_M_s": n / populate / 1e6,
            "hits_M_s": n / statistics.median(hits) / 1e6,
            "aging_pass_ms": statistics.median(pass_s) * 1e3,
            **{what: (after[what] - before[what]) / times for what in ("ptes_walked", "pmds_walked")},
        }
    return found


def terabyte(*, smoke: bool) -> dict[str, float]:
    """A host of 1 TiB (smoke: 1 GiB) with 256 VMs: build it, touch every page, age once, take 1 G (smoke: 1 M) accesses."""
    pages_each, accesses = ((1 << 10), 1_000_000) if smoke else ((1 << 20), 1_000_000_000)
    bundle = profile("6.18")
    features = {**asdict(bundle.mm), **asdict(bundle.kvm), **asdict(bundle.mglru)}
    spaces = [Space(f"vm{i}", pages_each) for i in range(256)]
    host = Host(spaces, 257 * pages_each, features, folio_batch_size=31, tick_ns=1_000_000_000)
    start = time.process_time()
    state = build(host, encode(protocol_table(get_protocol("linux-6.18")))[0])
    built = time.process_time() - start
    total, chunk = 256 * pages_each, min(accesses, 16_000_000)
    kinds = np.full(chunk, at.P_TDP | at.A_TDP | at.USED_NOW | at.WRITTEN, np.uint8)
    populate = 0.0
    for first in range(0, total, chunk):
        part = np.arange(first, min(total, first + chunk), dtype=np.uint32)
        populate += _seconds(lambda part=part: run_tick(state, plain(part, kinds), len(part)))  # type: ignore[misc]
    aged = _seconds(lambda: run_aging(state, 1))
    rng = np.random.default_rng(3)
    stream = (np.minimum(rng.pareto(0.3, chunk), 1e12) * 50).astype(np.int64) % total
    touched = 0.0
    for turn in range(0, accesses, chunk):
        part = ((stream + turn * 7919) % total).astype(np.uint32)
        touched += _seconds(lambda part=part: run_tick(state, plain(part, kinds), len(part)))  # type: ignore[misc]
    size = sum(array.nbytes for array in state)
    return {
        "pages": total, "bytes_per_page": size / total, "GiB": size / 2**30, "build_s": built, "populate_s": populate,
        "age_s": aged, "accesses": accesses, "accesses_s": touched, "M_s": accesses / touched / 1e6,
    }  # fmt: skip


START = """
import time; start = time.perf_counter()
import numpy as np
from agewalk.engine.state.config import Host, Space
from agewalk.engine.engine import HostAccesses, Engine, compile_once
from agewalk.model.protocols.tables.table import ProtocolTable
said = []
compile_once(said.append)
engine = Engine(Host([Space("vm", 64)], 128, {}), ProtocolTable("none", (), ()))
z = np.zeros(1, np.uint16)
engine.feed(HostAccesses(np.zeros(1, np.int64), z, np.zeros(1, np.uint32), np.ones(1, bool), np.zeros(1, np.uint8)))
print(time.perf_counter() - start, len(said))
"""


def starts() -> dict[str, float]:
    """Seconds from a fresh process to the first access: with an empty cache (it compiles, and says so), and after."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "AGEWALK_CACHE": cache}
        out = [
            subprocess.run([sys.executable, "-c", START], check=True, env=env, capture_output=True, text=True).stdout
            for _ in range(3)
        ]
    seconds = [float(line.split()[0]) for line in out]
    return {"first_s": seconds[0], "said_so": float(out[0].split()[1]), "later_s": min(seconds[1:])}


def run(smoke: bool) -> dict[str, Any]:
    """All of it; prints as it goes."""
    compile_once(print)
    times = 2 if smoke else 5
    found = streams(smoke=smoke)
    report: dict[str, Any] = {"hit_path": hit_path(found["zipf"].pages, times=times)}
    hit = report["hit_path"]
    print(
        f"hit path, zipf: {hit['engine_M_s']:.0f} M accesses/s, {hit['share']:.0%} of a bare loop ({hit['bare_M_s']:.0f})"
    )
    rounds = times if smoke else ROUNDS
    report["under_reclaim"] = {name: under_reclaim(stream, times=rounds) for name, stream in found.items()}
    ours = [*(f"engine {kernel}" for kernel in KERNELS), TWO_LIST]
    names = [*ours, *POLICIES]
    print(f"{'70 % of the footprint':34}" + "".join(f"{name:>13}" for name in names))
    for stream, both in report["under_reclaim"].items():
        print(f"{stream:12}{'M accesses/s':>22}" + "".join(f"{both['M_s'][name]:13.1f}" for name in names))
        print(f"{'':12}{'evictions':>22}" + "".join(f"{both['evictions'][name]:13,}" for name in names))
        for policy in ("LRU", "Clock"):
            print(
                f"{'':12}{f'times {policy}':>22}"
                + "".join(f"{both['M_s'][x] / both['M_s'][policy]:13.1f}" for x in ours)
            )
    report["aging"] = aging_curve(smoke=smoke)
    print(
        "one aging pass: "
        + ", ".join(f"{r['pages']:,} pages {r['ms']:.2f} ms ({r['ns_per_page']:.1f} ns)" for r in report["aging"])
    )
    report["small_and_huge"] = small_and_huge(found["zipf"], times=times)
    for size, row in report["small_and_huge"].items():
        print(f"zipf on {size} pages: " + ", ".join(f"{name} {value:,.1f}" for name, value in row.items()))
    report["terabyte"] = terabyte(smoke=smoke)
    print("large host: " + ", ".join(f"{name} {value:,.2f}" for name, value in report["terabyte"].items()))
    if not smoke:
        report["starts"] = starts()
        print("start to first access: " + ", ".join(f"{name} {value:.2f}" for name, value in report["starts"].items()))
    return report
