"""libCacheSim's oracleGeneral: packed little-endian records of 24 bytes.

    uint32 clock_time    seconds
    uint64 obj_id
    uint32 obj_size      bytes
    int64  next_access_vtime   number of the next request for the object; -1 or INT64_MAX for none

Each request is an access to one page, which stands for the object whatever its size (as in a cache simulator that
ignores sizes). Requests of size 0 are skipped, as libCacheSim does by default, and counted. The format knows no writes
and no CPUs.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from agewalk.trace.convert.source import Source
from agewalk.trace.format import Batch

RECORD: Final = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
_HINT: Final = "is it an oracleGeneral file? Records are 24 bytes: u32 seconds, u64 id, u32 size, i64 next access"


def read_oracle(source: Source) -> Iterator[Batch]:
    """Requests as accesses; the page key is the object's id. Raises TraceError with the record's number (from 0)."""
    done = 0
    last = 0
    for block in source.records(RECORD.itemsize):
        records = np.frombuffer(block, RECORD)
        time = records["time"]
        before = np.concatenate([np.array([last], "<u4"), time[:-1]])
        if (back := time < before).any():
            at = int(back.argmax())
            problem = f"record {done + at}: time runs back from {before[at]} to {time[at]} s"
            raise source.error(problem, hint=_HINT)
        if (odd := records["next"] < -1).any():
            at = int(odd.argmax())
            raise source.error(f"record {done + at}: next_access_vtime is {records['next'][at]}", hint=_HINT)
        last = int(time[-1])
        done += len(records)
        kept = records[records["size"] > 0]
        source.account.used += len(kept)
        source.account.skip("requests of size 0", len(records) - len(kept))
        if len(kept):
            yield Batch.of(kept["time"].astype(np.uint64) * np.uint64(10**9), kept["id"])
