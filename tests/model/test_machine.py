"""The machine's events, and that skipping accesses which change nothing changes nothing."""

from __future__ import annotations

import random

import pytest

from agewalk.core.errors import UsageError
from agewalk.core.units import Bytes, Ns, Pages
from agewalk.model.machine import Machine, PageView
from agewalk.model.machine import machine as machine_module
from agewalk.model.profiles import PROFILES, profile
from agewalk.model.protocols.registry import get_protocol

from .invariants import check


def build(kernel: str = "6.18", *, frames: int = 8192, schedules: bool = True) -> Machine:
    chosen = profile(kernel)
    return Machine(chosen, get_protocol(chosen.protocol), memory=Pages(frames), schedules=schedules)


def test_guest_memory_is_the_memory_of_its_process() -> None:
    machine = build()
    process = machine.add_process("qemu", Pages(64))
    vm = machine.start_vm(process)
    machine.touch_guest(vm, 5, write=True)
    machine.drain()
    views = list(machine.view(process))
    assert [page for page, view in enumerate(views) if view != PageView(None, 0)] == [5]
    assert views[5].lru == 1
    assert machine.counters["kvm_tdp_page_fault"] == 1


@pytest.mark.parametrize("kernel", ["6.12", "6.18", "7.3"])
@pytest.mark.parametrize("mmu", ["tdp", "legacy", "shadow"])
def test_aging_sees_guests_whatever_their_mmu(kernel: str, mmu: str) -> None:
    machine = build(kernel)
    process = machine.add_process("qemu", Pages(128))
    vm = machine.start_vm(process, mmu=mmu)
    for page in range(128):
        machine.touch_guest(vm, page, write=True)
    machine.drain()
    for _ in range(2):
        machine.age()
    for page in range(0, 128, 4):
        machine.touch_guest(vm, page, write=False)
    machine.age()
    seqs = [view.seq for view in machine.view(process)]
    assert {seqs[page] for page in range(0, 128, 4)} == {5}
    assert {seqs[page] for page in range(1, 128, 4)} == {3}


def test_61_is_blind_to_guests() -> None:
    machine = build("6.1")
    process = machine.add_process("qemu", Pages(128))
    vm = machine.start_vm(process)
    for page in range(128):
        machine.touch_guest(vm, page, write=True)
    machine.drain()
    for _ in range(2):
        machine.age()
    for page in range(0, 128, 4):
        machine.touch_guest(vm, page, write=False)
    machine.age()
    assert {view.seq for view in machine.view(process)} == {3}


def test_two_vms_share_a_process_and_nested_guests_come_and_go() -> None:
    machine = build()
    process = machine.add_process("qemu", Pages(128))
    first, second = machine.start_vm(process), machine.start_vm(process)
    for page in range(128):
        machine.touch_guest(first, page, write=True)
        machine.touch_guest(second, page, write=False)
        machine.touch_nested(first, page, write=True)
    check(machine)
    machine.drain()
    assert first.kvm.indirect_shadow_pages.value > 0
    before = machine.counters.snapshot()
    machine.age()
    counted = machine.counters.since(before)
    assert counted["__mmu_notifier_clear_young"] == 128
    assert counted["kvm_age_gfn"] == 256
    assert counted["kvm_rmap_age_gfn_range"] == 128  # the second VM has no shadow pages
    with pytest.raises(UsageError):
        machine.start_nested(first)
    machine.end_nested(first)
    assert first.kvm.indirect_shadow_pages.value == 0
    with pytest.raises(UsageError):
        machine.end_nested(first)
    machine.close_vm(second)
    check(machine)
    machine.end_process(process)
    machine.drain()
    assert machine.memory.free.value == 8192
    assert not machine.vms


def test_reclaim_takes_exactly_as_many_as_told() -> None:
    machine = build()
    process = machine.add_process("p", Pages(512))
    for page in range(512):
        machine.touch_host(process, page, write=True)
    machine.drain()
    for _ in range(3):
        machine.age()
    machine.reclaim(Bytes(1 << 20), exactly=Pages(77))
    taken = machine.taken()
    assert len(taken) == 77
    assert {who for who, _ in taken} == {process}
    assert sorted(page for _, page in taken) == [
        page for page, view in enumerate(machine.view(process)) if view.swapped
    ]
    assert machine.taken() == []


