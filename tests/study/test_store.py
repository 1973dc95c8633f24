"""Kept runs come back as they were; whatever else lies in their place is passed over and counted."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from agewalk.core.units import Bytes
from agewalk.study import store as store_module
from agewalk.study.policies import baseline_policy
from agewalk.study.result import Maps, Measured, Member, Run, TimeLine
from agewalk.study.store import Store

LRU = baseline_policy("lru", "6.18")
MIB = Bytes(1 << 20)
RUN = Run(
    "lru",
    MIB,
    Measured(
        accesses=9, faults=5, refaults=2, evictions=3, hot_evictions=1, vms=[Member("a", 4, 2, 3)], vcpu_stall_ns=160_000,
        aging={"passes": 1, "false_old_by": {"sank": 2}},
    ),
    0.5,
    "direct",
    7,
    TimeLine(20, [[1, 2]]),
    Maps(20, [1], [[[1]]], [[[2]]], []),
)  # fmt: skip


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    assert store.get("k", LRU, MIB, "direct") is None
    store.put("k", RUN)
    assert store.get("k", LRU, MIB, "direct") == RUN
    assert store.unusable == 0


@pytest.mark.parametrize(
    "forged",
    [
        {"policy": "opt"},
        {"memory_bytes": 1 << 21},
        {"engine": "compiled"},
        {"policy": "<script>"},
        {"seconds": "fast"},
        {"measured": None},
        {"measured": {**asdict(RUN.measured), "refaults": "2"}},
        {"measured": {**asdict(RUN.measured), "refaults": 2.5}},
        {"measured": {**asdict(RUN.measured), "refaults": True}},
        {"measured": {**asdict(RUN.measured), "vms": [{"name": 5}]}},
        {"measured": {**asdict(RUN.measured), "aging": {"x": [1]}}},
        {"timeline": {"bin_ns": 20, "refaults": [["a"]]}},
        {"maps": 3},
    ],
    ids=lambda forged: next(iter(forged)),
)
def test_a_forged_run_is_not_taken(tmp_path: Path, forged: dict[str, Any]) -> None:
    store = Store(tmp_path)
    (tmp_path / "k.json").write_text(json.dumps(asdict(RUN) | forged))
    assert store.get("k", LRU, MIB, "direct") is None
    assert store.unusable == 1


@pytest.mark.parametrize(
    "text", ["", '{"torn": ', "[" * 100_000, '{"policy": ' + "9" * 5000 + "}", "\0", "null", "[]", "\ufeff{}"], ids=repr
)
def test_what_is_no_run_is_not_taken(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    (tmp_path / "k.json").write_text(text)
    assert store.get("k", LRU, MIB, "direct") is None
    assert store.unusable == 1


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "huge", "foreign", "bytes"])
def test_what_is_no_file_of_this_user_s_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = tmp_path / "k.json"
    Store(tmp_path).put("good", RUN)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to("good.json")
    elif kind == "folder":
        place.mkdir()
    elif kind == "bytes":
        place.write_bytes(b"\xff\xfe")
    else:
        place.write_text(json.dumps(asdict(RUN)))
    if kind == "huge":
        monkeypatch.setattr(store_module, "MOST_BYTES", 10)
    elif kind == "foreign":
        monkeypatch.setattr("os.geteuid", lambda: place.stat().st_uid + 1)
    store = Store(tmp_path)
    assert store.get("k", LRU, MIB, "direct") is None
    assert store.unusable == 1


def test_another_memory_is_another_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("k", replace(RUN, memory_bytes=Bytes(5)))
    assert store.get("k", LRU, MIB, "direct") is None
