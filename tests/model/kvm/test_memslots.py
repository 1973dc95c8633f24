"""From addresses of the process to frames of the guest: address spaces, aliases, edges."""

from __future__ import annotations

import pytest
from tests.model.kvm.helpers import World

from agewalk.core.units import PAGE_SIZE, Gfn, Hva, Pages
from agewalk.model.kvm.config import KvmConfig
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.memslots import Memslot, gfn_ranges, slot_of_gfn
from agewalk.model.mm import mmu_notifier

SLOT = Memslot("ram", Gfn(512), Pages(16), Hva(0x100000))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [  # {gfn(page) | page meets [start, end)}, by hand
        (0x100000, 0x101000, (512, 513)),
        (0x100FFF, 0x101001, (512, 514)),
        (0x100800, 0x100801, (512, 513)),
        (0x0, 0x200000, (512, 528)),
        (0x10F000, 0x120000, (527, 528)),
        (0xFF000, 0x100000, None),
        (0x110000, 0x111000, None),
    ],
)
def test_hva_range_to_gfns(start: int, end: int, expected: tuple[int, int] | None) -> None:
    found = gfn_ranges(((SLOT, False),), start, end, lockless=True, may_block=False)
    assert [(r.start, r.end) for r in found] == ([expected] if expected else [])


def test_gfn_to_slot() -> None:
    slots = ((SLOT, False),)
    assert slot_of_gfn(slots, 511) is None
    assert slot_of_gfn(slots, 512) == (SLOT, False)
    assert slot_of_gfn(slots, 527) == (SLOT, False)
    assert slot_of_gfn(slots, 528) is None
    assert SLOT.hva_of(513) == 0x101000
    assert SLOT.gfn_of(0x101FFF) == 513
    assert SLOT.rmap(1, 512) is SLOT.rmap(1, 512)
    assert SLOT.rmap(2, 512) is SLOT.rmap(2, 527)


ALIASED = ((512, 8, 0, 0), (1024, 8, 4, 0), (512, 8, 0, 1))  # pages 4..7 in two slots; all in SMM as well


@pytest.mark.parametrize(("gfn", "as_id"), [(516, 0), (1024, 0), (516, 1)])
def test_an_access_through_any_alias_is_found_and_cleared_everywhere(gfn: int, as_id: int) -> None:
    w = World(config=KvmConfig(address_spaces=2), slots=ALIASED)
    for g, a in ((516, 0), (1024, 0), (516, 1)):
        w.run(guest_access(w.vcpu, g, write=True, as_id=a))
    page4 = w.hva(4), Hva(w.hva(4) + PAGE_SIZE)
    before = w.cpu.counters.snapshot()
    assert w.run(mmu_notifier.clear_young(w.mm, *page4)) == 1
    counted = w.cpu.counters.since(before)
    assert (counted["kvm_mmu_notifier_clear_young"], counted["kvm_age_gfn"]) == (1, 3)
    assert w.run(mmu_notifier.test_young(w.mm, w.hva(4))) == 0
    w.run(guest_access(w.vcpu, gfn, write=False, as_id=as_id))
    assert w.run(mmu_notifier.test_young(w.mm, w.hva(4))) == 1
    assert w.run(mmu_notifier.clear_young(w.mm, *page4)) == 1
    assert w.run(mmu_notifier.clear_young(w.mm, *page4)) == 0


def test_outside_all_slots_nothing_is_asked() -> None:
    w = World(slots=((512, 8, 0, 0),))
    before = w.cpu.counters.snapshot()
    assert w.run(mmu_notifier.clear_young(w.mm, w.hva(8), w.hva(9))) == 0
    assert w.cpu.counters.since(before)["kvm_age_gfn"] == 0
    w.run(guest_access(w.vcpu, 600, write=True))
    assert w.cpu.counters["work:mmio_exit"] == 1
