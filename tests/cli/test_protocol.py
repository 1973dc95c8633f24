"""`agewalk protocol` as a program: exit codes, one JSON document, tables of 80 columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agewalk.cli.main import main
from agewalk.model.protocols.registry import PROTOCOLS

ROW = {
    "tdp", "rmaps", "shadow_pages", "fast", "slow", "op", "fast_only", "young", "flags", "locked", "fast_cleared",
    "slow_cleared", "skipped",
}  # fmt: skip
LOOK = {"tdp", "rmaps", "shadow_pages", "primary", "fast", "slow", "referenced", "look_around"}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code: Any = 0
    try:
        main(["protocol", *words])
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    return int(code), out, err


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, err = run(capsys, *words, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["schema"] == 1
    return dict(found)


def test_table_as_the_formats_say(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "table", "christopherson")
    assert set(found) == {"schema", "protocol", "rows"}
    assert found["protocol"] == "christopherson"
    assert len(found["rows"]) == 56
    for row in found["rows"]:
        assert set(row) == ROW
        assert isinstance(row["flags"], list)
        assert row["op"] in {"test", "clear"}
        assert all(isinstance(v, bool) for k, v in row.items() if k not in {"flags", "op"})
    assert {r["fast_only"] for r in document(capsys, "table", "linux-6.13")["rows"]} == {False}


def test_lookaround_as_the_formats_say(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "lookaround", "houghton:must_check=rmaps")
    assert found["protocol"] == "houghton:must_check=rmaps"
    assert len(found["rows"]) == 28
    for row in found["rows"]:
        assert set(row) == LOOK
        assert all(isinstance(v, bool) for v in row.values())


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    names = [p["name"] for p in document(capsys, "list")["protocols"]]
    assert len(names) == len(PROTOCOLS)
    shown = document(capsys, "show", "v7")["protocol"]
    assert shown["mean_costs"]["walk"]["notifier_calls"] == 1
    assert shown["has_fast_aging"] is True


def test_diff_prints_disagreements_and_a_sentence_each(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "diff", "linux-6.9", "linux-6.13")
    assert (found["a"], found["b"]) == ("linux-6.9", "linux-6.13")
    walks = [r for r in found["rows"] if r["question"] == "walk"]
    assert walks
    for row in found["rows"]:
        assert row["a"] != row["b"]
        assert row["a"].keys() == row["b"].keys()
        assert row["meaning"].endswith(".")
    unseen = [r for r in walks if r["fast"] and not r["primary"]]
    assert all(r["b"]["young"] and not r["a"]["young"] for r in unseen)
    assert not document(capsys, "diff", "linux-6.18", "linux-7.3")["rows"]


@pytest.mark.parametrize(
    "words",
    [("list",), ("show", "houghton"), ("table", "v5"), ("table", "v7", "--no-ad-bits"), ("lookaround", "v7"),
     ("diff", "v5", "christopherson:variant=repaired"), ("diff", "linux-6.18", "linux-7.3")],
)  # fmt: skip
def test_tables_for_people_fit_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert out.strip()
    assert max(len(line) for line in out.splitlines()) <= 80


def test_engine_table_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    from agewalk.model.protocols.tables.table import ProtocolTable

    table = ProtocolTable.from_json(document(capsys, "table", "v5", "--engine"))
    assert len(table.rows) == 180
    code, _, err = run(capsys, "table", "v5", "--engine")
    assert code == 2
    assert "--json" in err


def test_errors_end_with_2_and_a_hint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for spec in ("v99", "houghton:x=y", f"{tmp_path}/no.py:Class"):
        code, out, err = run(capsys, "table", spec, "--json")
        assert (code, out) == (2, "")
        assert "hint:" in err
