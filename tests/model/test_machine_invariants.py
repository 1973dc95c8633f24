"""Random events on a machine; between any two of them all invariants hold. And faults planted in the model, each caught."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agewalk.core.effects import Load, Step
from agewalk.core.errors import ModelError
from agewalk.core.units import Bytes, Pages
from agewalk.model.machine import Machine, Process
from agewalk.model.mm import mmu_notifier, rmap, swap, swapfile, unmap
from agewalk.model.mm.mm_types import AddressSpace
from agewalk.model.profiles import PROFILES
from agewalk.model.protocols.registry import get_protocol

from .invariants import check

FRAMES = Pages(1400)
kernels = st.sampled_from(sorted(PROFILES))
kinds = st.sampled_from(["plain", "huge", "file", "sequential"])


class Host(RuleBasedStateMachine):
    """A host with two processes at first; VMs, nested guests, aging, reclaim, unmapping and locking come and go."""

    machine: Machine
    holes: dict[Process, set[int]]

    @initialize(kernel=kernels)
    def boot(self, kernel: str) -> None:
        profile = PROFILES[kernel]
        self.machine = Machine(profile, get_protocol(profile.protocol), memory=FRAMES)
        self.file = AddressSpace("file")
        self.holes = {}
        self.start("plain", 300)

    def pick(self, n: int) -> Process:
        return self.machine.processes[n % len(self.machine.processes)]

    @precondition(lambda self: len(self.machine.processes) < 3)
    @rule(kind=kinds, pages=st.sampled_from([100, 600, 1100]))
    def start(self, kind: str, pages: int) -> None:
        every: dict[str, dict[str, Any]] = {
            "plain": {}, "huge": {"huge": True}, "file": {"file": self.file}, "sequential": {"sequential": True},
        }  # fmt: skip
        process = self.machine.add_process(kind, Pages(pages), **every[kind])
        self.holes[process] = set()

    @precondition(lambda self: len(self.machine.processes) > 1)
    @rule(who=st.integers(0, 9))
    def end(self, who: int) -> None:
        self.machine.end_process(self.pick(who))

    @precondition(lambda self: len(self.machine.vms) < 3)
    @rule(who=st.integers(0, 9), mmu=st.sampled_from(["tdp", "legacy", "shadow"]), ad_bits=st.booleans())
    def start_vm(self, who: int, mmu: str, ad_bits: bool) -> None:
        self.machine.start_vm(self.pick(who), mmu=mmu, ad_bits=ad_bits)

    @precondition(lambda self: self.machine.vms)
    @rule(who=st.integers(0, 9))
    def close_vm(self, who: int) -> None:
        self.machine.close_vm(self.machine.vms[who % len(self.machine.vms)])

    @rule(who=st.integers(0, 9), first=st.integers(0, 1099), pages=st.sampled_from([1, 40, 300]), stride=st.integers(1, 9),
          write=st.booleans(), by=st.sampled_from(["host", "guest", "nested"]))  # fmt: skip
    def touch(self, who: int, first: int, pages: int, stride: int, write: bool, by: str) -> None:
        process = self.pick(who)
        for page in range(first, min(first + pages * stride, process.pages), stride):
            if page in self.holes[process]:
                continue
            if by == "host" or not process.vms:
                self.machine.touch_host(process, page, write=write)
            elif by == "guest":
                self.machine.touch_guest(process.vms[0], page, write=write)
            else:
                self.machine.touch_nested(process.vms[-1], page, write=write)

    @rule(force_scan=st.booleans())
    def age(self, force_scan: bool) -> None:
        assert self.machine.age(force_scan=force_scan) in {0, -34}

    @rule(size=st.sampled_from([4096, 1 << 18, 1 << 21]))
    def reclaim(self, size: int) -> None:
        assert self.machine.reclaim(Bytes(size)) in {0, -11}

    @rule(back=st.integers(2, 3), pages=st.sampled_from([1, 200]), swappiness=st.sampled_from([0, 1, 60, 200]))
    def evict(self, back: int, pages: int, swappiness: int) -> None:
        self.machine.evict(self.machine.max_seq - back, pages, swappiness)

    @rule(who=st.integers(0, 9), first=st.integers(0, 1099), pages=st.integers(1, 600))
    def unmap(self, who: int, first: int, pages: int) -> None:
        process = self.pick(who)
        self.machine.unmap(process, first, pages)
        self.holes[process].update(range(first, first + pages))

    @rule(who=st.integers(0, 9), first=st.integers(0, 299), pages=st.integers(1, 40), locked=st.booleans())
    def mlock(self, who: int, first: int, pages: int, locked: bool) -> None:
        process = self.pick(who)
        if first + pages <= process.pages and not self.holes[process] & set(range(first, first + pages)):
            self.machine.mlock(process, first, pages, locked=locked)

    @rule()
    def drain(self) -> None:
        self.machine.drain()

    @rule()
    def writeback(self) -> None:
        self.machine.writeback(self.file)

    @invariant()
    def everything(self) -> None:
        if hasattr(self, "machine"):
            check(self.machine)


@pytest.mark.parametrize("seed", range(2))
def test_invariants_hold_between_any_two_events(seed: int) -> None:
    from hypothesis import seed as seeded

    seeded(seed)(Host)
    run_state_machine_as_test(
        Host,
        settings=settings(
            max_examples=12, stateful_step_count=40, deadline=None, derandomize=False, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def small_story(kernel: str = "6.12") -> None:
    """A VM fills its memory, ages, loses pages, gets some back, and a part of them is unmapped; checked after each event."""
    profile = PROFILES[kernel]
    machine = Machine(profile, get_protocol(profile.protocol), memory=Pages(2048))
    process = machine.add_process("p", Pages(700))
    vm = machine.start_vm(process)
    for page in range(600):
        machine.touch_guest(vm, page, write=True)
    check(machine)
    for _ in range(3):
        machine.age()
    machine.reclaim(Bytes(1 << 20))
    check(machine)
    for page in range(0, 600, 3):
        machine.touch_guest(vm, page, write=False)
    check(machine)
    machine.unmap(process, 0, 300)
    check(machine)
    machine.end_process(process)
    check(machine)


def test_small_story_holds() -> None:
    for kernel in PROFILES:
        small_story(kernel)


def _nothing(*_: object, **__: object) -> Step[int]:
    return 0
    yield


def _no_remove_rmap(folio: Any, mm: Any, address: Any) -> Step[None]:
    yield Load(folio.mappings)


def _keep_slot(memory: Any, slot: Any) -> Step[None]:
    yield Load(slot.count)


FAULTS = {
    "unmap does not tell secondary MMUs": (mmu_notifier, "invalidate_range_start", _nothing),
    "rmap outlives the mapping": (rmap, "folio_remove_rmap", _no_remove_rmap),
    "a zapped page keeps its rmap": (unmap, "folio_remove_rmap", _no_remove_rmap),
    "slots are never given back": (swapfile, "put_slot", _keep_slot),
    "the batch keeps its references": (swap, "folio_put", _nothing),
    "a freed frame is not counted": (swap, "free_folio", _nothing),
    "pages in swap are forgotten at munmap": (unmap, "free_swap_and_cache", _nothing),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, fault = FAULTS[name]
    monkeypatch.setattr(module, function, fault)
    with pytest.raises((AssertionError, ModelError)):
        small_story()
