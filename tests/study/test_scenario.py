"""Scenario files: what a good one means, and one clear error for each way to get one wrong."""

import os
from pathlib import Path

import pytest

from agewalk.core.errors import ScenarioError, TraceError
from agewalk.study.scenarios.scenario import load

GOOD = """schema = 1
[host]
memory = "1 MiB"
[[vm]]
name = "a"
trace = "a.parquet"
"""
FULL = """schema = 1
[host]
memory = "640 MiB"
kernel = "6.15"
seed = 9
[host.swap]
read = "70 us"
write = "1.5 ms"
[aging]
every = "2 s"
[[vm]]
name = "a"
trace = "traces/a.parquet"
mmu = "legacy"
ad_bits = false
start = "3 s"
[[process]]
name = "b"
trace = "/abs/b.parquet"
[compare]
protocols = ["v5", { name = "houghton", must_check = "rmaps" }, "own.py:Mine"]
baselines = ["lru"]
memory = ["768 MiB", "512 MiB"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "host.toml"
    path.write_text(text)
    return path


def test_every_key_means_what_the_format_says(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, FULL))
    assert scenario.host.memory == 640 << 20
    assert scenario.host.kernel == "6.15"
    assert scenario.host.seed == 9
    assert (scenario.host.swap.read, scenario.host.swap.write) == (70_000, 1_500_000)
    assert scenario.aging.every == 2_000_000_000
    vm, process = scenario.members
    assert (vm.trace, vm.start) == (str(tmp_path / "traces/a.parquet"), 3_000_000_000)
    assert scenario.vm[0].mmu == "legacy"
    assert not scenario.vm[0].ad_bits
    assert process.trace == "/abs/b.parquet"
    assert [choice.label for choice in scenario.protocols] == [
        "v5",
        "houghton:must_check=rmaps",
        "own.py:Mine",
    ]
    assert scenario.memories == [512 << 20, 768 << 20]


def test_what_is_left_out_has_the_documented_default(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, GOOD))
    assert scenario.host.kernel == "6.18"
    assert (scenario.host.swap.read, scenario.host.swap.write) == (80_000, 60_000)
    assert scenario.aging.every is None
    assert (scenario.vm[0].mmu, scenario.vm[0].ad_bits, scenario.vm[0].start) == ("tdp", True, 0)
    assert scenario.memories == [1 << 20]


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("", "'schema' is missing", "schema = 1"),
        ("nonsense", "not TOML", "quotes"),
        (GOOD.replace("schema = 1", "schema = 2"), "schema is 2", "schema = 1"),
        (GOOD.replace('"1 MiB"', "640"), "host.memory: 640 is not a size with a unit", ""),
        (GOOD.replace('"1 MiB"', "640"), "'640 MiB'", ""),
        (GOOD.replace('"1 MiB"', '"640"'), "has no unit", "KiB"),
        (GOOD.replace('"1 MiB"', '"1 Mb"'), "unknown unit 'Mb'", ""),
        (GOOD.replace('"1 MiB"', '"17 B"'), "holds no page", ""),
        (GOOD.replace('"1 MiB"', '"64 KiB"\nmemroy = 3'), "unknown key 'host.memroy'", "'memory'"),
        (GOOD.replace("memory", "memroy"), "unknown key 'host.memroy'", "'memory'"),
        (GOOD.replace("memory", "zzzzzz"), "unknown key 'host.zzzzzz'", "memory, kernel, seed, swap"),
        (GOOD + 'mmu = "tpd"', "vm[0].mmu = 'tpd'", "'tdp', 'legacy' or 'shadow'"),
        (GOOD + "start = 3", "vm[0].start: 3 is not a time with a unit", ""),
        (GOOD + "ad_bits = 1", "vm[0].ad_bits = 1", ""),
        (GOOD + 'strat = "3 s"', "unknown key 'vm[0].strat'", "'start'"),
        (GOOD + '[aging]\nevery = "0 s"', "aging.every", ""),
        (GOOD + '[[vm]]\nname = "a"\ntrace = "b"', "named 'a'", "rename"),
        (GOOD.partition("[[vm]]")[0], "no [[vm]]", "[[vm]]"),
        ("schema = 1", "'host' is missing", ""),
        (GOOD + "[compare]\nprotocols = []\nbaselines = []", "both empty", ""),
        (GOOD + '[compare]\nprotocols = ["v5", "v5"]', "'v5' twice", ""),
        (GOOD + "[compare]\nmemory = [640]", "compare.memory[0]: 640", ""),
        (GOOD.replace('"1 MiB"', '"60 KiB"'), "host.memory: '60 KiB' holds fewer than 16 pages", "64 KiB"),
        (
            GOOD.replace('"1 MiB"', '"99999999999999999999 TiB"'),
            "host.memory: '99999999999999999999 TiB' is more than",
            "",
        ),
        (GOOD.replace('"1 MiB"', '"' + 5000 * "9" + ' B"'), "is not a size", ""),
        (GOOD.replace('"1 MiB"', '"１ MiB"'), "'１ MiB' is not a size", ""),
        (GOOD + 'start = "2562048 h"', "vm[0].start: '2562048 h' is longer than 11,930 h", ""),
        (GOOD + '[aging]\nevery = "99999999999999 h"', "aging.every: '99999999999999 h' is longer than", ""),
        (GOOD.replace("[[vm]]", "[vm]"), "[vm] is one table; there may be several", "[[vm]]"),
        (GOOD.replace("[host]", "[[host]]"), "[[host]] may be there only once", "[host]"),
        (GOOD.replace("schema = 1", "schema = 1\naging = 2"), "aging = 2 is not a table", "[aging]"),
        (GOOD + "[compare]\nprotocols = [5]", "compare.protocols[0] = 5 is not a protocol", '"v7"'),
        (GOOD + '[compare]\nprotocols = [{ nam = "v7" }]', "'compare.protocols[0].name' is missing", "'nam'"),
        (GOOD + '[compare]\nbaselines = "lru"', "compare.baselines = 'lru' is not a list", "baselines = [...]"),
        (GOOD + '[compare]\nprotocol = ["v5"]', "unknown key 'compare.protocol'", "'protocols'"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, text: str, says: str, hint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(written(tmp_path, text))
    assert says in str(caught.value)
    assert hint in caught.value.hint
    assert "host.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ScenarioError, match="directory"):
        load(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="not a text file"):
        load(binary)
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ScenarioError, match="not a regular file"):
            load(endless)
    (tmp_path / "huge.lackey").write_bytes(b"I  04000000,3\n" * 100_000)
    with pytest.raises(ScenarioError, match=r"1\.34 MiB are too much for a scenario") as caught:
        load(tmp_path / "huge.lackey")
    assert "agewalk trace convert" in caught.value.hint
    (tmp_path / "small.lackey").write_bytes(b"==1== Lackey\nI  04000000,3\n")
    with pytest.raises(ScenarioError, match="not TOML") as caught:
        load(tmp_path / "small.lackey")
    assert "agewalk trace convert" in caught.value.hint
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(TraceError):
        load(torn)


def test_a_trace_alone_gets_a_host_with_70_percent_of_what_it_touches(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write("guest", range(120), [*range(100), *range(20)], pages=128)
    scenario = load(path)
    assert scenario.memory_pages == 70  # of 100 distinct pages
    assert [vm.name for vm in scenario.vm] == ["guest"]
    assert scenario.aging.every == 2_000_000_000
