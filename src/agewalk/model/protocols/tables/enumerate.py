"""Truth tables of a protocol, made by running it on the direct executor, on one tiny host for each state.

The host has one process with one page and, where the state says so, one VM with that page in a memslot. Its MMUs are
brought into the state by guests that run, start and stop; only the accessed bits are then set or cleared by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from agewalk.core.cells import Cell
from agewalk.core.counters import Counters
from agewalk.core.direct import Direct
from agewalk.core.effects import Step, Work
from agewalk.core.errors import InputError
from agewalk.core.units import PAGE_SIZE, PMD_SHIFT, Gfn, Hva, Pages, Pfn
from agewalk.core.userfile import file_of, users_code
from agewalk.model.kvm.config import KvmConfig
from agewalk.model.kvm.features import KERNELS
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.host_memory import Gup
from agewalk.model.kvm.kvm_host import GuestTables, Kvm, MmuPage
from agewalk.model.kvm.kvm_main import kvm_create_vm, kvm_destroy_vm, nested_guest_start, nested_guest_stop, new_kvm
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.kvm.mmu.spte import (
    is_accessed_spte,
    is_last_spte,
    is_shadow_present_pte,
    mark_spte_for_access_track,
    spte_to_pfn,
)
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm_types import Mm, PteTable
from agewalk.model.protocols.base import YOUNG, AgingProtocol, Verdict
from agewalk.model.protocols.tables.table import (
    HUGE_QUESTIONS,
    QUESTIONS,
    AgeRow,
    Costs,
    ProtocolTable,
    Question,
    QuestionRow,
    State,
    states,
)


class _Place(NamedTuple):
    """Where the page lies."""

    hva: Hva
    gfn: Gfn


_PLACE: Final = _Place(Hva(1 << 21), Gfn(0))
#: What depends on an address shows at one of these, unless it was made not to: the engine knows no addresses.
ELSEWHERE: Final = (_Place(Hva(7 << 21), Gfn(5)), _Place(Hva(0x7F5A_3D20_0000), Gfn(6)))
_PFN: Final = Pfn(7)
_KERNEL: Final = "6.18"  # under protocols that bring no kernel of their own


class _OnePage:
    """HostMemory of a process with one writable page."""

    def get_user_page(self, mm: Mm, hva: Hva, write: bool) -> Step[Gup | None]:
        """The page."""
        yield Work("gup")
        return Gup(_PFN, writable=True)

    def get_user_page_fast_only(self, mm: Mm, hva: Hva) -> Step[Gup | None]:
        """The page."""
        yield Work("gup")
        return Gup(_PFN, writable=True)

    def mark_page_accessed(self, pfn: Pfn) -> Step[None]:
        """Counted only."""
        yield Work("mark_page_accessed")

    def mark_page_dirty(self, pfn: Pfn) -> Step[None]:
        """Counted only."""
        yield Work("mark_page_dirty")


@dataclass
class _World:
    cpu: Direct
    mm: Mm
    entry: Cell
    kvm: Kvm | None
    fast: Cell | None  # the page's leaf SPTE in the TDP MMU
    slow: Cell | None  # and in the shadow MMU
    hva: Hva

    def young(self, sptep: Cell | None) -> bool:
        """Is this SPTE there, and young?"""
        if self.kvm is None or sptep is None or not is_shadow_present_pte(sptep.value):
            return False
        return is_accessed_spte(self.kvm.format, sptep.value)


def _leaf(kvm: Kvm, root: MmuPage | None, address: int) -> Cell | None:
    """The leaf entry that translates an address, looked up from outside."""
    while root is not None:
        cell = root.entry(kvm.index(address, root.level))
        if not is_shadow_present_pte(cell.value):
            return None
        if is_last_spte(cell.value, root.level):
            return cell
        root = kvm.page_at(spte_to_pfn(cell.value))
    return None


def _build(protocol: AgingProtocol, state: State, place: _Place) -> _World:
    """A host in this state."""
    hva, gfn = place
    cpu = Direct()
    mm = Mm("mm")
    table = PteTable(Pfn(0), "ptes")
    entry = table.ptes[0]
    entry.value = p.make_pte(_PFN, writable=True, young=state.primary)
    world = _World(cpu, mm, entry, None, None, None, hva)
    if not state.has_notifiers:
        return world
    config = KvmConfig(
        tdp_mmu=state.tdp or not state.subscribed,
        ept=True,
        ad_bits=state.ad_bits or not state.subscribed,
        levels=2,
        level_bits=3,
    )
    slot = Memslot("slot", gfn, Pages(1), hva, level_bits=config.level_bits)
    kvm = new_kvm("kvm", mm, _OnePage(), protocol, KERNELS[protocol.profile or _KERNEL], config=config, slots=(slot,))
    vcpu = kvm.vcpus[0]
    cpu.run(kvm_create_vm(kvm))
    if not state.subscribed:
        cpu.run(kvm_destroy_vm(kvm))
        return world
    cpu.run(guest_access(vcpu, gfn, write=True))
    nested = GuestTables("l2", 1, guest_mode=True, span=8)
    if state.rmaps:
        cpu.run(nested_guest_start(vcpu, nested))
        cpu.run(guest_access(vcpu, gfn, write=True, nested=nested))
        if not state.shadow_pages:
            cpu.run(nested_guest_stop(kvm, nested))
    own = _leaf(kvm, vcpu.roots[0].value if state.tdp else kvm.direct_roots[0].value, gfn)
    nested_leaf = _leaf(kvm, nested.root.value, gfn)
    world.kvm = kvm
    world.fast = own if state.tdp else None
    world.slow = nested_leaf if state.tdp else own
    for cell, young in ((own, state.fast if state.tdp else state.slow), (nested_leaf, state.slow and state.tdp)):
        if cell is not None and not young:
            cell.value = mark_spte_for_access_track(kvm.format, cell.value)
    _check(world, state)
    return world


def _check(world: _World, state: State) -> None:
    """Did the guests bring the MMUs into the state that was asked for?"""
    kvm = world.kvm
    assert kvm is not None
    reached = (
        kvm.tdp_mmu_enabled,
        kvm.shadow_root_allocated.value,
        kvm.indirect_shadow_pages.value > 0,
        world.young(world.fast),
        world.young(world.slow),
    )
    wanted = (state.tdp, state.rmaps, state.shadow_pages, state.fast, state.slow)
    assert reached == wanted, f"the tiny host reached {reached}, not {wanted}"


def _ask(protocol: AgingProtocol, question: Question, world: _World, size: int) -> Step[tuple[bool, bool]]:
    """(young, look_around)."""
    if question == "target":
        verdict: Verdict = yield from protocol.target(world.mm, world.entry, world.hva, size)
        return verdict.referenced, verdict.look_around
    if question == "walk":
        return (yield from protocol.walk(world.mm, world.entry, world.hva, size)), False
    return (yield from protocol.neighbour(world.mm, world.entry, world.hva)), False


def _costs(counted: Counters) -> Costs:
    return Costs(
        notifier_calls=sum(n for name, n in counted.items() if name.startswith("__mmu_notifier_")),
        indirect_calls=counted["indirect_calls"],
        indirect_calls_saved=counted["indirect_calls_saved"],
        mmu_lock_write=counted["lock:mmu_lock:write"],
        mmu_lock_read=counted["lock:mmu_lock:read"],
        rmap_locks=counted["rmap_locks"],
        age_gfn=counted["kvm_age_gfn"] + counted["kvm_test_age_gfn"],
        tdp_walks=counted["kvm_tdp_mmu_age_gfn_range"] + counted["kvm_tdp_mmu_test_age_gfn"],
        rmap_walks=counted["kvm_rmap_age_gfn_range"],
        tlb_flushes=counted["tlb_flushes"],
    )


@contextmanager
def _running(protocol: AgingProtocol) -> Iterator[None]:
    """While a protocol's code runs, which may be a user's."""
    if file_of(type(protocol)) is None:
        yield
        return
    with users_code(type(protocol)):
        yield


def question_row(
    protocol: AgingProtocol, question: Question, state: State, size: int = PAGE_SIZE, *, place: _Place = _PLACE
) -> QuestionRow:
    """Ask one question in one state, about an entry that maps `size` bytes. What the VM has of them is one page, so that a young
    SPTE in a range is one SPTE here too."""
    with _running(protocol):
        world = _build(protocol, state, place)
        before = world.cpu.counters.snapshot()
        young, look_around = world.cpu.run(_ask(protocol, question, world, size))
    return QuestionRow(
        question,
        state,
        bool(young),
        bool(look_around),
        state.primary and not p.pte_young(world.entry.value),
        state.fast and not world.young(world.fast),
        state.slow and not world.young(world.slow),
        _costs(world.cpu.counters.since(before)),
    )


def age_row(protocol: AgingProtocol, state: State, op: str, *, fast_only: bool, place: _Place = _PLACE) -> AgeRow:
    """Call one young operation in one state, as the core mm does."""
    with _running(protocol):
        world = _build(protocol, state, place)
        before = world.cpu.counters.snapshot()
        answer = world.cpu.run(_call(protocol, world, op, fast_only=fast_only))
        counted = world.cpu.counters.since(before)
        skipped = not counted["indirect_calls"]
        young = bool(answer & YOUNG)
        flags = () if skipped else protocol.flags(answer, fast_only=fast_only)
    return AgeRow(
        tdp=state.tdp,
        rmaps=state.rmaps,
        shadow_pages=state.shadow_pages,
        fast=state.fast,
        slow=state.slow,
        op=op,
        fast_only=fast_only,
        young=young,
        flags=flags,
        locked=counted["lock:mmu_lock:write"] > 0,
        fast_cleared=state.fast and not world.young(world.fast),
        slow_cleared=state.slow and not world.young(world.slow),
        skipped=skipped,
    )


def _call(protocol: AgingProtocol, world: _World, op: str, *, fast_only: bool) -> Step[int]:
    """The young operation of mm/mmu_notifier.c."""
    mm, hva, end = world.mm, world.hva, Hva(world.hva + PAGE_SIZE)
    if fast_only and protocol.fast_op:
        return mmu_notifier.test_clear_young_fast_only(mm, hva, end, clear=op == "clear")
    if op == "clear":
        return mmu_notifier.clear_young(mm, hva, end, fast_only=fast_only, opt_in=protocol.opt_in)
    return mmu_notifier.test_young(mm, hva, fast_only=fast_only, opt_in=protocol.opt_in)


def protocol_table(protocol: AgingProtocol) -> ProtocolTable:
    """The whole truth table of a protocol. Raises InputError for a user's own whose answers depend on where the page lies."""
    table = _table_at(protocol, _PLACE)
    file = file_of(type(protocol))
    for place in ELSEWHERE if file else ():
        if _table_at(protocol, place) != table:
            raise InputError(
                f"{file}: {type(protocol).__name__} answers otherwise about a page at another address",
                hint="an answer may depend on accessed bits and on what MMUs a VM has, not on hva, gfn or rng: the compiled "
                "engine looks answers up (agewalk docs your-own-protocol)",
            )
    return table


def _table_at(protocol: AgingProtocol, place: _Place) -> ProtocolTable:
    asked: tuple[Question, ...] = QUESTIONS
    huge_asked: tuple[Question, ...] = HUGE_QUESTIONS
    rows = tuple(question_row(protocol, q, s, place=place) for q in asked for s in states())
    huge = tuple(question_row(protocol, q, s, 1 << PMD_SHIFT, place=place) for q in huge_asked for s in states())
    age = age_rows(protocol, place=place)
    return ProtocolTable(protocol.full_name, age, rows, tuple(sorted(protocol.mglru_changes().items())), huge)


def age_rows(protocol: AgingProtocol, *, ad_bits: bool = True, place: _Place = _PLACE) -> tuple[AgeRow, ...]:
    """Rows of `agewalk protocol table`, sorted. ad_bits: do SPTEs have hardware A/D bits?"""
    fast_only = (False, True) if protocol.fast_only else (False,)
    mmu_states = [s for s in states(ad_bits=(ad_bits,)) if s.subscribed and not s.primary]
    calls = [(s, op, f) for s in mmu_states for op in ("clear", "test") for f in fast_only]
    return tuple(sorted(age_row(protocol, s, op, fast_only=f, place=place) for s, op, f in calls))
