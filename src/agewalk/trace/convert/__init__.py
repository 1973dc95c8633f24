"""Other tools' files as traces: valgrind lackey, libCacheSim oracleGeneral and csv, DAMON records, perf script.

`convert(source, target, how)` streams a file through three steps: a reader (one module a format, which documents
what becomes time, vCPU and page), slots (`Slots`), and dense guest frame numbers (`Renumber`), into a `TraceWriter`.
Nothing is left behind if it fails. Time starts at 0 with the first access.

Guest frame numbers: `keep` takes page numbers as they are. Where they come from a sparse address space, that would make a
guest of terabytes, so `regions` renumbers its 2 MiB regions densely in the order of first touch and keeps the place inside
(what lies side by side stays so, up to 2 MiB); `pages` renumbers single pages, for object ids without neighbourhood.
`auto` reads the file once before: `keep` if the highest page lies below 64 GiB or within eight times the regions touched,
otherwise `regions`. The trace's metadata says which (`gfn_numbering`), and for up to 4,096 regions where each came from
(`gfn_regions`, a JSON list of page numbers: region i of the guest was there).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agewalk.core.errors import TraceError, UsageError
from agewalk.core.units import PAGE_SIZE, Bytes, Ns
from agewalk.trace.convert.damon import MAX_TOUCHED, read_damon
from agewalk.trace.convert.fold import DESCRIPTION, MAX_SPACES, SPACE_SHIFT, Numbering, Renumber, Slots, Span
from agewalk.trace.convert.lackey import read_lackey
from agewalk.trace.convert.oracle import read_oracle
from agewalk.trace.convert.perf import PerfReader
from agewalk.trace.convert.source import Source
from agewalk.trace.convert.text import CsvLayout, numbers_objects, read_csv
from agewalk.trace.format import CONTEXTS, GUEST, Batch, TraceMeta
from agewalk.trace.meta import MAX_TIME
from agewalk.trace.writer import TraceWriter

MS: Final = 10**6
FORMATS: Final[dict[str, tuple[str, int, Numbering]]] = {  # what it is, default slot in ns, default numbering
    "lackey": ("valgrind --tool=lackey --trace-mem=yes", MS // 10, "regions"),
    "oracle": ("libCacheSim oracleGeneral, 24-byte records", 0, "pages"),
    "csv": ("separated text, as libCacheSim reads it", 0, "auto"),
    "damon": ("DAMON records, damo's json or json_compressed", 0, "auto"),
    "perf": ("perf script -F comm,pid,tid,cpu,time,event,addr", 0, "auto"),
}
MAX_LISTED_REGIONS: Final = 4096

__all__ = ["FORMATS", "Converted", "CsvLayout", "How", "convert"]


@dataclass(frozen=True, kw_only=True)
class How:
    """What to make of a file. None means the format's default (`FORMATS`).

    slot_ns: length of a slot, in which a page that a vCPU touches is listed once; 0 keeps every access.
    numbering: auto, keep, regions or pages. memory_bytes: size of the guest; by default what its frames need.
    context: 0 guest, 1 nested guest, 2 host process. instructions: whether lackey's fetches count.
    min_samples: accesses from which on a DAMON region counts as touched; max_touched: bytes that a snapshot may touch.
    csv: the columns of separated text.
    """

    kind: str
    slot_ns: int | None = None
    numbering: Numbering | None = None
    memory_bytes: int | None = None
    context: int = GUEST
    instructions: bool = True
    min_samples: int = 1
    max_touched: int = MAX_TOUCHED
    csv: CsvLayout = field(default_factory=CsvLayout)

    @property
    def passes(self) -> int:
        """How often the source is read, at most: numbering `auto` looks at it first."""
        return 2 if (self.numbering or FORMATS[self.kind][2]) == "auto" else 1

    def check(self) -> None:
        """Raise UsageError for what makes no sense."""
        if self.kind not in FORMATS:
            raise UsageError(f"unknown format {self.kind!r}", hint=f"one of {', '.join(FORMATS)}")
        if self.numbering is not None and self.numbering != "auto" and self.numbering not in DESCRIPTION:
            raise UsageError(f"unknown numbering {self.numbering!r}", hint="one of auto, keep, regions, pages")
        if not 0 <= self.context < len(CONTEXTS):
            raise UsageError(f"unknown context {self.context}", hint="0 guest, 1 nested guest, 2 host process")
        if self.slot_ns is not None and not 0 <= self.slot_ns <= MAX_TIME:
            raise UsageError(f"a slot of {self.slot_ns} ns makes no sense")
        if self.min_samples < 1:
            raise UsageError("--min-samples must be at least 1")
        if self.memory_bytes is not None and (self.memory_bytes <= 0 or self.memory_bytes % PAGE_SIZE):
            raise UsageError(f"memory of {self.memory_bytes} bytes is not a multiple of {PAGE_SIZE}")


@dataclass(frozen=True)
class Converted:
    """What a conversion did: accesses read, rows written, samples skipped, how gfns were numbered, guest memory."""

    accesses: int
    rows: int
    skipped: int
    numbering: Numbering
    memory_bytes: int
    duration_ns: int


class _Input:
    """The accesses of one file, as often as asked."""

    def __init__(self, path: Path, how: How) -> None:
        self._path = path
        self._how = how
        self.accesses = self.skipped = 0

    def read(self, progress: Callable[[int], object]) -> Iterator[Batch]:
        """All accesses; `progress` is told how many bytes of the file have been taken."""
        self.accesses = self.skipped = 0
        perf = PerfReader()
        how = self._how
        readers: dict[str, Callable[[Source], Iterator[Batch]]] = {
            "lackey": lambda s: read_lackey(s, instructions=self._how.instructions),
            "oracle": read_oracle,
            "csv": lambda s: read_csv(s, self._how.csv),
            "damon": lambda s: read_damon(s, min_samples=how.min_samples, max_touched=how.max_touched),
            "perf": perf.read,
        }
        with Source(self._path) as source:
            for batch in readers[self._how.kind](source):
                self.accesses += len(batch)
                self.skipped = perf.skipped
                progress(source.consumed)
                yield batch
            self.skipped = perf.skipped
            if not self.accesses:
                more = f"; {self.skipped} samples had no address" if self.skipped else ""
                raise source.error(f"no accesses in it{more}", hint=f"is it {FORMATS[self._how.kind][0]}?")


def _nobody(_consumed: int) -> None:
    """Nobody wants to know of the progress."""


def convert(
    source: str | Path, target: str | Path, how: How, *, progress: Callable[[int], object] = _nobody
) -> Converted:
    """Convert `source` to a Parquet trace at `target`. Raises TraceError, UsageError; nothing is half-written.

    progress: told how many bytes of the source (on disk) have been taken; with numbering `auto` they are taken twice.
    """
    how.check()
    what, slot, numbering = FORMATS[how.kind]
    slot = slot if how.slot_ns is None else how.slot_ns
    numbering = how.numbering or numbering
    if how.kind == "csv" and how.numbering is None:
        how.csv.check()
        with Source(source) as head:
            numbering = "pages" if numbers_objects(head, how.csv) else numbering
    file = _Input(Path(source), how)
    if Path(source).resolve() == Path(target).resolve():
        raise UsageError(f"{target}: would overwrite the file that is read", hint="name another target")
    passed = (how.passes - 1) * (Path(source).stat().st_size if Path(source).is_file() else 0)
    if numbering == "auto":
        span = Span()
        for batch in file.read(progress):
            span.feed(batch)
        numbering = span.choose()
    renumber = Renumber(numbering, str(source))
    slots = Slots(slot)
    last = vcpus = 0
    with TraceWriter(target, context=how.context != GUEST) as writer:

        def take(rows: Iterator[Batch]) -> None:
            nonlocal last, vcpus
            for batch in rows:
                gfn = renumber.apply(batch.gfn)
                context = batch.context + batch.context.dtype.type(how.context)
                writer.write(Batch(batch.time_ns, batch.vcpu, gfn, batch.write, context))
                last, vcpus = int(batch.time_ns[-1]), max(vcpus, int(batch.vcpu.max()) + 1)

        for batch in file.read(lambda consumed: progress(passed + consumed)):
            take(slots.feed(batch))
        take(slots.finish())
        if how.memory_bytes is not None and how.memory_bytes // PAGE_SIZE < renumber.pages:
            asked = how.memory_bytes // PAGE_SIZE
            raise TraceError(
                f"{source}: needs {renumber.pages} pages of guest memory, more than the {asked} asked for",
                hint="leave --memory out, or use '--numbering regions'",
            )
        memory = how.memory_bytes or renumber.memory_bytes
        table = renumber.table()
        regions = {"gfn_regions": json.dumps(table)} if table and len(table) <= MAX_LISTED_REGIONS else {}
        if any(key >> SPACE_SHIFT for key in table):
            regions["gfn_spaces"] = (
                f"page numbers carry the address space (of up to {MAX_SPACES}) from bit {SPACE_SHIFT} on"
            )
        meta = TraceMeta(
            memory_bytes=Bytes(memory),
            vcpus=vcpus,
            row_epoch_ns=Ns(slot) if slot else None,
            workload=Path(source).name,
            capture=f"{what}; converted by agewalk trace convert",
            other={"gfn_numbering": DESCRIPTION[numbering], "source_accesses": str(file.accesses), **regions},
        )
        writer.close_meta(meta)
    return Converted(file.accesses, writer.rows, file.skipped, numbering, memory, last)
