"""`import agewalk`: what a notebook and a script use. The examples of its docstring run in tests/docs/test_blocks.py."""

import inspect
import pydoc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import agewalk

SAMPLE = Path(agewalk.__file__).parent / "data" / "sqlite-vm.parquet"


@pytest.fixture
def trace() -> agewalk.MemoryTrace:
    """200 pages in turn, every page of which is used again and again."""
    time = np.arange(6_000) * 1_000_000
    return agewalk.MemoryTrace.of(time, time // 1_000_000 % 200, memory="1 MiB", write=True, name="loop")


@pytest.fixture
def scenario(trace: agewalk.MemoryTrace) -> agewalk.Scenario:
    return agewalk.Scenario.of(trace, memory="70 %", every="1 s")


class Everything(agewalk.AgingProtocol):
    """Whatever is asked about was used."""

    def walk(self, mm, entry, hva, size=4096):  # type: ignore[no-untyped-def]
        yield from super().walk(mm, entry, hva, size)
        return True


def test_the_list_of_names_is_what_there_is() -> None:
    assert 15 <= len(agewalk.__all__) <= 20
    assert agewalk.__all__ == sorted(agewalk.__all__)
    assert set(agewalk.__all__) <= set(dir(agewalk))
    for name in agewalk.__all__:
        assert getattr(agewalk, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        agewalk.frobnicate  # noqa: B018


def test_help_shows_every_name_with_its_signature() -> None:
    text = pydoc.plain(pydoc.render_doc(agewalk))
    for name in agewalk.__all__:
        if inspect.isfunction(value := getattr(agewalk, name)):
            assert f"\n    {name}(" in text, name
            assert all(parameter in text for parameter in inspect.signature(value).parameters)
        else:
            assert f"class {name}(" in text or f"{name} = class " in text, name


def test_paths_are_text_or_paths() -> None:
    assert agewalk.load_scenario(str(SAMPLE)) == agewalk.load_scenario(SAMPLE)
    assert agewalk.open_trace(str(SAMPLE)).rows == agewalk.open_trace(SAMPLE).rows > 0


def test_a_trace_in_memory_is_compared(scenario: agewalk.Scenario) -> None:
    runs = agewalk.compare(scenario.with_(protocols=["linux-6.18"], baselines=["lru", "opt"]))
    assert [run.policy for run in runs] == ["linux-6.18", "lru", "opt"]
    # 140 pages for a loop over 200: LRU evicts each page before its next use, so that all 6,000 accesses fault
    assert (runs[1].measured.faults, runs[1].refaults) == (6_000, 5_800)
    assert all(run.memory_bytes == 140 * 4096 for run in runs)


@pytest.mark.slow
def test_a_protocol_class_runs_on_both_executors_and_in_workers(scenario: agewalk.Scenario) -> None:
    changed = scenario.with_(protocols=[Everything, "v7"], memory=["60 %", "80 %"])
    compiled, direct = agewalk.compare(changed, workers=2), agewalk.compare(changed, executor="direct")
    numbers = ("policy", "memory_bytes", "faults", "refaults", "evictions", "ptes_walked", "notifier_calls", "vms")
    assert [[r.row()[n] for n in numbers] for r in compiled] == [[r.row()[n] for n in numbers] for r in direct]
    assert {run.policy for run in compiled} == {"Everything", "v7"}


@pytest.mark.slow
def test_a_class_of_a_script_is_compared_with_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import agewalk\n"
        "class Mine(agewalk.AgingProtocol):\n    pass\n"
        f"s = agewalk.load_scenario({str(SAMPLE)!r}).with_(protocols=[Mine, 'v7'], memory='16 MiB')\n"
        "print([run.policy for run in agewalk.compare(s, workers=2)])\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "['Mine', 'v7']\n"


def test_runs_are_a_table_in_three_ways(scenario: agewalk.Scenario) -> None:
    runs = agewalk.compare(scenario.with_(protocols=["v7"], baselines=["lru"]))
    table = runs.to_arrow()
    assert isinstance(table, pa.Table)
    assert table.column("policy").to_pylist() == ["v7", "lru"]
    assert table.column("refaults").to_pylist() == [run.refaults for run in runs]
    assert table.column("ptes_walked").null_count == 1
    assert max(len(repr(run)) for run in runs) < 100
    assert repr(runs[1]) == "<Run lru, 560 KiB: 5,800 refaults, 5,860 evictions>"
    assert "<td>lru</td>" in runs._repr_html_()
    assert "<td>lru</td>" not in runs[0]._repr_html_()


def test_a_scenario_changes_by_keyword(scenario: agewalk.Scenario) -> None:
    changed = scenario.with_(kernel="6.12", every="30 s", seed=3, memory="512 KiB")
    assert (changed.host.kernel, changed.aging.every, changed.host.seed) == ("6.12", 30 * 10**9, 3)
    assert changed.memories == [512 << 10]
    assert changed.host.memory == scenario.host.memory
    assert changed.with_(every="").aging.every is None
    assert scenario.host.kernel == "6.18"
    assert changed.compare.protocols == scenario.compare.protocols


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda s: s.with_(memory="50 % of it"), "with_: compare.memory[0]"),
        (lambda s: s.with_(memory="x %"), "with_: memory: 'x %' is no share"),
        (lambda s: s.with_(memory=[]), "with_: compare.memory"),
        (lambda s: s.with_(protocols=["v7", "v7"]), "with_: compare names 'v7' twice"),
        (lambda s: s.with_(protocols=[]), "with_: compare.protocols and compare.baselines are both empty"),
        (lambda s: s.with_(every="2"), "with_: aging.every"),
        (lambda s: s.with_(seed=-1), "with_: host.seed"),
        (lambda s: agewalk.compare(s.with_(protocols=["v8"])), "compare.protocols: there is no protocol 'v8'"),
        (lambda s: agewalk.compare(s.with_(kernel="5.4")), "host.kernel: there is no profile '5.4'"),
        (lambda s: agewalk.compare(s.with_(baselines=["lur"])), "compare.baselines: there is no 'lur'"),
        (lambda s: s.with_(protocols=[dict]), "<class 'dict'> is no protocol"),
        (lambda _: agewalk.Scenario(host={"memory": 5}, vm=[]), "scenario: host.memory"),
        (lambda _: agewalk.Scenario(host={"memory": "1 MiB"}), "scenario: there is no [[vm]]"),
        (lambda _: agewalk.Scenario(hots={}), "scenario: unknown key 'hots'"),
        (lambda _: agewalk.Scenario.of(), "scenario: there is no [[vm]]"),
        (lambda _: agewalk.Scenario.of("no-such.parquet"), "no-such.parquet: no such file"),
        (lambda _: agewalk.load_scenario("no-such.toml"), "no-such.toml: no such file"),
        (lambda _: agewalk.load_scenario("a\0b"), "is no path"),
        (lambda _: agewalk.open_trace("no-such.parquet"), "no-such.parquet: no such file"),
        (lambda _: agewalk.protocol_table("v8"), "there is no protocol 'v8'"),
        (lambda _: agewalk.diff("v7", "dict"), "there is no protocol 'dict'"),
        (lambda _: agewalk.time_experiment("nothing"), "nothing"),
        (lambda _: agewalk.MemoryTrace.of([2, 1], [0, 0], memory="1 MiB"), "row 1"),
        (lambda _: agewalk.MemoryTrace.of([1], [0], memory="1"), "'1'"),
    ],
)
def test_errors_of_the_door_speak_of_the_door(scenario: agewalk.Scenario, mistake, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(agewalk.AgewalkError) as caught:
        mistake(scenario)
    assert said in str(caught.value)
    assert "command line" not in f"{caught.value} {caught.value.hint}"
    assert "--" not in caught.value.hint


def test_an_experiment_takes_names_classes_and_objects() -> None:
    class Mine(agewalk.AgingProtocol):
        """Known in this process alone; does what linux-6.15 does."""

        name = "mine"
        profile = "6.15"

    rows = agewalk.time_experiment("nested", protocols=["linux-6.15", Mine, Mine()], vcpus=[1], scale=8192, workers=2)
    assert [row.variant for row in rows][-3:] == ["linux-6.15", "mine", "mine"]
    merged, of_class, of_object = rows[-3:]
    assert of_class == of_object
    assert replace(merged, variant="mine") == of_class
    with pytest.raises(agewalk.UsageError, match="<class 'dict'> is no protocol"):
        agewalk.time_experiment("nested", protocols=[dict])  # type: ignore[list-item] # the mistake


def test_a_system_from_a_file_brings_its_protocol(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from agewalk.checker.catalog import get_system\n\n\ndef mine():\n    return get_system('age-vs-guest/v7/tdp')\n"
    )
    with pytest.raises(agewalk.UsageError, match="a System brings its protocol"):
        agewalk.check(f"{path}:mine", protocol="v5")
