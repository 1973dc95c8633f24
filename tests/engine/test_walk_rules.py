"""Which processes a walk reads whole under the rules that were posted: both readings agree, and the rules differ."""

import pytest
from tests.engine.conformance import Twin

pytestmark = pytest.mark.slow
PAGES = 1500  # three page tables


def idle_process_of(protocol: str, *others: str, kernel: str = "6.9") -> Twin:
    """A host with a process whose page tables are old but for the first, aged three times."""
    twin = Twin(kernel, protocol, [(PAGES, "process"), *((64, other) for other in others)], 4000)
    twin.touch([(0, page, True, 2) for page in range(PAGES)])
    for space in range(1, len(others) + 1):
        twin.touch([(space, page, True, 0) for page in range(64)])
    for _ in range(3):
        twin.age(force_scan=True)  # which 6.9 does not take for "read all"
        twin.check(protocol)
        twin.touch([(0, 0, False, 2), *((space, 0, False, 0) for space in range(1, len(others) + 1))])
        twin.check(protocol)
    return twin


def walked(twin: Twin) -> int:
    return int(twin.engine.result().counts["ptes_walked"])


@pytest.mark.parametrize("protocol", ["v5", "v7"])
def test_posted_walks_read_every_process_whole(protocol: str) -> None:
    """The shortcut of old PMD entries ends for a process without a VM, and on a host without any VM."""
    assert walked(idle_process_of("linux-6.15")) == PAGES + 2 * 512
    assert walked(idle_process_of(protocol)) == 3 * PAGES
    assert walked(idle_process_of("linux-6.15", "tdp")) == PAGES + 2 * 512 + 3 * 64
    assert walked(idle_process_of(protocol, "tdp")) == 3 * (PAGES + 64)


@pytest.mark.parametrize("mmu", ["legacy", "tdp-noad", "shadow"])
def test_v5_walks_nobody_else_where_kvm_is_not_likely_fast(mmu: str) -> None:
    """Even the VM keeps the shortcut then, and old entries are not asked about; v7 walks everybody all the same."""
    v5, merged = idle_process_of("v5", mmu), idle_process_of("linux-6.15", mmu)
    assert walked(v5) < walked(merged) < walked(idle_process_of("v7", mmu))
    assert v5.engine.costs()["notifier_calls"] == 0 < merged.engine.costs()["notifier_calls"]
