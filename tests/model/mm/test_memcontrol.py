"""Charging: worked by hand from try_charge_memcg() of 6.12."""

import pytest

from agewalk.core.direct import Direct
from agewalk.core.effects import FetchAdd, Step
from agewalk.core.errors import ModelError
from agewalk.model.mm.memcontrol import charge as memcontrol
from agewalk.model.mm.memcontrol.charge import try_charge_memcg, uncharge
from agewalk.model.mm.memcontrol.memcg import Memcg


def charge(cpu: Direct, memcg: Memcg, times: int) -> tuple[int, int]:
    for _ in range(times):
        cpu.run(try_charge_memcg(memcg))
    return memcg.usage.value, memcg.stock.value


def reclaims(memcg: Memcg, pages: int) -> list[int]:
    """Reclaim that frees `pages` each time it is asked; the list of what it was asked for."""
    asked: list[int] = []

    def reclaim(wanted: int) -> Step[int]:
        asked.append(wanted)
        yield FetchAdd(memcg.usage, -pages)
        return pages

    memcg.reclaim = reclaim
    return asked


def test_a_batch_is_charged_and_served_from_the_stock() -> None:
    memcg, cpu = Memcg("a", limit=1000), Direct()
    assert charge(cpu, memcg, 1) == (64, 63)
    assert charge(cpu, memcg, 63) == (64, 0)
    assert charge(cpu, memcg, 1) == (128, 63)


def test_near_the_limit_single_pages_are_charged_until_it_is_reached_and_only_then_the_task_reclaims() -> None:
    memcg, cpu = Memcg("a", limit=100), Direct()
    asked = reclaims(memcg, 40)
    assert charge(cpu, memcg, 64) == (64, 0)
    assert charge(cpu, memcg, 36) == (100, 0)  # 64 more would exceed the limit: one at a time
    assert asked == []
    assert charge(cpu, memcg, 1) == (61, 0)  # 100 - 40 + 1: behind a reclaim exactly what is wanted
    assert asked == [1]
    assert charge(cpu, memcg, 39) == (100, 0)


def test_a_freed_page_goes_to_the_counter_and_not_to_the_stock() -> None:
    memcg, cpu = Memcg("a", limit=1000), Direct()
    charge(cpu, memcg, 10)
    cpu.run(uncharge(memcg, 3))
    assert (memcg.usage.value, memcg.stock.value) == (61, 54)


def test_the_stock_is_drained_when_reclaim_was_not_enough() -> None:
    memcg, cpu = Memcg("a", limit=64), Direct()
    asked = reclaims(memcg, 1)
    charge(cpu, memcg, 60)  # usage 64, 4 of it in the stock
    cpu.run(try_charge_memcg(memcg, 5))
    assert asked == [5]  # one page from reclaim and the stock's four are enough: no second reclaim
    assert (memcg.usage.value, memcg.stock.value) == (64, 0)


def test_nothing_to_reclaim_is_out_of_memory_after_sixteen_more_tries() -> None:
    memcg, cpu = Memcg("a", limit=64), Direct()
    asked = reclaims(memcg, 0)
    charge(cpu, memcg, 64)
    with pytest.raises(ModelError, match="out of memory in a: all of its 64 pages are in use"):
        charge(cpu, memcg, 1)
    assert len(asked) == 1 + 1 + memcontrol.MAX_RECLAIM_RETRIES  # the first, the one behind drain_stock(), the retries


def test_a_seeded_fault_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without batches the counter has no stock, which the first test sees."""
    monkeypatch.setattr(memcontrol, "MEMCG_CHARGE_BATCH", 1)
    assert charge(Direct(), Memcg("a", limit=1000), 1) != (64, 63)
