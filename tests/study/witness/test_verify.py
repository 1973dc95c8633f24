"""verify() must be able to say no; read_witness() must say what is wrong with a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agewalk.cli.witness import app
from agewalk.core.errors import WitnessError
from agewalk.study.witness import Witness, read_witness, verify
from agewalk.study.witness.file import expand, expand_order, slices
from agewalk.study.witness.verify import as_json

RECORDINGS = Path(__file__).parents[2] / "witness"
IDLE = RECORDINGS / "6.1" / "host" / "idle.json"
EVICT = RECORDINGS / "7.3" / "host" / "evict_cmd.json"


def test_run_lengths_as_the_format_says() -> None:
    assert expand([[[[5, 1], [3, 3]], 2]]) == [5, 3, 3, 3, 5, 3, 3, 3]
    assert expand([[None, 2], [1, 1]]) == [None, None, 1]
    assert expand_order([[2047, 3, -2], [5, 1, 1]]) == [2047, 2045, 2043, 5]
    assert slices(["0:6:3", "4:5:1"]) == [0, 3, 4]


def test_another_kernel_does_not_fit() -> None:
    """The recording of 7.3 on the model of 6.18: the first walk promotes there, here it only marks."""
    verdict = verify(replace(read_witness(RECORDINGS / "7.3" / "host" / "idle.json"), profile="6.18"))
    assert not verdict.equal
    assert verdict.mismatches[0].field in {"seq", "referenced"}


def changed(witness: Witness, step: int, field: str, **to: Any) -> Witness:
    recording = list(witness.recordings[0])
    seen = recording[step]
    assert seen is not None
    recording[step] = replace(seen, **{field: to["value"]})
    return replace(witness, recordings=(tuple(recording),))


def test_one_wrong_page_is_found() -> None:
    witness = read_witness(IDLE)
    seen = witness.recordings[0][2]
    assert seen is not None
    pages = {**seen.pages, "seq": [*seen.pages["seq"][:77], 0, *seen.pages["seq"][78:]]}
    verdict = verify(changed(witness, 2, "pages", value=pages))
    assert [(m.step, m.field, m.page, m.expected) for m in verdict.mismatches] == [(2, "seq", 77, 0)]
    assert not verdict.equal
    assert not verdict.counts_equal
    assert verdict.calls_equal


def test_one_call_too_many_is_found() -> None:
    witness = read_witness(EVICT)
    last = len(witness.steps) - 1
    seen = witness.recordings[0][last]
    assert seen is not None
    calls = {**seen.calls, "folio_referenced_one": seen.calls["folio_referenced_one"] + 1}
    verdict = verify(changed(witness, last, "calls", value=calls))
    assert verdict.equal
    assert not verdict.calls_equal
    assert verdict.call_mismatches[0].field == "folio_referenced_one"


def test_another_order_of_eviction_is_found() -> None:
    witness = read_witness(EVICT)
    last = len(witness.steps) - 1
    seen = witness.recordings[0][last]
    assert seen is not None
    order = {**seen.order, "unmap_order": seen.order["unmap_order"][::-1]}
    verdict = verify(changed(witness, last, "order", value=order))
    assert {m.field for m in verdict.mismatches} == {"unmap_order"}


def test_either_outcome_of_an_unstable_file_will_do() -> None:
    witness = read_witness(IDLE)
    other = changed(witness, 2, "max_seq", value=99).recordings[0]
    assert verify(replace(witness, recordings=(other, witness.recordings[0]))).equal
    assert not verify(replace(witness, recordings=(other,))).equal


def test_json_keeps_the_first_twenty_differences() -> None:
    witness = read_witness(IDLE)
    seen = witness.recordings[0][0]
    assert seen is not None
    wrong = {**seen.pages, "refs": [2] * witness.pages}
    found = as_json(verify(changed(witness, 0, "pages", value=wrong)))
    assert list(found) == ["file", "equal", "counts_equal", "calls_equal", "steps", "pages", "mismatches"]
    assert len(found["mismatches"]) == 20
    assert found["mismatches"][0] == {"step": 0, "field": "refs", "page": 0, "expected": 2, "got": 0}


def broken(tmp_path: Path, **changes: Any) -> Path:
    data = json.loads(IDLE.read_text())
    for key, value in changes.items():
        if value is ...:
            del data[key]
        else:
            data[key] = value
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": ...}, "key 'steps' is missing"),
        ({"backing": "xen"}, "backing 'xen'"),
        ({"steps": [{"op": "dance"}]}, "step 0: unknown op 'dance'"),
        ({"steps": [{"op": "age"}]}, "step 0: age has no 'force_scan'"),
        ({"steps": [{"op": "populate", "by": "guest", "write": True}]}, "a guest touches memory on a host without VMs"),
        ({"steps": [{"op": "populate", "by": "ghost", "write": True}]}, "by 'ghost'"),
        ({"steps": [{"op": "touch", "by": "host", "write": True, "pages": ["0:9999:1"]}]}, "page 1024 of 1024"),
        ({"observations": []}, "7 steps but 0 observations"),
        ({"pages": 7}, "values for 7 pages"),
        ({"pages": "many"}, "invalid literal"),
        ({"env": 3}, "not subscriptable"),
    ],
)
def test_bad_files_are_told_apart(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(WitnessError) as error:
        read_witness(broken(tmp_path, **changes))
    assert said in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize(("text", "said"), [("", "line 1"), ("[1]", "not a JSON object"), ('{"steps": [', "line 1")])
def test_what_is_not_a_witness_at_all(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(WitnessError, match=said):
        read_witness(path)
    with pytest.raises(WitnessError, match="No such file"):
        read_witness(tmp_path / "none.json")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WitnessError, match="not a text file"):
        read_witness(path)


def test_command_line_prints_one_document_and_ends_in_its_verdict(tmp_path: Path) -> None:
    runner = CliRunner()
    good = runner.invoke(app, ["verify", str(IDLE), "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["files"][0]["equal"] is True
    data = json.loads(IDLE.read_text())
    data["observations"][0]["max_seq"] = 8
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(data))
    bad = runner.invoke(app, ["verify", str(path)])
    assert bad.exit_code == 1
    assert "max_seq is 8, model 3" in " ".join(bad.stdout.split())


def test_show_says_where_the_pages_are() -> None:
    shown = CliRunner().invoke(app, ["show", str(IDLE), "--json"])
    steps = json.loads(shown.stdout)["steps"]
    assert steps[0] == {"step": "0", "what": "the process writes every page", "kernel": "1024@0", "model": "1024@0"}
    assert "age" in CliRunner().invoke(app, ["show", str(IDLE)]).stdout
