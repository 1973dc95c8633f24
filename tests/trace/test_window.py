"""A window of a trace."""

import pytest

from agewalk.core.errors import TraceError
from agewalk.core.units import Bytes, Ns
from agewalk.trace import MemoryTrace, Phase, TraceMeta, window
from agewalk.trace.format import Batch

PHASES = (Phase(1, Ns(5), "boot"), Phase(2, Ns(25), "A"), Phase(3, Ns(60), "B"), Phase(4, Ns(80), "C"))
TRACE = MemoryTrace(
    TraceMeta(memory_bytes=Bytes(16 * 4096), phases=PHASES), Batch.of(list(range(0, 100, 10)), list(range(10)))
)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_rows_and_times(rows: int) -> None:
    cut = window(TRACE, Ns(30), Ns(70))
    got = Batch.concatenate(list(cut.batches(rows)))
    assert (cut.rows, got.time_ns.tolist(), got.gfn.tolist()) == (4, [0, 10, 20, 30], [3, 4, 5, 6])


def test_phase_that_was_running_is_kept() -> None:
    assert window(TRACE, Ns(30), Ns(70)).meta.phases == (Phase(2, Ns(0), "A"), Phase(3, Ns(30), "B"))
    assert window(TRACE, Ns(0)).meta.phases == PHASES


def test_open_end_and_empty_window() -> None:
    assert window(TRACE, Ns(50)).rows == 5
    with pytest.raises(TraceError, match="no rows between 31 ns and 39 ns"):
        window(TRACE, Ns(31), Ns(39))
