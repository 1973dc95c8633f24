"""Access streams and outside oracles that the engine's tests share."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

import agewalk

lcs = pytest.importorskip("libcachesim", reason="libcachesim has no wheel for this Python")

U32 = npt.NDArray[np.uint32]


def zipf(accesses: int, pages: int, seed: int) -> U32:
    """Independent references, page of rank r with weight 1/r."""
    rng = np.random.default_rng(seed)
    shares = np.cumsum(1 / np.arange(1, pages + 1))
    ranks = np.searchsorted(shares / shares[-1], rng.random(accesses))
    return rng.permutation(pages).astype(np.uint32)[ranks]


def scans(accesses: int, pages: int, seed: int) -> U32:
    """A hot tenth with full scans in between: what LRU is worst at."""
    hot = zipf(accesses, max(1, pages // 10), seed)
    starts = range(0, accesses, 4 * pages)
    for start in starts:
        length = min(pages, accesses - start)
        hot[start : start + length] = np.arange(length, dtype=np.uint32)
    return hot


def real(name: str, accesses: int) -> U32:
    """The first accesses of a recorded VM that ships with the package, as page numbers from 0 on."""
    path = Path(agewalk.__file__).parent / "data" / f"{name}.parquet"
    column = pq.read_table(path, columns=["gfn"])["gfn"].slice(0, accesses).to_numpy()
    pages: U32 = np.unique(column, return_inverse=True)[1].astype(np.uint32)
    return pages


def next_uses(pages: U32) -> npt.NDArray[np.int64]:
    """Index of the next access to the same page, -1 if there is none; written as plainly as it can be."""
    seen: dict[int, int] = {}
    out = np.empty(len(pages), np.int64)
    for i in range(len(pages) - 1, -1, -1):
        out[i] = seen.get(int(pages[i]), -1)
        seen[int(pages[i])] = i
    return out


def libcachesim_misses(policy: str, pages: U32, capacity: int, where: Path, *, future: bool = False) -> int:
    """Misses that libcachesim counts on the same accesses, read from an oracleGeneral file."""
    record = np.zeros(len(pages), dtype=[("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
    record["id"], record["size"] = pages, 1
    record["next"] = next_uses(pages) if future else -1
    path = where / f"{policy}-{capacity}.oracleGeneral"
    record.tofile(path)
    reader: Any = lcs.TraceReader(
        str(path), lcs.TraceType.ORACLE_GENERAL_TRACE, lcs.ReaderInitParam(ignore_obj_size=True)
    )
    ratio, _ = getattr(lcs, policy)(capacity).process_trace(reader)
    misses: float = ratio * len(pages)
    return round(misses)
