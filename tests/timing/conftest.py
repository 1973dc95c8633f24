"""Round costs, so that expected times can be worked out by hand."""

from __future__ import annotations

import pytest

from agewalk.timing.hardware.costs import CostTable, load_costs

ROUND = {
    "cpu.step": 0, "line.hit": 1, "line.store": 1, "line.memory": 100, "line.core_to_core": 50, "line.socket_to_socket": 200,
    "line.shared_read": 10, "line.sequential": 0.25,
    "line.retention": 0.5, "atomic.local": 5, "lock.uncontended": 2, "lock.wakeup": 1000,
    "rcu.read": 1, "rcu.srcu_read": 4, "rcu.grace_period": 1, "call.indirect": 1, "call.retpoline": 10, "call.function": 1,
    "tlb.send": 100, "tlb.remote": 300, "tlb.latency": 500, "tlb.local": 50, "tlb.kick": 700, "sched.slice": 1,
    "sched.switch": 1000, "noise.work": 0, "work.vm_exit": 400, "work.vm_entry": 400, "topology.numa_imbalance": 4,
}  # fmt: skip


@pytest.fixture
def costs() -> CostTable:
    return load_costs().with_values(ROUND)
