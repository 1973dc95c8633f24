"""Parquet traces, read in a stream and checked row by row."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agewalk.core.errors import TraceError
from agewalk.trace.format import DEFAULT_ROWS, Batch, TraceMeta
from agewalk.trace.meta import parse_meta
from agewalk.trace.row_rules import StreamCheck, row_error

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# column -> Arrow types it may have; the format's table in docs/formats.md
COLUMNS: Final = {
    "time_ns": ("uint64",),
    "vcpu": ("uint8",),
    "gfn": ("uint32", "uint64"),
    "write": ("bool",),
    "context": ("uint8",),
}
OPTIONAL: Final = ("context",)
_TORN_HINT: Final = "the file is truncated or damaged: copy or record it again, and compare sizes and checksums"
_PIPE_HINT: Final = "Parquet is read from its end on: save it to a file first"
_BUFFER: Final = 1 << 20  # bytes read ahead for each column


class RecordedTrace:
    """A trace in a Parquet file; see `open_trace`. Holds no open file between calls and little memory during them."""

    def __init__(self, path: Path, meta: TraceMeta, rows: int, *, has_context: bool) -> None:
        self._path = path
        self._meta = meta
        self._rows = rows
        self._has_context = has_context

    @property
    def name(self) -> str:
        """The file's path, as it was given."""
        return str(self._path)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    @property
    def meta(self) -> TraceMeta:
        """The file's metadata, checked."""
        return self._meta

    @property
    def rows(self) -> int:
        """Rows of the file, from its footer."""
        return self._rows

    def batches(self, max_rows: int = DEFAULT_ROWS) -> Iterator[Batch]:
        """All rows in batches of 1..max_rows, each checked before it is yielded. Raises TraceError."""
        check = StreamCheck(self.name, self._meta)
        columns = [c for c in COLUMNS if c not in OPTIONAL or self._has_context]
        with _open(self._path) as file:
            if file.metadata.num_rows != self._rows:
                raise TraceError(f"{self.name}: the file changed while it was in use", hint="start over")
            records = file.iter_batches(batch_size=max_rows, columns=columns)
            while (record := _next(self.name, records, check.rows)) is not None:
                if record.num_rows:
                    batch = self._columns(record, check.rows)
                    check.check(batch)
                    yield batch
        if check.rows != self._rows:
            raise TraceError(f"{self.name}: holds {check.rows} of the {self._rows} rows it announces", hint=_TORN_HINT)

    def _columns(self, record: "pa.RecordBatch", row: int) -> Batch:
        got: dict[str, Any] = {}
        for column in record.schema.names:
            array = record.column(column)
            if array.null_count:
                at = row + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
                hint = "every row needs every value; drop or fill the rows that lack one"
                raise row_error(self.name, column, at, "no value (null)", hint)
            got[column] = array.to_numpy(zero_copy_only=False)
        context = got.get("context")
        return Batch(
            got["time_ns"],
            got["vcpu"],
            got["gfn"].astype(np.uint64, copy=False),
            got["write"],
            np.zeros(record.num_rows, np.uint8) if context is None else context,
        )


def open_trace(path: str | Path) -> RecordedTrace:
    """Open a Parquet trace: reads its footer, checks its columns and metadata; the rows are checked as they stream.

    Raises TraceError for a file that is missing, truncated, foreign or empty, lacks a column or has one of the wrong
    type, or whose metadata is missing, malformed or names a page size other than 4096.
    """
    path = Path(path)
    with _open(path) as file:
        name = str(path)
        try:
            schema = file.schema_arrow
            raw = file.metadata.metadata or {}
            rows = file.metadata.num_rows
        except _arrow_errors() as e:
            raise TraceError(f"{name}: unreadable Parquet schema: {_brief(e)}", hint=_TORN_HINT) from None
        _check_schema(name, schema)
        meta = parse_meta(name, raw)
        if rows <= 0:
            raise TraceError(f"{name}: the trace is empty (0 rows)", hint="record again; was the guest running?")
        return RecordedTrace(path, meta, rows, has_context="context" in schema.names)


def _check_schema(name: str, schema: "pa.Schema") -> None:
    for column, types in COLUMNS.items():
        found = schema.get_all_field_indices(column)
        if not found:
            if column in OPTIONAL:
                continue
            listed = ", ".join(repr(c) for c in schema.names[:12])
            raise TraceError(
                f"{name}: column '{column}' is missing; the file has {listed or 'no columns'}",
                hint="for another tool's file use 'agewalk trace convert'; 'agewalk docs formats' lists the columns",
            )
        if len(found) > 1:
            raise TraceError(f"{name}: column '{column}' occurs {len(found)} times", hint="keep one of them")
        got = str(schema.field(found[0]).type)
        if got not in types:
            raise TraceError(
                f"{name}: column '{column}' has type {got}; it must be {' or '.join(types)}",
                hint=f"cast it before writing, as in table.set_column(..., table['{column}'].cast('{types[0]}'))",
            )


def _open(path: Path) -> "pq.ParquetFile":
    import pyarrow.parquet as pq

    name = str(path)
    if path.is_dir():
        raise TraceError(f"{name}: is a directory, not a trace", hint="name one .parquet file in it")
    try:
        status = path.stat()
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            raise TraceError(f"{name}: is a pipe or a device, not a file", hint=_PIPE_HINT)
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(max(0, size - 4))
            tail = file.read(4)
    except TraceError:
        raise
    except FileNotFoundError:
        hint = "paths in a scenario are relative to the scenario" if name != "-" else _PIPE_HINT
        raise TraceError(f"{name}: no such file", hint=hint) from None
    except (OSError, ValueError) as e:
        raise TraceError(f"{name}: cannot be read: {getattr(e, 'strerror', None) or e}") from None
    if size == 0:
        raise TraceError(f"{name}: the file is empty (0 bytes)", hint=_TORN_HINT)
    if head != b"PAR1":
        raise TraceError(
            f"{name}: not a Parquet file (it starts with {head!r})",
            hint="'agewalk trace convert' reads lackey, oracleGeneral, csv, DAMON and perf script files",
        )
    if tail != b"PAR1":
        raise TraceError(f"{name}: the Parquet file is truncated: its footer is missing", hint=_TORN_HINT)
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True)
    except _arrow_errors() as e:
        raise TraceError(f"{name}: the Parquet footer cannot be read: {_brief(e)}", hint=_TORN_HINT) from None


def _next(name: str, records: "Iterator[pa.RecordBatch]", row: int) -> "pa.RecordBatch | None":
    try:
        return next(records, None)
    except _arrow_errors() as e:
        raise TraceError(f"{name}: cannot be read past row {row}: {_brief(e)}", hint=_TORN_HINT) from None


def _arrow_errors() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    return (pa.ArrowException, OSError, MemoryError, OverflowError, ValueError)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
