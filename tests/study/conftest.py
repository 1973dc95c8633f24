"""Tiny traces and scenarios on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agewalk.core.units import Bytes
from agewalk.trace import Batch, MemoryTrace, TraceMeta, write_trace

WriteTrace = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteTrace:
    """Write a trace of (time_ns, gfn) rows; every row a read of vCPU 0 unless said otherwise."""

    def written(
        name: str, times: Sequence[int], gfns: Sequence[int], *, pages: int = 64, write: object = False
    ) -> Path:
        path = tmp_path / f"{name}.parquet"
        meta = TraceMeta(memory_bytes=Bytes(pages * 4096))
        write_trace(path, MemoryTrace(meta, Batch.of(times, gfns, write=write)))
        return path

    return written
