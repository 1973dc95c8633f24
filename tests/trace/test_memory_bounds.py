"""What a few megabytes of trace may take: rows scattered over 4 PiB, rows a year apart. In a process with a limit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agewalk.core.units import Bytes, Ns
from agewalk.trace import Batch, MemoryTrace, Phase, TraceMeta, write_trace
from agewalk.trace.facts import MAX_WINDOWS, S, facts, window_for

ROWS = 200_000
LIMIT = 3 << 29  # of address space: 1.5 GiB, of which libraries take most; the map of before wanted 13 GiB
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
sys.argv = ["agewalk", *sys.argv[2:]]
runpy.run_module("agewalk", run_name="__main__")
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIMITED, str(LIMIT), *map(str, words)]
    one = {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=one)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200,000 rows, each in a chunk of its own, over 4 PiB, with phases."""
    path = tmp_path_factory.mktemp("sparse") / "sparse.parquet"
    gfn = np.random.default_rng(1).permutation(ROWS).astype(np.uint64) * np.uint64((1 << 40) // ROWS)
    phases = tuple(Phase(i, Ns(i * 1000), f"p{i}") for i in range(200))
    meta = TraceMeta(memory_bytes=Bytes(1 << 52), phases=phases)
    write_trace(path, MemoryTrace(meta, Batch.of(np.arange(ROWS), gfn)))
    return path


def test_info_of_scattered_rows_takes_little(sparse: Path) -> None:
    done = run("trace", "info", sparse, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    assert f'"pages": {ROWS}, "regions": {ROWS}' in done.stdout


def test_convert_of_scattered_rows_takes_little(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    (tmp_path / "a.csv").write_text("address\n" + "".join(f"{a << 21}\n" for a in rng.permutation(ROWS).tolist()))
    done = run("trace", "convert", tmp_path / "a.csv", tmp_path / "a.parquet", "--from", "csv", "--json")
    assert done.returncode == 0, done.stderr[-2000:]


def test_windows_are_at_most_a_million() -> None:
    for duration in (10 * S, 10**6 * S - 1, 10**6 * S, 10**6 * S + 1, 123 * 10**6 * S, (1 << 63) - 1):
        window = window_for(duration, 0)
        assert window >= S
        assert duration // window <= MAX_WINDOWS
    year = 365 * 86400 * S
    got = facts(MemoryTrace(TraceMeta(memory_bytes=Bytes(1 << 20)), Batch.of(np.arange(9) * year, np.arange(9))))
    assert len(got.curve) == 9
    assert sum(pages for _, pages in got.curve) == 9
