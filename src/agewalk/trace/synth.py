"""Synthetic traces: seeded, reproducible, streamed; each is a `Trace`, so it can be replayed without being written.

    zipf     page of rank k with weight 1 / k^s; ranks scattered over memory
    scan     page after page, from the first to the last, again and again
    phases   a hot set that moves: `hot_share` of accesses to `hot_pages` pages (Zipf within), the rest anywhere; idle between
    ladder   in a round, page k is touched `step` times more than page k + 1: the true order of heat is known
    two-vms  two guests in antiphase: one is busy with hot sets while the other is idle, then scans

A row is one access. Row i is at i / rate seconds, or at i / rows of the duration (plus idle times); its vCPU, write and context
are drawn independently.
Random numbers are raw Philox-4x64 output keyed by (seed, block of 65,536 rows), turned into choices with integer arithmetic
alone but for Zipf's weights, which are doubles: the same seed and parameters give the same rows at any batch size, on
any machine and version of numpy.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import UsageError
from agewalk.core.units import PAGE_SIZE, PTRS_PER_PTE, Bytes, Ns
from agewalk.trace.format import DEFAULT_ROWS, GUEST, NESTED, Batch, Phase, TraceMeta, recut

BLOCK: Final = 1 << 16  # rows that one Philox key gives
MAX_SECONDS: Final = 10**8
MAX_TIMED_ROWS: Final = 1 << 32  # whose square fits 64 bits
VERSION: Final = 1  # of the rows that a seed stands for; raised when they change
MAX_PAGES: Final = 1 << 28  # 1 TiB
MAX_ZIPF_PAGES: Final = 1 << 26  # its table takes 12 bytes a page
MAX_LADDER_PAGES: Final = 1 << 20
KINDS: Final = ("zipf", "scan", "phases", "ladder", "two-vms")
_PARTICULAR: Final[dict[str, set[str]]] = {  # parameters that not all kinds use
    "zipf": {"exponent"},
    "scan": set(),
    "phases": {"exponent", "hot_pages", "hot_share", "phases", "idle_ns"},
    "ladder": {"step"},
}
_SCATTER: Final = 1 << 63  # blocks from here on are for tables, not rows


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What to synthesise; see the module for the kinds.

    pages: 4 KiB pages touched. rows: accesses. rate: accesses per second of guest time. seed: 0 .. 2^64 - 1.
    duration_ns: guest time from the first access to the end of the last, idle times included, in place of a rate; 0: by rate.
    write_share, nested_share: probability that an access writes, or is a nested guest's. vcpus: 1..256.
    exponent: Zipf's s. hot_pages, hot_share, phases, idle_ns: of `phases`. step: of `ladder`.
    start_ns: when the first row is. What a kind does not use is not looked at.
    """

    kind: str
    pages: int = 1 << 14
    rows: int = 1_000_000
    rate: int = 1_000_000
    duration_ns: int = 0
    seed: int = 1
    vcpus: int = 1
    write_share: float = 0.25
    nested_share: float = 0.0
    exponent: float = 1.0
    hot_pages: int = 1 << 10
    hot_share: float = 0.95
    phases: int = 4
    idle_ns: int = 0
    step: int = 1
    start_ns: int = 0

    def used(self) -> dict[str, Any]:
        """Every parameter that the kind uses, by name."""
        others = set().union(*_PARTICULAR.values()) - _PARTICULAR[self.kind]
        others.add("rate" if self.duration_ns else "duration_ns")
        return {name: value for name, value in asdict(self).items() if name not in others}

    @property
    def busy_ns(self) -> int:
        """Of a given duration, the time that is no pause."""
        return self.duration_ns - (self.idle_ns * (self.phases - 1) if self.kind == "phases" else 0)

    def check(self) -> None:
        """Raise UsageError for what makes no sense."""
        if self.kind not in _PARTICULAR:
            raise UsageError(
                f"unknown kind {self.kind!r}", hint=f"one of {', '.join(KINDS[:-1])}; two-vms makes two traces"
            )
        top = {"zipf": MAX_ZIPF_PAGES, "ladder": MAX_LADDER_PAGES}.get(self.kind, MAX_PAGES)
        limits: dict[str, tuple[float, float]] = {
            "pages": (1, top),
            "rows": (1, 1 << 40),
            "rate": (1, 10**9),
            "duration_ns": (1, MAX_SECONDS * 10**9),
            "seed": (0, (1 << 64) - 1),
            "vcpus": (1, 256),
            "write_share": (0, 1),
            "nested_share": (0, 1),
            "exponent": (0, 10),
            "hot_pages": (1, min(self.pages, MAX_ZIPF_PAGES)),
            "hot_share": (0, 1),
            "phases": (1, min(self.rows, 10_000)),
            "idle_ns": (0, 10**15),
            "step": (1, 1 << 20),
            "start_ns": (0, 10**15),
        }
        for name, value in self.used().items():
            low, high = limits.get(name, (value, value))
            if not low <= value <= high:
                hint = "see 'agewalk trace synth --help'"
                raise UsageError(f"{name.replace('_', '-')} is {value}, outside {low}..{high}", hint=hint)
        if self.duration_ns and self.rows > MAX_TIMED_ROWS:
            raise UsageError(f"a duration goes with at most {MAX_TIMED_ROWS} rows", hint="use --rate")
        if self.duration_ns and self.busy_ns <= 0:
            hint = "lengthen --duration or shorten --idle"
            raise UsageError(f"{self.phases} phases leave no time beside their pauses", hint=hint)
        if not self.duration_ns and self.rows // self.rate > MAX_SECONDS:
            raise UsageError(f"{self.rows} rows at {self.rate} a second take over {MAX_SECONDS} s", hint="raise --rate")


