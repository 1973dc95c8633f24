import json
from pathlib import Path

import pytest

from agewalk.cli.main import main

pytestmark = pytest.mark.slow  # each test runs an experiment


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["timing", *words])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "access-tracking", "--vcpus", "1,2", "--scale", "8192", "--workers", "1", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == 1
    assert document["experiment"] == "access-tracking"
    assert [(r["vcpus"], r["variant"]) for r in document["rows"]] == [
        (n, v) for n in (1, 2) for v in ("no-aging", "no-opt", "opt")
    ]
    for row in document["rows"]:
        assert row["wall_s"] > 0
        assert row["stall_s"] >= 0
        assert (row["pass_s"] is None) == (row["variant"] == "no-aging")
    assert any(c["what"].startswith("pass ratio") for c in document["published"])


def test_a_table_for_people_a_timeline_and_charts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    timeline = tmp_path / "t.pftrace"
    code, out, err = run(
        capsys, "access-tracking", "--vcpus", "2", "--scale", "8192", "--workers", "1",
        "--perfetto", str(timeline), "--charts", str(tmp_path),
    )  # fmt: skip
    assert code == 0
    assert "no-opt" in out
    assert "MGLRU ages in a loop" in out
    assert timeline.stat().st_size > 1000
    assert (tmp_path / "timing-access-tracking.svg").exists()
    assert "wrote" in err


def test_another_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "nested", "--vcpus", "1", "--scale", "16384", "--protocol", "v7", "--workers", "1", "--json"
    )
    assert code == 0
    assert [r["variant"] for r in json.loads(out)["rows"]] == ["no-aging", "v7"]


def test_a_protocol_of_ones_own_that_breaks_or_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """from agewalk.core.effects import Step
from agewalk.model.protocols.base import AgingProtocol
class Mine(AgingProtocol):
    def age_gfn(self, kvm, rng, *, clear, fast_only) -> Step[int]:
        print("hello")
        %s
        return int((yield from self.age_tdp_mmu(kvm, rng, clear=clear)))
"""
    for name, line in (("breaks", "raise RuntimeError('boom')"), ("prints", "")):
        (tmp_path / f"{name}.py").write_text(text % line)
    words = ["access-tracking", "--vcpus", "1", "--scale", "8192", "--workers", "1", "--json"]
    code, out, err = run(capsys, *words, "--protocol", f"{tmp_path}/breaks.py:Mine")
    assert (code, out) == (2, "")
    assert "breaks.py, line 6: RuntimeError: boom" in err
    code, out, err = run(capsys, *words, "--protocol", f"{tmp_path}/prints.py:Mine")
    assert code == 0, err
    assert json.loads(out)["experiment"] == "access-tracking"


def test_list_and_costs(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "list", "--json")
    assert {e["experiment"] for e in json.loads(out)["experiments"]} >= {"access-tracking", "look-around"}
    _, out, _ = run(capsys, "costs", "--json")
    assert json.loads(out)["costs"]["line.core_to_core"]["unit"] == "ns"
    code, out, _ = run(capsys, "costs")
    assert code == 0
    assert "line.core_to_core" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["acces-tracking"], "there is no experiment"),
        (["nested", "--vcpus", "one"], "not a list of counts"),
        (["nested", "--scale", "999999"], "less than 16 pages"),
        (["nested", "--protocol", "v8", "--vcpus", "1", "--workers", "1"], "there is no protocol"),
        (["nested", "--costs", "nowhere.toml"], "cannot read the cost table"),
        (["nested", "--vcpus", "4,1,4"], "names a number twice"),
        (["one-page", "--vcpus", "3"], "'agewalk timing one-page' takes no --vcpus"),
        (["list", "--seeds", "5"], "'agewalk timing list' takes no --seeds"),
        (["costs", "--protocol", "v7"], "'agewalk timing costs' takes no --protocol"),
    ],
)
def test_bad_usage_ends_with_2(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2
    assert says in err
    assert out == ""


def test_an_interrupt_says_what_is_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agewalk.timing.run.run_all", stopped)
    code, out, err = run(capsys, "access-tracking", "--vcpus", "1,2", "--seeds", "2")
    assert (code, out) == (130, "")
    assert "interrupted: 0 of 12 rows were done, none is kept" in err