def test_force_scan_reads_what_was_not_scheduled() -> None:
    machine = build("6.12", schedules=False)
    process = machine.add_process("p", Pages(512))
    for page in range(512):
        machine.touch_host(process, page, write=True)
    machine.drain()
    machine.schedule_all()
    machine.age(force_scan=True)
    before = machine.counters.snapshot()
    machine.evict(machine.max_seq - 3, 1, 60)  # an empty generation goes, so that aging is not refused
    machine.age(force_scan=False)
    assert machine.counters.since(before)["ptes_walked"] == 0
    machine.age(force_scan=True)
    assert machine.counters.since(before)["ptes_walked"] == 512


def test_clock_dates_generations() -> None:
    machine = build()
    machine.add_process("p", Pages(1))
    machine.advance(Ns(7))
    machine.age()
    assert machine.lruvec.timestamps[machine.max_seq % 4].value == 7


def test_kswapd_frees_up_to_the_high_watermark() -> None:
    machine = build(frames=2048)
    process = machine.add_process("p", Pages(4000))
    for page in range(4000):
        machine.touch_host(process, page, write=True)
    memory = machine.memory
    assert memory.free.value >= memory.low
    assert machine.counters["balance_pgdat"] > 0
    assert memory.swap_used.value >= 4000 - 2048
    check(machine)


@pytest.mark.parametrize("kernel", ["6.1", "6.18"])
def test_skipping_accesses_that_change_nothing_changes_nothing(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def story() -> list[object]:
        random_ = random.Random(3)
        machine = build(kernel, frames=1200)
        process = machine.add_process("qemu", Pages(600))
        vm = machine.start_vm(process)
        plain = machine.add_process("p", Pages(600))
        seen: list[object] = []
        for round_ in range(12):
            for _ in range(150):
                page, write = random_.randrange(600), random_.random() < 0.3
                kind = random_.choice(["guest", "nested", "host", "plain"])
                if kind == "guest":
                    machine.touch_guest(vm, page, write=write)
                elif kind == "nested":
                    machine.touch_nested(vm, page, write=write)
                else:
                    machine.touch_host(process if kind == "host" else plain, page, write=write)
            if round_ % 3 == 2:
                machine.age()
            seen.append((list(machine.view(process)), list(machine.view(plain)), machine.max_seq, machine.taken()))
        return seen

    skipped = story()
    monkeypatch.setattr(machine_module, "changes_nothing", lambda *_, **__: False)
    monkeypatch.setattr(machine_module, "guest_hit", lambda *_, **__: False)
    assert story() == skipped
    monkeypatch.setattr(machine_module, "guest_hit", lambda *_, **__: True)  # and if too much is skipped, that shows
    assert story() != skipped


def test_every_profile_runs() -> None:
    for kernel in PROFILES:
        machine = build(kernel)
        process = machine.add_process("qemu", Pages(100))
        vm = machine.start_vm(process, ad_bits=False)
        for page in range(100):
            machine.touch_guest(vm, page, write=True)
        machine.age()
        machine.reclaim(Bytes(1 << 16))
        check(machine)


def test_nested_guests_have_tables_of_their_own() -> None:
    machine = Machine(profile("6.18"), get_protocol("linux-6.18"), memory=Pages(1 << 12))
    vm = machine.start_vm(machine.add_process("qemu", Pages(16)), "vm", mmu="tdp")
    serials = set()
    for _ in range(2):
        machine.start_nested(vm)
        assert vm.nested is not None
        serials.add(vm.nested.serial)
        machine.end_nested(vm)
    assert len(serials) == 2


def test_both_sides_of_a_host_ask_one_protocol() -> None:
    machine = Machine(profile("6.18"), get_protocol("linux-6.18"), memory=Pages(4096))
    machine.protocol = get_protocol("v5")
    process = machine.add_process("qemu", Pages(8))
    with pytest.raises(UsageError, match=r"asks <protocol linux-6\.18>, its KVM asks <protocol v5>"):
        machine.start_vm(process)
