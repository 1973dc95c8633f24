"""Time lines and the store."""

from agewalk.core.units import Bytes
from agewalk.study.result import BINS, FIRST_BIN, Measured, Member, Run, TimeLineBuilder

MEASURED = Measured(
    accesses=9, faults=5, refaults=2, evictions=3, hot_evictions=1, vms=[Member("a", 4, 2, 3)], vcpu_stall_ns=160_000
)


def test_a_time_line_holds_what_came_in_each_bin() -> None:
    lines = TimeLineBuilder(2)
    assert lines.next_ns == FIRST_BIN
    lines.close([3, 0])
    lines.close([3, 1])
    assert lines.next_ns == 3 * FIRST_BIN
    line = lines.done([4, 4])
    assert line.refaults == [[3, 0, 1], [0, 1, 3]]
    assert line.bin_ns == FIRST_BIN


def test_bins_double_and_lose_nothing() -> None:
    lines = TimeLineBuilder(1)
    for i in range(BINS + 50):
        before = lines.next_ns
        lines.close([i + 1])
        assert lines.next_ns > before
    line = lines.done([BINS + 50])
    assert sum(line.refaults[0]) == BINS + 50
    assert line.bin_ns == 2 * FIRST_BIN
    assert line.refaults[0][: BINS // 2] == [2] * (BINS // 2)


def test_the_row_has_the_keys_of_the_format() -> None:
    row = Run("v5", Bytes(1 << 20), MEASURED, 0.5, "direct", 0).row()
    assert list(row) == [
        "policy", "memory_bytes", "accesses", "faults", "refaults", "evictions", "hot_evictions", "cold_recall",
        "cold_precision", "age_rank_correlation", "ptes_walked", "notifier_calls", "mmu_lock_write_ns", "vcpu_stall_ns",
        "seconds", "vms",
    ]  # fmt: skip
    assert row["vms"] == [{"name": "a", "resident_pages": 4, "refaults": 2, "evictions": 3}]
