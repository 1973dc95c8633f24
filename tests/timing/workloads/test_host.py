"""Where things lie in the host of the timed executor."""

from __future__ import annotations

import pytest

from agewalk.core.direct import Direct
from agewalk.model.protocols.registry import get_protocol
from agewalk.timing.experiment import load_experiment
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.run import start
from agewalk.timing.workloads.host import PER_TABLE, boot, build, guest_tables, place_of_guest_table


@pytest.mark.parametrize("pages", [16, 64, 256, 512, 1024, 2048])
@pytest.mark.parametrize("vcpus", [1, 3, 32])
def test_guest_page_tables_are_the_same_share_at_every_scale(vcpus: int, pages: int) -> None:
    tables = guest_tables(vcpus * pages)
    assert tables == -(-vcpus * pages // 512)
    places = [place_of_guest_table(n, pages) for n in range(tables)]
    assert len(set(places)) == tables
    for n, (vcpu, page) in enumerate(places):
        assert vcpu * pages <= n * 512 < (vcpu + 1) * pages  # the first vCPU that needs it
        assert pages <= page < pages + PER_TABLE


def test_they_are_there_before_the_guest_runs() -> None:
    host = build(kernel="6.13", protocol=get_protocol("linux-6.15"), vcpus=5, pages_per_vcpu=256)
    Direct().run(boot(host))
    assert len(host.memory.mem_map) == 3  # 5 * 256 pages in tables of 512


@pytest.mark.parametrize("lookups", [0, 1])
def test_arm64_takes_mmap_lock_once_more_a_fault(lookups: int) -> None:
    """user_mem_abort() looks the VMA up before it asks for the page."""
    experiment = load_experiment("access-tracking")
    costs = load_costs().with_values({"fault.vma_lookups": lookups})
    machine, host = start(experiment, experiment.variants[0], 2, costs, factor=8192)
    machine.run()
    faults = 2 * host.pages_per_vcpu
    taken = machine.locks.of(host.mm.mmap_lock).acquired
    assert taken["write"] == 0
    assert (1 + lookups) * faults <= taken["read"] < (1 + lookups) * faults + 4
