"""A trace that lives in memory."""

from collections.abc import Iterator

from agewalk.core.errors import TraceError
from agewalk.core.units import parse_size
from agewalk.trace.format import DEFAULT_ROWS, GUEST, Batch, Trace, TraceMeta
from agewalk.trace.row_rules import StreamCheck


class MemoryTrace:
    """Columns in memory as a `Trace`; checked once, when it is made. Raises TraceError as a file would."""

    def __init__(self, meta: TraceMeta, columns: Batch, *, name: str = "trace in memory") -> None:
        if not len(columns):
            raise TraceError(f"{name}: the trace is empty (0 rows)")
        StreamCheck(name, meta).check(columns)
        self._name = name
        self._meta = meta
        self._columns = columns

    @classmethod
    def of(
        cls,
        time_ns: object,
        gfn: object,
        *,
        memory: str,
        write: object = False,
        vcpu: object = 0,
        context: object = GUEST,
        name: str = "trace in memory",
    ) -> "MemoryTrace":
        """A trace of array-likes of equal length; scalars for `write`, `vcpu` and `context` stand for every row.

        time_ns: ascending nanoseconds. gfn: numbers of 4 KiB pages. memory: of the guest, as in "64 MiB". Raises TraceError.
        """
        return cls(
            TraceMeta(memory_bytes=parse_size(memory)),
            Batch.of(time_ns, gfn, write=write, vcpu=vcpu, context=context),
            name=name,
        )

    @property
    def name(self) -> str:
        """For messages."""
        return self._name

    @property
    def meta(self) -> TraceMeta:
        """The metadata it was made with."""
        return self._meta

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._columns)

    @property
    def columns(self) -> Batch:
        """All rows at once."""
        return self._columns

    def batches(self, max_rows: int = DEFAULT_ROWS) -> Iterator[Batch]:
        """All rows in batches of 1..max_rows, as views."""
        for start in range(0, self.rows, max_rows):
            yield self._columns[start : start + max_rows]


def load(trace: Trace) -> MemoryTrace:
    """The whole of a trace in memory: 19 bytes a row."""
    return MemoryTrace(trace.meta, Batch.concatenate(list(trace.batches())), name=trace.name)
