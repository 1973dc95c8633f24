"""Ctrl-C while the report is drawn: all runs and results.json are kept, and the message says how to go on."""

import json
from pathlib import Path

import pytest
from tests.cli.test_compare_edges import record, run


def test_interrupted_while_drawing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> str:
        raise KeyboardInterrupt

    trace = record(tmp_path / "t.parquet", list(range(100)), list(range(100)))
    words = ("compare", str(trace), "--out", str(tmp_path / "out"), "--baseline", "lru")
    with monkeypatch.context() as patch:
        patch.setattr("agewalk.report.comparison.comparison_page", stopped)
        code, out, err = run(capsys, *words)
    assert (code, out) == (130, "")
    assert "all 1 runs are finished" in err
    assert json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert not (tmp_path / "out" / "report.html").exists()
    code, _, err = run(capsys, *words, "--resume")
    assert code == 0
    assert "refaults" not in err  # nothing was run again
    assert (tmp_path / "out" / "report.html").exists()
