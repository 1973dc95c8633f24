"""Other tools' files as traces: valgrind lackey, libCacheSim oracleGeneral, separated text, binary records, DAMON, perf script.

`convert(source, target, how)` streams a file through three steps: a reader (one module a format, which documents
what becomes time, vCPU and page), slots (`Slots`), and dense guest frame numbers (`Renumber`), into a `TraceWriter`.
Nothing is left behind if it fails. Time starts at 0 with the first access. The source may be a pipe, or "-" for standard input.

Each row of a file becomes accesses, is counted as skipped, or ends the conversion with an error: the `Account` says how many of
each, and what was guessed. The trace's metadata hold it (`source_rows`, `source_skipped`, `source_assumed`).

Guest frame numbers: `keep` takes page numbers as they are. Where they come from a sparse address space, that would make a
guest of terabytes, so `regions` renumbers its 2 MiB regions densely in the order of first touch and keeps the place inside
(what lies side by side stays so, up to 2 MiB); `pages` renumbers single pages, for object ids without neighbourhood.
`auto` reads the file once before (a pipe is kept in a temporary file):
`keep` if the highest page lies below 64 GiB or within eight times the
regions touched, otherwise `regions`. The trace's metadata says which (`gfn_numbering`), and for up to 4,096 regions where
each came from (`gfn_regions`, a JSON list of page numbers: region i of the guest was there).
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agewalk.core.errors import TraceError, UsageError
from agewalk.core.units import PAGE_SIZE, Bytes, Ns, format_size
from agewalk.trace.convert.account import Account
from agewalk.trace.convert.binary import RecordReader
from agewalk.trace.convert.columns import Columns
from agewalk.trace.convert.damon import read_damon
from agewalk.trace.convert.lackey import read_lackey
from agewalk.trace.convert.oracle import read_oracle
from agewalk.trace.convert.perf import Address, PerfReader
from agewalk.trace.convert.presets import MSR, gem5, merge
from agewalk.trace.convert.slots_and_frames import (
    DESCRIPTION,
    MAX_SPACES,
    SPACE_SHIFT,
    Numbering,
    Renumber,
    Slots,
    Span,
)
from agewalk.trace.convert.source import MAX_TOUCHED, STDIN, Source, has_passes, kept, name_of
from agewalk.trace.convert.text import place_of, read_text
from agewalk.trace.format import CONTEXTS, GUEST, Batch, TraceMeta
from agewalk.trace.meta import MAX_PHYSICAL, MAX_TIME
from agewalk.trace.writer import TraceWriter

MS: Final = 10**6
FORMATS: Final[dict[str, tuple[str, int, Numbering]]] = {  # what it is, default slot in ns, default numbering
    "lackey": ("valgrind --tool=lackey --trace-mem=yes", MS // 10, "regions"),
    "oracle": ("libCacheSim oracleGeneral, 24-byte records", 0, "pages"),
    "csv": ("separated text, as libCacheSim reads it", 0, "auto"),
    "msr": ("a block trace of MSR Cambridge (SNIA IOTTA)", 0, "auto"),
    "gem5": ("a gem5 packet trace as text", 0, "auto"),
    "binary": ("binary records of a fixed size", 0, "auto"),
    "damon": ("DAMON records, damo's json or json_compressed", 0, "auto"),
    "perf": ("perf script -F comm,pid,tid,cpu,time,event,addr", 0, "auto"),
}
TEXTS: Final = {"csv", "msr", "gem5"}
SPACES: Final = {"damon", "perf"}  # whose page keys carry an address space
MAX_LISTED_REGIONS: Final = 4096


__all__ = ["FORMATS", "Account", "Columns", "Converted", "How", "convert"]


@dataclass(frozen=True, kw_only=True)
class How:
    """What to make of a file. None means the format's default (`FORMATS`).

    slot_ns: length of a slot, in which a page that a vCPU touches is listed once; 0 keeps every access.
    numbering: auto, keep, regions or pages. memory_bytes: size of the guest; by default what its frames need.
    context: 0 guest, 1 nested guest, 2 host process. instructions: whether lackey's fetches count.
    min_samples: accesses from which on a DAMON region counts as touched; max_touched: bytes that a snapshot or request may touch.
    columns: of separated text and binary records. record: a binary record, as struct describes it.
    address: virtual or physical, one_process: of perf (`PerfReader`). packed: whether to look for compression.
    """

    kind: str
    slot_ns: int | None = None
    numbering: Numbering | None = None
    memory_bytes: int | None = None
    context: int = GUEST
    instructions: bool = True
    min_samples: int = 1
    max_touched: int = MAX_TOUCHED
    columns: Columns = field(default_factory=Columns)
    record: str = ""
    address: Address | None = None
    one_process: bool = False
    packed: bool = True

    @property
    def passes(self) -> int:
        """How often the source is read, at most: numbering `auto` looks at it first."""
        return 2 if (self.numbering or FORMATS[self.kind][2]) == "auto" else 1

    @property
    def reads_twice(self) -> bool:
        """Whether the source must be one that can be read more than once."""
        if self.numbering is None and self.kind in TEXTS | {"binary"}:
            return self.columns.object is None  # objects are numbered as they come
        return self.passes > 1

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
        if self.address not in {None, "virtual", "physical"}:
            raise UsageError(f"unknown address {self.address!r}", hint="virtual or physical")
        if bool(self.record) != (self.kind == "binary"):
            hint = "as in --from binary --record '<QIIIc' --object-column 1 --time-column 2"
            raise UsageError("a record's layout goes with --from binary, and --from binary needs one", hint=hint)
        self.columns.check()
        if self.memory_bytes is not None and (self.memory_bytes <= 0 or self.memory_bytes % PAGE_SIZE):
            raise UsageError(f"memory of {self.memory_bytes} bytes is not a multiple of {PAGE_SIZE}")
        if self.memory_bytes is not None and self.memory_bytes > MAX_PHYSICAL:
            top = format_size(MAX_PHYSICAL)
            hint = f"a guest has at most {top}, x86-64's 52 physical address bits"
            raise UsageError(f"memory of {format_size(self.memory_bytes)} is too much", hint=hint)


@dataclass(frozen=True)
class Converted:
    """What a conversion did: accesses read, rows written, what became of the file's rows, how gfns were numbered, guest memory.

    duration_ns: to the end of the last slot, or to the last access where every one is kept.
    """

    accesses: int
    rows: int
    account: Account
    numbering: Numbering
    memory_bytes: int
    duration_ns: int

    @property
    def skipped(self) -> int:
        """Rows of the file that stand for no access."""
        return self.account.skipped_rows


class _Input:
    """The accesses of one file, as often as asked."""

    def __init__(self, path: str | Path, how: How, name: str) -> None:
        self._path = path
        self._how = how
        self._name = name
        self.accesses = self.consumed = 0
        self.account = Account()

    def open(self) -> Source:
        """The file, from its beginning."""
        return Source(self._path, packed=self._how.packed, name=self._name)

    def place(self) -> str:
        """Of separated text and records: whether pages are gfns, addresses or objects."""
        how = self._how
        if how.kind == "binary" or how.columns.place_count:
            return "object" if how.columns.object is not None else "gfn"
        if how.kind == "msr":
            return "address"
        with self.open() as source:
            return place_of(source, how.columns, gem5 if how.kind == "gem5" else None)

    def read(self, progress: Callable[[int], object]) -> Iterator[Batch]:
        """All accesses; `progress` is told how many bytes of the file have been taken."""
        self.accesses = 0
        with self.open() as source:
            for batch in self._reader(source):
                self.accesses += len(batch)
                self.consumed = source.consumed
                progress(self.consumed)
                yield batch
            self.account = source.account
            source.audit()
            if not self.accesses:
                skipped = "; ".join(f"{count} {why} were skipped" for why, count in source.account.skipped.items())
                more = f"; {skipped}" if skipped else ""
                raise source.error(f"no accesses in it{more}", hint=f"is it {FORMATS[self._how.kind][0]}?")

    def _reader(self, source: Source) -> Iterator[Batch]:
        how = self._how
        match how.kind:
            case "lackey":
                return read_lackey(source, instructions=how.instructions)
            case "oracle":
                return read_oracle(source)
            case "csv":
                return read_text(source, how.columns, max_touched=how.max_touched)
            case "msr":
                return read_text(source, merge(MSR, how.columns), max_touched=how.max_touched)
            case "gem5":
                return read_text(source, how.columns, choose=gem5, max_touched=how.max_touched)
            case "binary":
                return RecordReader(how.record, how.columns, how.max_touched).read(source)
            case "damon":
                return read_damon(source, min_samples=how.min_samples, max_touched=how.max_touched)
            case _:
                return PerfReader(how.address, one_process=how.one_process).read(source)


def _ignore(_consumed: int) -> None:
    """Progress that is not shown."""


def convert(
    source: str | Path, target: str | Path, how: How, *, progress: Callable[[int], object] = _ignore
) -> Converted:
    """Convert `source` to a Parquet trace at `target`. Raises TraceError, UsageError; nothing is half-written.

    progress: told how many bytes of the source (on disk) have been taken; with numbering `auto` they are taken twice.
    """
    how.check()
    if Path(source).resolve() == Path(target).resolve():
        raise UsageError(f"{target}: would overwrite the file that is read", hint="name another target")
    with ExitStack() as stack:
        path = stack.enter_context(kept(source)) if how.reads_twice and not has_passes(source) else source
        return _convert(_Input(path, how, name_of(source)), source, target, how, progress)


def _convert(
    file: _Input, source: str | Path, target: str | Path, how: How, progress: Callable[[int], object]
) -> Converted:
    what, slot, numbering = FORMATS[how.kind]
    slot = slot if how.slot_ns is None else how.slot_ns
    numbering = how.numbering or numbering
    if how.numbering is None and how.kind in TEXTS | {"binary"} and file.place() == "object":
        numbering = "pages"
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
            other={
                "gfn_numbering": DESCRIPTION[numbering],
                "source_accesses": str(file.accesses),
                **_told(file.account),
                **regions,
            },
        )
        writer.close_meta(meta)
    return Converted(file.accesses, writer.rows, file.account, numbering, memory, last + slot)


def _told(account: Account) -> dict[str, str]:
    """The account as metadata."""
    told = {"source_rows": str(account.rows)}
    if account.skipped or account.aside:
        told["source_skipped"] = json.dumps({**account.skipped, **account.aside})
    if account.assumed:
        told["source_assumed"] = json.dumps(account.assumed)
    return told
