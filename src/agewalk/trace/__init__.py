"""Page accesses of guests: a columnar file format, its reader and writer, foreign formats, synthesis.

A *trace* says which vCPU touched which guest page in which time slot. Whatever can say so is a `Trace`: it has a
`name` (for messages), `meta` (a `TraceMeta`), `rows` (known before reading, for progress) and `batches(max_rows)`,
which yields `Batch`es of numpy columns in ascending time, never more than `max_rows` at once and as often as asked.

    from agewalk.trace import open_trace

    trace = open_trace("sqlite-vm.parquet")          # RecordedTrace: reads the file's head, checks schema and metadata
    trace.meta.memory_bytes, trace.meta.phases, trace.rows
    for batch in trace.batches(max_rows=1 << 16):    # columns: time_ns u64, vcpu u8, gfn u64, write bool, context u8
        engine.touch(batch.vcpu, batch.gfn, batch.write)

- `open_trace(path)`: a Parquet trace; streams files larger than memory and checks every row while it does.
- `MemoryTrace(meta, columns)`: columns in memory, checked once; what tests and small experiments use.
- `TraceWriter(path)`, `write_trace(path, trace)`: checked the same way, into a temporary file that is renamed.
- `window(trace, start, end)`: a part of a trace, re-timed to start at 0.
- `agewalk.trace.synth`: seeded synthetic traces; `agewalk.trace.convert`: readers of other tools' files;
  `agewalk.trace.facts`: what `agewalk trace info` says.

Bad input raises `TraceError`, whose text names file, column and row (rows count from 0). numpy is imported with this
package, pyarrow when a file is opened or written.
"""

from agewalk.trace.format import CONTEXTS, GUEST, HOST, NESTED, Batch, Phase, Trace, TraceMeta
from agewalk.trace.memory import MemoryTrace
from agewalk.trace.parquet import RecordedTrace, open_trace
from agewalk.trace.window import WindowTrace, window
from agewalk.trace.writer import TraceWriter, write_trace

__all__ = [
    "CONTEXTS",
    "GUEST",
    "HOST",
    "NESTED",
    "Batch",
    "MemoryTrace",
    "Phase",
    "RecordedTrace",
    "Trace",
    "TraceMeta",
    "TraceWriter",
    "WindowTrace",
    "open_trace",
    "window",
    "write_trace",
]
