"""Traces as other programs would write them: with pyarrow alone, never with the code under test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOOD: dict[str, tuple[list[Any], str]] = {
    "time_ns": ([0, 0, 20, 20, 40], "uint64"),
    "vcpu": ([0, 1, 0, 1, 0], "uint8"),
    "gfn": ([3, 4, 3, 7, 0], "uint32"),
    "write": ([True, False, False, True, False], "bool"),
    "context": ([0, 1, 2, 0, 0], "uint8"),
}
META = {"page_size": "4096", "memory_bytes": str(8 * 4096)}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a trace that is good but for what the call replaces; a column given as None is left out."""

    def write(meta: Any = None, *, name: str = "t.parquet", **columns: Any) -> Path:
        wanted = {**GOOD, **columns}
        kept = {k: v for k, v in wanted.items() if v is not None}
        arrays = [
            pa.array(values, getattr(pa, kind if kind != "bool" else "bool_")()) for values, kind in kept.values()
        ]
        table = pa.Table.from_arrays(arrays, names=list(kept))
        path = tmp_path / name
        pq.write_table(table.replace_schema_metadata(META if meta is None else meta), path, row_group_size=2)
        return path

    return write
