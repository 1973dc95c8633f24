"""Writing Parquet traces: checked, streamed, and renamed into place only when complete."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from agewalk.core.errors import TraceError, UsageError
from agewalk.core.files import whole
from agewalk.core.units import Bytes
from agewalk.trace.format import Batch, Trace, TraceMeta
from agewalk.trace.meta import MAX_PHYSICAL, meta_bytes, meta_strings, parse_meta
from agewalk.trace.row_rules import StreamCheck

if TYPE_CHECKING:
    import pyarrow.parquet as pq

GROUP_ROWS: Final = 1 << 20  # rows of a row group, whatever the batches were, so that equal rows give equal bytes


class TraceWriter:
    """Writes one trace, as a context manager; leaves nothing behind when it fails.

    path: where the trace shall be; replaced in one step when everything is written.
    meta: what is known at the start. `close_meta` may replace it until the end (a converter learns the guest's size
        last); rows are checked against it as they come, and against the final one's memory and vCPUs at the end.
    context: whether to write the `context` column.

    The bytes depend on the rows and the metadata alone (for one version of pyarrow), not on the batches.
    """

    def __init__(self, path: str | Path, meta: TraceMeta | None = None, *, context: bool = True) -> None:
        self._path = Path(path)
        self._meta = meta
        self._context = context
        loose = TraceMeta(memory_bytes=Bytes(MAX_PHYSICAL))
        self._check = StreamCheck(str(path), meta or loose)
        self._held: list[Batch] = []
        self._held_rows = 0
        self._top_gfn = self._top_vcpu = 0
        self._file = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._check.rows

    def __enter__(self) -> Self:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if str(self._path) == "-":
            raise UsageError("a trace cannot go to standard output", hint="Parquet needs a file: name one")
        gfn = pa.uint32() if self._meta is not None and self._meta.pages <= 1 << 32 else pa.uint64()
        types = {"time_ns": pa.uint64(), "vcpu": pa.uint8(), "gfn": gfn, "write": pa.bool_()}
        types |= {"context": pa.uint8()} if self._context else {}
        self._schema = pa.schema([pa.field(n, t, nullable=False) for n, t in types.items()])
        try:
            with ExitStack() as file:
                made = file.enter_context(whole(self._path))
                self._writer = pq.ParquetWriter(
                    made,
                    self._schema,
                    compression="zstd",
                    compression_level=9,
                    use_dictionary=False,
                    column_encoding={"time_ns": "DELTA_BINARY_PACKED", "gfn": "DELTA_BINARY_PACKED"},
                    write_page_checksum=True,
                    store_schema=False,
                )
                file.callback(_close_quietly, self._writer)
                self._file = file.pop_all()
        except OSError as e:
            raise UsageError(f"{self._path}: cannot be written: {e.strerror}", hint="choose another place") from None
        return self

    def write(self, batch: Batch) -> None:
        """Append rows. Raises TraceError if they break the format."""
        if not len(batch):
            return
        self._check.check(batch)
        self._top_gfn = max(self._top_gfn, int(batch.gfn.max()))
        self._top_vcpu = max(self._top_vcpu, int(batch.vcpu.max()))
        self._held.append(batch)
        self._held_rows += len(batch)
        while self._held_rows >= GROUP_ROWS:
            self._flush(GROUP_ROWS)

    def close_meta(self, meta: TraceMeta) -> None:
        """Replace the metadata; takes effect when the trace is completed."""
        self._meta = meta

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.__exit__(kind, error, trace)
            return
        try:
            with self._file:
                self._complete()
        except OSError as e:
            raise UsageError(f"{self._path}: cannot be written: {e.strerror or e}", hint="is the disk full?") from None

    def _complete(self) -> None:
        assert self._writer is not None
        if self._meta is None:
            raise UsageError(f"{self._path}: no metadata was given to write")
        if not self._check.rows:
            raise TraceError(f"{self._path}: there are no rows to write", hint="an empty trace is of no use to anyone")
        parse_meta(str(self._path), meta_bytes(str(self._path), self._meta))  # as open_trace() will
        # the final metadata may be stricter than what the rows were checked against
        top = Batch.of([0], [self._top_gfn], vcpu=self._top_vcpu)
        StreamCheck(str(self._path), replace(self._meta)).check(top)
        if self._held_rows:
            self._flush(self._held_rows)
        self._writer.add_key_value_metadata(meta_strings(self._meta))
        self._writer.close()

    def _flush(self, rows: int) -> None:
        import pyarrow as pa

        assert self._writer is not None
        whole = Batch.concatenate(self._held)
        part, rest = whole[:rows], whole[rows:]
        self._held, self._held_rows = ([rest] if len(rest) else []), len(rest)
        columns = [part.time_ns, part.vcpu, part.gfn, part.write, *([part.context] if self._context else [])]
        arrays = [pa.array(np.ascontiguousarray(c)).cast(f.type) for c, f in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=GROUP_ROWS)


def write_trace(
    path: str | Path, trace: Trace, *, context: bool = True, progress: Callable[[int], object] | None = None
) -> None:
    """Write all rows and metadata of `trace` to `path`; `progress` is told how many rows each batch had."""
    with TraceWriter(path, trace.meta, context=context) as writer:
        for batch in trace.batches():
            writer.write(batch)
            if progress:
                progress(len(batch))


def _close_quietly(writer: "pq.ParquetWriter") -> None:
    """Close a half-written file whose error is already on its way to the user; a complete one is closed."""
    import pyarrow as pa

    with suppress(OSError, pa.ArrowException):
        if writer.is_open:
            writer.close()
