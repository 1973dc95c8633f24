"""min_ttl_ms: kswapd leaves the working set of the last N ms alone."""

from __future__ import annotations

from agewalk.core.units import Ns, Pages
from agewalk.model.machine import Machine
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol

SECOND = 1_000_000_000


def crowded(min_ttl: int) -> Machine:
    """More pages than frames, two generations of them."""
    kernel = profile("6.18")
    machine = Machine(kernel, get_protocol(kernel.protocol), memory=Pages(8192), min_ttl=Ns(min_ttl))
    process = machine.add_process("p", Pages(8400))
    for page in range(4000):
        machine.touch_host(process, page, write=True)
    for second in (1, 2):
        machine.advance(Ns(second * SECOND))
        machine.age()
    machine.advance(Ns(3 * SECOND))
    for page in range(4000, 8300):
        machine.touch_host(process, page, write=True)
    return machine


def test_young_generations_are_spared_and_the_kill_is_counted() -> None:
    spared, free = crowded(60 * SECOND), crowded(0)
    assert spared.counters["out_of_memory"]
    assert not free.counters["out_of_memory"]
    assert free.counters["balance_pgdat"]
    assert free.counters["try_to_free_pages"] == 0  # kswapd kept up
    assert spared.counters["try_to_free_pages"]  # only allocations that cannot wait took pages
