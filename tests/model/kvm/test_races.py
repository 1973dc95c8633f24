"""vCPUs, agers, unmappers and nested guests at once, in random interleavings; and the seeded faults that this catches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from tests.model.kvm.helpers import World
from tests.model.kvm.smp import Smp

from agewalk.core.effects import Count, Free, Load, Step, Warn
from agewalk.core.errors import ModelError
from agewalk.model.kvm import kvm_main
from agewalk.model.kvm.config import KvmConfig
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import GuestTables, MmuPage
from agewalk.model.kvm.kvm_main import kvm_delete_memslot, kvm_destroy_vm, kvm_mmu_zap_all_fast, nested_guest_stop
from agewalk.model.kvm.mmu import page_fault, rmap, shadow_mmu, tdp_map
from agewalk.model.kvm.mmu.spte import is_last_spte, is_shadow_present_pte, spte_to_pfn
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import NotifierRange
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.linux_6_13 import Linux613
from agewalk.model.protocols.linux_6_15 import Linux615
from agewalk.model.protocols.v7 import V7

SMALL = KvmConfig(levels=2, level_bits=2, ept=True)
LEGACY = dataclasses.replace(SMALL, tdp_mmu=False)
NO_AD = dataclasses.replace(SMALL, ad_bits=False)
SLOTS = ((0, 4, 0, 0),)


def mapped(w: World, first: int, last: int, tables: list[GuestTables]) -> list[str]:
    """Every present leaf, of any root, that maps pages [first, last): looked up from outside."""
    kvm = w.kvm
    roots: list[MmuPage] = []
    at = kvm.tdp_roots.value
    while at is not None:
        roots.append(at)
        at = at.next.value
    roots += [r for r in (kvm.direct_roots[0].value, *(t.root.value for t in tables)) if r is not None]
    found = []

    def visit(table: MmuPage) -> None:
        for index in range(kvm.entries):
            spte = table.entry(index).value
            if not is_shadow_present_pte(spte):
                continue
            if not is_last_spte(spte, table.level):
                visit(kvm.page_at(spte_to_pfn(spte)))
            elif first <= spte_to_pfn(spte) - 512 * 8 < last:
                found.append(f"{table.label}[{index}]")

    for root in roots:
        visit(root)
    return found


def stress(
    seed: int,
    *,
    protocol: AgingProtocol | None = None,
    kernel: str = "6.18",
    config: KvmConfig = SMALL,
    nested: bool = False,
    invalidate_roots: bool = False,
) -> World:
    """Two vCPUs (and a nested guest), two agers, an unmapper that checks its work, perhaps a fast zap; then the VM ends."""
    w = World(protocol, kernel, config, SLOTS, vcpus=2)
    tables = [GuestTables("l2", 1, guest_mode=True, span=4)] if nested else []

    for page in range(4):
        w.run(guest_access(w.vcpu, page, write=False))

    def vcpu(n: int) -> Step[None]:
        for page in (0, 1, 2, 0, 3, 1):
            yield from guest_access(w.kvm.vcpus[n], page, write=page % 2 == n)

    def nested_guest() -> Step[None]:
        for page, alias in ((0, 0), (1, 0), (0, 1), (0, 2), (1, 1)):
            yield from guest_access(w.kvm.vcpus[1], page, write=True, nested=tables[0], alias=alias)
        yield from nested_guest_stop(w.kvm, tables[0])
        yield from guest_access(w.kvm.vcpus[1], 1, write=True, nested=tables[0])

    def ager() -> Step[int]:
        young = 0
        for page in (0, 1, 0, 2, 1, 0):
            young += yield from mmu_notifier.clear_young(w.mm, w.hva(page), w.hva(page + 1))
            yield from mmu_notifier.test_young(w.mm, w.hva(page))
        return young

    def unmapper() -> Step[None]:
        for _ in range(2):
            rng = NotifierRange(w.mm, w.hva(0), w.hva(2))
            yield from mmu_notifier.invalidate_range_start(rng)
            for _ in range(6):
                left = mapped(w, 0, 2, tables)
                if left:
                    yield Warn(f"still mapped after invalidate_range_start: {left}")
                yield from mmu_notifier.test_young(w.mm, w.hva(3))  # time passes
            yield from mmu_notifier.invalidate_range_end(rng)

    def zapper() -> Step[None]:
        yield from kvm_mmu_zap_all_fast(w.kvm)

    threads: list[tuple[str, Step[Any]]] = [
        ("vcpu0", vcpu(0)),
        ("ager0", ager()),
        ("ager1", ager()),
        ("unmap", unmapper()),
    ]
    threads.append(("l2", nested_guest()) if nested else ("vcpu1", vcpu(1)))
    if invalidate_roots:
        threads.append(("zap", zapper()))
    Smp(threads, seed).run()
    w.run(kvm_destroy_vm(w.kvm))
    assert not mapped(w, 0, 4, tables)
    assert w.kvm.indirect_shadow_pages.value == 0
    for slot in w.slots:
        assert all(cell.value == 0 for cell in slot._rmaps.values())
    return w


def churn(seed: int) -> None:
    """One frame whose chain of SPTEs grows and is zapped, over and over, while two agers read it."""
    w = World(None, "6.18", SMALL, SLOTS)
    tables = GuestTables("l2", 1, guest_mode=True, span=4)

    def nested_guest() -> Step[None]:
        rng = NotifierRange(w.mm, w.hva(0), w.hva(1))
        for _ in range(5):
            for alias in range(3):
                yield from guest_access(w.vcpu, 0, write=True, nested=tables, alias=alias)
            yield from mmu_notifier.invalidate_range_start(rng)
            yield from mmu_notifier.invalidate_range_end(rng)

    def ager() -> Step[None]:
        for _ in range(40):
            yield from mmu_notifier.clear_young(w.mm, w.hva(0), w.hva(1))

    Smp([("l2", nested_guest()), ("ager0", ager()), ("ager1", ager())], seed).run()


def lose_a_slot(seed: int) -> None:
    """Two slots of one VM; the first is deleted while a vCPU and an ager use it (and find it gone, or wait)."""
    w = World(None, "6.18", dataclasses.replace(LEGACY, tdp_mmu=seed % 2 == 0), ((0, 4, 0, 0), (4, 4, 4, 0)), vcpus=2)

    def vcpu() -> Step[None]:
        for page in (0, 4, 1, 5, 0):
            yield from guest_access(w.vcpu, page, write=True)

    def ager() -> Step[None]:
        for page in (0, 4, 0, 1, 0, 5):
            yield from mmu_notifier.clear_young(w.mm, w.hva(page), w.hva(page + 1))

    threads = [("vcpu", vcpu()), ("ager", ager()), ("slots", kvm_delete_memslot(w.kvm, w.slots[0]))]
    Smp(threads, seed).run()
    assert not mapped(w, 0, 4, [])
    w.run(kvm_destroy_vm(w.kvm))


CASES: list[dict[str, Any]] = [
    {},
    {"kernel": "7.3"},
    {"kernel": "6.1", "protocol": Linux613()},
    {"config": NO_AD},
    {"config": LEGACY},
    {"config": LEGACY, "kernel": "6.12", "protocol": Linux613()},
    {"nested": True},
    {"nested": True, "kernel": "7.3"},
    {"nested": True, "protocol": V7()},
    {"nested": True, "kernel": "6.12", "protocol": Linux613()},
    {"invalidate_roots": True},
    {"nested": True, "invalidate_roots": True},
]


@pytest.mark.parametrize("case", CASES, ids=[f"case{i}" for i in range(len(CASES))])
def test_nothing_breaks(case: dict[str, Any]) -> None:
    for seed in range(25):
        stress(seed, **case)


def test_chains_that_come_and_go_under_readers() -> None:
    for seed in range(25):
        churn(seed)


def test_a_slot_is_deleted_under_its_users() -> None:
    for seed in range(60):
        lose_a_slot(seed)


# --- seeded faults: each breaks one rule of KVM's locking on purpose ----------------------------------------------------------


def free_at_once(patch: pytest.MonkeyPatch) -> None:
    """Tables freed without a grace period."""
    patch.setattr(tdp_map, "CallRcu", Free)


def reader_without_lock(patch: pytest.MonkeyPatch) -> None:
    """A lockless walker that does not take the bit lock."""

    def no_lock(head: Any) -> Step[int]:
        value: int = yield Load(head)
        return value & ~rmap.KVM_RMAP_LOCKED

    def no_unlock(head: Any, value: int) -> Step[None]:
        return
        yield

    patch.setattr(rmap, "kvm_rmap_lock_readonly", no_lock)
    patch.setattr(rmap, "kvm_rmap_unlock_readonly", no_unlock)


def remover_without_lock(patch: pytest.MonkeyPatch) -> None:
    """Chains changed under mmu_lock alone while readers trust the bit lock."""

    def no_lock(kvm: Any, head: Any) -> Step[int]:
        value: int = yield Load(head)
        return value & ~rmap.KVM_RMAP_LOCKED

    patch.setattr(rmap, "kvm_rmap_lock", no_lock)
    patch.setattr(shadow_mmu, "kvm_rmap_lock", no_lock)


def intolerant_reader(patch: pytest.MonkeyPatch) -> None:
    """BUG_ON(!is_shadow_present_pte()) in a walker without mmu_lock, as hit in August 2024."""

    def insists(spte: int) -> bool:
        if not is_shadow_present_pte(spte):
            raise ModelError("BUG_ON(!is_shadow_present_pte())", hint="")
        return True

    patch.setattr(rmap, "is_shadow_present_pte", insists)


def faults_ignore_invalidations(patch: pytest.MonkeyPatch) -> None:
    """is_page_fault_stale() never looks."""

    def never(kvm: Any, seq: int, gfn: int) -> Step[bool]:
        return False
        yield

    patch.setattr(page_fault, "mmu_invalidate_retry_gfn", never)


def unmap_skips_invalid_roots(patch: pytest.MonkeyPatch) -> None:
    """An unmap that leaves invalid roots alone."""
    zap = tdp_map._zap_leafs

    def only_valid(kvm: Any, table: MmuPage, base: int, rng: Any) -> Step[bool]:
        if table.invalid.value:
            return False
        return (yield from zap(kvm, table, base, rng))

    patch.setattr(tdp_map, "_zap_leafs", only_valid)


def slots_do_not_wait(patch: pytest.MonkeyPatch) -> None:
    """A slot freed while readers that found it are still at work."""
    patch.setattr(kvm_main, "SynchronizeSrcu", lambda domain: Count("srcu"))


@pytest.mark.parametrize(
    ("fault", "case"),
    [
        (free_at_once, {"invalidate_roots": True}),
        (reader_without_lock, {"churn": True}),
        (remover_without_lock, {"churn": True}),
        (intolerant_reader, {"nested": True}),
        (faults_ignore_invalidations, {}),
        (faults_ignore_invalidations, {"nested": True}),
        (unmap_skips_invalid_roots, {"invalidate_roots": True}),
        (slots_do_not_wait, {"slots": True}),
    ],
)
def test_seeded_faults_are_caught(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None], case: dict[str, Any]
) -> None:
    fault(monkeypatch)
    caught = 0
    for seed in range(300):
        try:
            if "churn" in case:
                churn(seed)
            elif "slots" in case:
                lose_a_slot(seed)
            else:
                stress(seed, **case)
        except (ModelError, AssertionError, KeyError):
            caught += 1
            break
    assert caught, f"{fault.__name__} went unnoticed in 300 interleavings"


def test_a_vm_without_the_rmap_lock_needs_a_protocol_that_does_not_use_it() -> None:
    """Base protocols bring the bit lock along, whatever kernel they run on."""
    assert World(Linux615(), "6.1").kvm.features.rmap_bit_lock
    assert not World(Linux613(), "6.1").kvm.features.rmap_bit_lock
