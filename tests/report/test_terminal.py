"""The table for people."""

from typing import Any

from agewalk.report.table import short
from agewalk.report.terminal import best, show


def row(policy: str, refaults: int, *, memory: int = 1 << 20, aging: bool = True) -> dict[str, Any]:
    return {
        "policy": policy,
        "memory_bytes": memory,
        "refaults": refaults,
        "evictions": 1234567,
        "hot_evictions": 0,
        "cold_recall": 0.5 if aging else None,
        "cold_precision": 0.25 if aging else None,
        "age_rank_correlation": -0.125 if aging else None,
        "ptes_walked": 10 if aging else None,
        "notifier_calls": 0 if aging else None,
        "mmu_lock_write_ns": 0 if aging else None,
        "vcpu_stall_ns": 1_500_000,
        "vms": [{"name": "a", "refaults": refaults, "resident_pages": 9, "evictions": 3}],
    }


def test_one_table_a_memory_size_with_units_and_dashes() -> None:
    text = show([row("v7", 20), row("opt", 3, aging=False), row("v7", 7, memory=2 << 20)])
    assert text.count("1 MiB of memory") == 1
    assert text.count("2 MiB of memory") == 1
    assert "1,234,567" in text
    assert "50.0 %" in text
    assert "-0.12" in text
    assert "1.50 ms" in text
    assert "\x1b[" not in text  # no colour unless asked
    line = next(line for line in text.splitlines() if line.strip().startswith("opt"))
    assert line.count(" - ") >= 4


def test_what_no_kernel_can_run_is_never_the_best() -> None:
    rows = [row("v7", 20), row("v5", 30), row("opt", 3, aging=False), row("lru", 5, aging=False)]
    assert best(rows, "refaults", less=True) == 20
    assert best(rows, "cold_recall", less=False) is None  # all equal: nobody is best
    assert "\x1b[" in show(rows, colour=True, width=200)


def test_a_narrow_window_gets_more_tables_and_loses_no_digit() -> None:
    rows = [row("christopherson", 12345), row("v7", 23456)]
    for width in (60, 80, 100):
        text = show(rows, width=width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert "12,345" in text
        assert "1.50 ms" in text


def test_causes_and_skew_where_they_are_known() -> None:
    aging = {
        "pages": 200, "false_old": 20, "false_young": 1,
        "false_old_by": {"fast_only": 15, "sank": 5, "bloom": 0}, "false_young_by": {"window": 1},
    }  # fmt: skip
    known = {**row("v5", 20), "aging": aging}
    known["vms"][0] |= {"eviction_skew": -0.125, "working_set_true_pages": 77}
    for width, says in ((160, "10.0 %   fast only 75 %, sank 25 %"), (80, "10.0 %   fast only 75 %")):
        text = show([known, row("lru", 5, aging=False)], width=width)
        assert says in " ".join(text.split(" "))
        assert "-12.5" in text
        assert "77" in text
        assert max(map(len, text.splitlines())) <= width
    assert "why" not in show([row("v5", 20)])


def test_names_are_text_whatever_they_hold() -> None:
    odd = row("own[red].py:Mine", 20)
    odd["vms"][0]["name"] = "[red]a[/nope]\x1b[2J\nb"
    text = show([odd, row("v7", 3)], width=120)
    assert "own[red].py:Mine" in text
    assert "[red]a[/nope] [2J b" in text
    assert "\x1b" not in text


def test_forty_columns_tell_policies_apart() -> None:
    names = ["linux-6.18", "linux-6.15", "christopherson:variant=repaired", "christopherson:variant=literal"]
    aging = {
        "pages": 200, "false_old": 20, "false_young": 1,
        "false_old_by": {"fast_only": 15, "sank": 5, "bloom": 0}, "false_young_by": {"window": 1},
    }  # fmt: skip
    rows = [{**row(name, 12345), "aging": aging} for name in names]
    for one in rows:
        one["vms"][0] |= {"working_set_pages": 1, "working_set_true_pages": 2, "eviction_skew": 0.5}
    text = show(rows, width=40)
    assert max(map(len, text.splitlines())) <= 40
    assert "12,345" in text
    tables = sum(line.startswith("policy ") for line in text.splitlines())
    for name in ("christoph…t=repaired", "christoph…nt=literal"):
        assert text.count(name) == tables >= 12
    for name in ("linux-6.18", "linux-6.15"):
        assert text.count(name) == tables + text.count("policy: ")
    assert "10.0 %" in text
    assert "fast only" in text
    assert short("linux-6.18", 10) == "linux-6.18"
    assert short("christopherson", 8) == "chr…rson"
