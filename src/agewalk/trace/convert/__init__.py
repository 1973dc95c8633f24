"""Other tools' files as traces: valgrind lackey, libCacheSim oracleGeneral and csv, DAMON records, perf script.

`convert(source, target, how)` streams a file through three steps: a reader (one module a format, which documents
what becomes time, vCPU and page), slots (`Slots`), and dense guest frame numbers (`Renumber`), into a `TraceWriter`.
Nothing is left behind if it fails. Time starts at 0 with the first access. The source may be a pipe, or "-" for standard input.

Guest frame numbers: `keep` takes page numbers as they are. Where they come from a sparse address space, that would make a
guest of terabytes, so `regions` renumbers its 2 MiB regions densely in the order of first touch and keeps the place inside
(what lies side by side stays so, up to 2 MiB); `pages` renumbers single pages, for object ids without neighbourhood.
`auto` reads the file once before (so no pipe): `keep` if the highest page lies below 64 GiB or within eight times the
regions touched, otherwise `regions`. The trace's metadata says which (`gfn_numbering`), and for up to 4,096 regions where
each came from (`gfn_regions`, a JSON list of page numbers: region i of the guest was there).
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agewalk.core.errors import TraceError, UsageError
from agewalk.core.units import PAGE_SIZE, Bytes, Ns, format_size
from agewalk.trace.convert.damon import MAX_TOUCHED, read_damon
from agewalk.trace.convert.fold import DESCRIPTION, MAX_SPACES, SPACE_SHIFT, Numbering, Renumber, Slots, Span
from agewalk.trace.convert.lackey import read_lackey
from agewalk.trace.convert.oracle import OracleReader
from agewalk.trace.convert.perf import PerfReader
from agewalk.trace.convert.source import STDIN, Source, has_passes, name_of
from agewalk.trace.convert.text import CsvLayout, numbers_objects, read_csv
from agewalk.trace.format import CONTEXTS, GUEST, Batch, TraceMeta
from agewalk.trace.meta import MAX_PHYSICAL, MAX_TIME
from agewalk.trace.writer import TraceWriter

MS: Final = 10**6
FORMATS: Final[dict[str, tuple[str, int, Numbering]]] = {  # what it is, default slot in ns, default numbering
    "lackey": ("valgrind --tool=lackey --trace-mem=yes", MS // 10, "regions"),
    "oracle": ("libCacheSim oracleGeneral, 24-byte records", 0, "pages"),
    "csv": ("separated text, as libCacheSim reads it", 0, "auto"),
    "damon": ("DAMON records, damo's json or json_compressed", 0, "auto"),
    "perf": ("perf script -F comm,pid,tid,cpu,time,event,addr", 0, "auto"),
}
SKIPPED: Final = {"oracle": "requests of size 0", "perf": "samples without an address"}
SPACES: Final = {"damon", "perf"}  # whose page keys carry an address space
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
        if self.memory_bytes is not None and self.memory_bytes > MAX_PHYSICAL:
            top = format_size(MAX_PHYSICAL)
            hint = f"a guest has at most {top}, x86-64's 52 physical address bits"
            raise UsageError(f"memory of {format_size(self.memory_bytes)} is too much", hint=hint)


@dataclass(frozen=True)
class Converted:
    """What a conversion did: accesses read, rows written, what was skipped (`SKIPPED`), how gfns were numbered, guest memory.

    duration_ns: to the end of the last slot, or to the last access where every one is kept.
    """

    accesses: int
    rows: int
    skipped: int
    numbering: Numbering
    memory_bytes: int
    duration_ns: int


class _Input:
    """The accesses of one file, as often as asked."""

    def __init__(self, path: str | Path, how: How) -> None:
        self._path = path
        self._how = how
        self.accesses = self.skipped = self.consumed = 0

    def read(self, progress: Callable[[int], object]) -> Iterator[Batch]:
        """All accesses; `progress` is told how many bytes of the file have been taken."""
        self.accesses = self.skipped = 0
        counting: OracleReader | PerfReader = OracleReader() if self._how.kind == "oracle" else PerfReader()
        how = self._how
        readers: dict[str, Callable[[Source], Iterator[Batch]]] = {
            "lackey": lambda s: read_lackey(s, instructions=self._how.instructions),
            "oracle": counting.read,
            "csv": lambda s: read_csv(s, self._how.csv),
            "damon": lambda s: read_damon(s, min_samples=how.min_samples, max_touched=how.max_touched),
            "perf": counting.read,
        }
        with Source(self._path) as source:
            for batch in readers[self._how.kind](source):
                self.accesses += len(batch)
                self.skipped = counting.skipped
                self.consumed = source.consumed
                progress(self.consumed)
                yield batch
            self.skipped = counting.skipped
            if not self.accesses:
                more = f"; {self.skipped} {SKIPPED[how.kind]} were skipped" if self.skipped else ""
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
    again = has_passes(source)
    if how.kind == "csv" and how.numbering is None:
        how.csv.check()
        if again:
            with Source(source) as head:
                numbering = "pages" if numbers_objects(head, how.csv) else numbering
        elif how.csv.object is not None:
            numbering = "pages"
    if numbering == "auto" and not again:
        raise UsageError(
            f"{name_of(source)}: can be read once, and numbering 'auto' looks at all pages first",
            hint="say --numbering keep (guest frames), regions (addresses) or pages (object ids), or name a file",
        )
    file = _Input(source, how)
    if Path(source).resolve() == Path(target).resolve():
        raise UsageError(f"{target}: would overwrite the file that is read", hint="name another target")
    passed = 0
    if numbering == "auto":
        span = Span()
        for batch in file.read(progress):
            span.feed(batch)
        passed = file.consumed
        numbering = span.choose()
    renumber = Renumber(numbering, name_of(source))
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
                f"{name_of(source)}: needs {renumber.pages} pages of guest memory, more than the {asked} asked for",
                hint="leave --memory out, or use '--numbering regions'",
            )
        memory = how.memory_bytes or renumber.memory_bytes
        table = renumber.table()
        regions = {"gfn_regions": json.dumps(table)} if table and len(table) <= MAX_LISTED_REGIONS else {}
        if how.kind in SPACES and any(key >> SPACE_SHIFT for key in table):
            regions["gfn_spaces"] = (
                f"page numbers carry the address space (of up to {MAX_SPACES}) from bit {SPACE_SHIFT} on"
            )
        meta = TraceMeta(
            memory_bytes=Bytes(memory),
            vcpus=vcpus,
            row_epoch_ns=Ns(slot) if slot else None,
            workload="" if str(source) == STDIN else os.fsencode(Path(source).name).decode(errors="replace"),
            capture=f"{what}; converted by agewalk trace convert",
            other={"gfn_numbering": DESCRIPTION[numbering], "source_accesses": str(file.accesses), **regions},
        )
        writer.close_meta(meta)
    return Converted(file.accesses, writer.rows, file.skipped, numbering, memory, last + slot)
