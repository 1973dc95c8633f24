"""Traces are streamed: what a comparison and its report need does not grow with the file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow  # ten times a file

# VmHWM, unlike getrusage()'s maximum, does not begin with what the parent had.
WORK = """
import sys
from pathlib import Path
from agewalk.report.comparison import comparison_page
from agewalk.study.compare import compare
from agewalk.study.scenarios.scenario import load
scenario = load(Path(sys.argv[1])).with_(protocols=["linux-6.18"], baselines=["lru"])
runs = compare(scenario, workers=1)
assert runs[0].measured.accesses == int(sys.argv[2])
comparison_page(Path(sys.argv[1]).name, scenario, runs)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def record(path: Path, rows: int, row_group: int) -> int:
    """Pages by the dice, nothing compressed; returns the size of the file."""
    dice = np.random.default_rng(1)
    table = pa.table(
        {
            "time_ns": pa.array(np.arange(rows, dtype=np.uint64) * np.uint64(1000)),
            "vcpu": pa.array(np.zeros(rows, np.uint8)),
            "gfn": pa.array(dice.integers(0, 4000, rows).astype(np.uint64)),
            "write": pa.array(dice.random(rows) < 0.3),
        }
    ).replace_schema_metadata({"page_size": "4096", "memory_bytes": str(4000 * 4096)})
    pq.write_table(table, path, row_group_size=row_group, compression="none", use_dictionary=False)
    return path.stat().st_size


def peak(path: Path, rows: int) -> int:
    """Most memory that the work on a trace had at once, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(path), str(rows)],
        check=False, capture_output=True, text=True, timeout=300, env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_file_ten_times_as_large_needs_no_more_memory(tmp_path: Path) -> None:
    """5 M rows, 90 MB of file and of columns, against 0.5 M; more than OPT's curve holds (4 M)."""
    small, large = 500_000, 5_000_000
    little, much = (record(tmp_path / f"{rows}.parquet", rows, 1 << 16) for rows in (small, large))
    grown = peak(tmp_path / f"{large}.parquet", large) - peak(tmp_path / f"{small}.parquet", small)
    assert much - little > 75_000_000
    assert grown < (much - little) // 4