class SyntheticTrace:
    """A `Trace` made of a `Synthesis`; holds no rows, but a table of the pages' weights where the kind needs one."""

    def __init__(self, what: Synthesis) -> None:
        what.check()
        self._what = what

    @property
    def name(self) -> str:
        """For messages."""
        return f"synthetic {self._what.kind} (seed {self._what.seed})"

    @property
    def rows(self) -> int:
        """How many accesses there are."""
        return self._what.rows

    @property
    def meta(self) -> TraceMeta:
        """Metadata; `synth` holds every parameter that the kind uses."""
        what = self._what
        memory = -(-what.pages // PTRS_PER_PTE) * PTRS_PER_PTE * PAGE_SIZE
        return TraceMeta(
            memory_bytes=Bytes(memory),
            vcpus=what.vcpus,
            workload=f"synthetic: {what.kind}",
            capture="agewalk trace synth",
            phases=tuple(self._phase_marks()) if what.kind == "phases" else (),
            other={"synth": json.dumps({"version": VERSION, **what.used()})},
        )

    def batches(self, max_rows: int = DEFAULT_ROWS) -> Iterator[Batch]:
        """All rows; the same at any `max_rows`."""
        return recut((self._block(n) for n in range(-(-self.rows // BLOCK))), max_rows)

    def _block(self, number: int) -> Batch:
        what = self._what
        row = np.arange(number * BLOCK, min((number + 1) * BLOCK, what.rows), dtype=np.uint64)
        raw = _raw(what.seed, number, 2 * BLOCK)
        choice, rest = raw[: len(row)], raw[BLOCK : BLOCK + len(row)]
        return Batch(
            self._time(row),
            _below(rest & np.uint64(0xFFFF), what.vcpus, 16).astype(np.uint8),
            getattr(self, f"_{what.kind}")(row, choice),
            _chance(rest >> np.uint64(16), what.write_share),
            np.where(_chance(rest >> np.uint64(40), what.nested_share), NESTED, GUEST).astype(np.uint8),
        )

    def _time(self, row: NDArray[np.uint64]) -> NDArray[np.uint64]:
        # the whole part and the rest apart, so that nothing overflows
        if self._what.duration_ns:
            rows = np.uint64(self._what.rows)
            step, rest = (np.uint64(n) for n in divmod(self._what.busy_ns, self._what.rows))
            time = row * step + row * rest // rows
        else:
            rate = np.uint64(self._what.rate)
            time = (row // rate) * np.uint64(10**9) + (row % rate) * np.uint64(10**9) // rate
        if self._what.kind == "phases" and self._what.idle_ns:
            time += self._phase(row) * np.uint64(self._what.idle_ns)
        return time + np.uint64(self._what.start_ns)

    def _zipf(self, row: NDArray[np.uint64], choice: NDArray[np.uint64]) -> NDArray[np.uint64]:
        pages: NDArray[np.uint64] = self._scattered[np.searchsorted(self._weights, choice)].astype(np.uint64)
        return pages

    def _scan(self, row: NDArray[np.uint64], choice: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return row % np.uint64(self._what.pages)

    def _phases(self, row: NDArray[np.uint64], choice: NDArray[np.uint64]) -> NDArray[np.uint64]:
        what = self._what
        # one draw, split: 24 bits say hot or not, 40 bits which page
        place = (choice >> np.uint64(24)) << np.uint64(24)
        rank = np.searchsorted(self._weights, place).astype(np.uint64)
        hot = (self._phase(row) * np.uint64(what.hot_pages) + rank) % np.uint64(what.pages)
        anywhere = _below(choice >> np.uint64(32), what.pages, 32)
        pages: NDArray[np.uint64] = np.where(_chance(choice, what.hot_share), hot, anywhere)
        return pages

    def _ladder(self, row: NDArray[np.uint64], choice: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Sweep j of a round touches pages 0 .. pages - 1 - j; each sweep is done `step` times."""
        begins = self._sweeps
        within = row % np.uint64(int(begins[-1]))
        sweep = np.searchsorted(begins, within, side="right") - 1
        length = np.uint64(self._what.pages) - sweep.astype(np.uint64)
        pages: NDArray[np.uint64] = (within - begins[sweep]) % length
        return pages

    @cached_property
    def _sweeps(self) -> NDArray[np.uint64]:
        """First row of each sweep in a round, and after the last the round's length."""
        lengths = np.arange(self._what.pages, 0, -1, dtype=np.uint64) * np.uint64(self._what.step)
        return np.concatenate([np.zeros(1, np.uint64), np.cumsum(lengths, dtype=np.uint64)])

    @cached_property
    def _weights(self) -> NDArray[np.uint64]:
        """Upper ends, on 0 .. 2^64, of the ranges that stand for Zipf's ranks."""
        count = self._what.pages if self._what.kind == "zipf" else self._what.hot_pages
        cumulative = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -self._what.exponent)
        below = float((1 << 63) - 1024)  # the largest double under 2^63: late ranks of steep laws round up to it
        ends: NDArray[np.uint64] = np.minimum(cumulative / cumulative[-1] * float(1 << 63), below).astype(
            np.uint64
        ) * np.uint64(2)
        ends[-1] = np.uint64((1 << 64) - 1)
        return ends

    @cached_property
    def _scattered(self) -> NDArray[np.uint32]:
        """Page of each rank: a random permutation."""
        count = self._what.pages
        return np.argsort(_raw(self._what.seed, _SCATTER, count), kind="stable").astype(np.uint32)

    def _phase(self, row: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return row * np.uint64(self._what.phases) // np.uint64(self._what.rows)

    def _phase_marks(self) -> Iterator[Phase]:
        what = self._what
        for n in range(what.phases):
            first = -(-n * what.rows // what.phases)
            start, before = (int(self._time(np.array([r], np.uint64))[0]) for r in (first, max(0, first - 1)))
            if n and what.idle_ns:
                yield Phase(2 * n, Ns(before + 1), f"idle {n}")
            yield Phase(2 * n + 1, Ns(start), f"hot set {n + 1}")


def two_vms(what: Synthesis) -> tuple[SyntheticTrace, SyntheticTrace]:
    """Two guests in antiphase, of `what.rows` accesses together: A busy with hot sets and pauses, B scanning late.

    A has `phases` phases with pauses as long as its phases; B starts as the first pause does, and scans its pages. Both
    have `what.pages` pages.
    """
    what = replace(what, kind="phases", hot_pages=min(what.hot_pages, what.pages))
    what.check()
    half = replace(what, rows=max(1, what.rows // 2))
    seed = (what.seed + 1) % (1 << 64)
    if what.duration_ns:
        # A: phases and pauses; B: from the first pause on, as long as A's phases together
        parts = what.phases + (0 if what.idle_ns else what.phases - 1)
        pauses = what.idle_ns * (what.phases - 1)
        busy = max(1, min((what.duration_ns - pauses) // parts, what.duration_ns // (what.phases + 1)))
        a = replace(half, idle_ns=what.idle_ns or busy, duration_ns=busy * parts + pauses)
        b = replace(half, kind="scan", seed=seed, start_ns=what.start_ns + busy, duration_ns=busy * what.phases)
    else:
        busy = half.rows * 10**9 // half.rate // half.phases
        a = replace(half, idle_ns=what.idle_ns or busy)
        b = replace(half, kind="scan", seed=seed, start_ns=what.start_ns + busy)
    return SyntheticTrace(a), SyntheticTrace(b)


def _raw(seed: int, block: int, count: int) -> NDArray[np.uint64]:
    """`count` raw Philox outputs of the key (seed, block)."""
    return np.asarray(np.random.Philox(key=np.array([seed, block], np.uint64)).random_raw(count), np.uint64)


def _below(bits: NDArray[np.uint64], limit: int, width: int) -> NDArray[np.uint64]:
    """`width` random bits as numbers under `limit` (at most 2^32), by multiplication; biased by under limit / 2^width."""
    return (bits * np.uint64(limit)) >> np.uint64(width)


def _chance(bits: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """True with probability `share`, from the low 24 bits."""
    return (bits & np.uint64(0xFFFFFF)) < np.uint64(round(share * (1 << 24)))
