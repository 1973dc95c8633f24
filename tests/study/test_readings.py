"""The compiled engine and the direct reading print the same numbers: every protocol, every kernel, little memory."""

from pathlib import Path
from typing import Any

import pytest
from tests.study.readings import differences, scenario, synthesised

from agewalk.model.profiles import PROFILES
from agewalk.model.protocols.registry import PROTOCOLS

pytestmark = pytest.mark.slow  # the machine runs whole scenarios

SPECS = [*PROTOCOLS, "houghton:must_check=rmaps", "christopherson:variant=repaired"]
KERNELS = list(PROFILES)
ZIPF: dict[str, Any] = {"kind": "zipf", "pages": 400, "rows": 2000, "rate": 1000}
SCAN: dict[str, Any] = {"kind": "scan", "pages": 300, "rows": 1500, "rate": 1000}
PHASES: dict[str, Any] = {
    "kind": "phases", "pages": 250, "rows": 1500, "rate": 700, "hot_pages": 60, "phases": 3, "nested_share": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("traces")
    return {what["kind"]: synthesised(folder, what["kind"], **what) for what in (ZIPF, SCAN, PHASES)}


@pytest.mark.parametrize(("spec", "kernel"), [(spec, KERNELS[i % len(KERNELS)]) for i, spec in enumerate(SPECS)])
def test_a_vm_under_every_protocol(traces: dict[str, str], spec: str, kernel: str) -> None:
    """Reclaim meets pages that a CPU's batch still holds: unmapped and written, they go back to a list, and are not gone yet."""
    vm = {"name": "v", "trace": traces["zipf"], "mmu": "tdp"}
    memory = ["400 KiB", "900 KiB"]
    assert not differences(scenario([vm], memory=memory, kernel=kernel, every="300 ms", protocols=[spec]))


@pytest.mark.parametrize(
    ("spec", "kernel"),
    [
        ("linux-7.3", "7.3"), ("linux-6.13", "6.12"), ("christopherson", "6.1"), ("v7", "6.9"), ("v5", "7.3"),
        ("houghton", "6.15"), ("linux-6.9", "6.18"),
    ],
)  # fmt: skip
def test_vms_of_all_kinds_and_a_process_share_a_host(traces: dict[str, str], spec: str, kernel: str) -> None:
    members: list[dict[str, Any]] = [
        {"name": "nests", "trace": traces["phases"], "mmu": "legacy", "ad_bits": False},
        {"name": "shadow", "trace": traces["scan"], "mmu": "shadow", "start": "700 ms"},
        {"name": "plain", "trace": traces["zipf"], "start": "300 ms"},
    ]
    assert not differences(scenario(members, memory="1600 KiB", kernel=kernel, every="300 ms", protocols=[spec]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_classic_lists_of_every_kernel(traces: dict[str, str], kernel: str) -> None:
    vm = {"name": "v", "trace": traces["zipf"], "mmu": "tdp"}
    assert not differences(scenario([vm], memory="600 KiB", kernel=kernel, baselines=["two-list"]))


def test_agings_of_empty_lists_are_passes(tmp_path: Path) -> None:
    """Ten pages wait in a CPU's batch and are on no list: both readings count the agings that find nothing."""
    vm = {"name": "v", "trace": synthesised(tmp_path, "few", kind="scan", pages=10, rows=1000, rate=1000), "mmu": "tdp"}
    assert not differences(scenario([vm], memory="600 KiB", every="300 ms", protocols=["linux-6.18"]))
