"""What the threads of an experiment do: the model's generators in a loop, with marks around what is measured."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from agewalk.core.cells import Object
from agewalk.core.effects import Count, FetchAdd, Load, Step, Work
from agewalk.core.errors import ModelError
from agewalk.core.units import PAGE_SIZE, PTRS_PER_PTE, Hva
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm import GuestTables, Vcpu
from agewalk.model.kvm.kvm_main import nested_guest_start
from agewalk.model.mglru.commands import run_aging
from agewalk.model.mglru.gens import lru_gen_from_seq
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import folio_lru_gen
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import Mm, MmuNotifier, MmuNotifierOps, NotifierRange
from agewalk.model.mm.rmap import folio_referenced
from agewalk.timing.host import (
    PCP_BATCH,
    PER_TABLE,
    World,
    look_up_vma,
    place_of_guest_table,
    refill_page_list,
    rest_of_fault,
)
from agewalk.timing.timing_effects import Begin, End, Gauge

STORM_PAGES: Final = PER_TABLE  # of one invalidation
SWAPPINESS: Final = 200


def populate(world: World, vcpu: Vcpu) -> Step[None]:
    """Touch each page of the vCPU's region once, in order: the guest of access_tracking_perf_test."""
    for page in range(world.pages_per_vcpu):
        if page % PTRS_PER_PTE == 0:  # the CPU's walk of the guest's own tables goes through KVM's, too
            table = (vcpu.id * world.pages_per_vcpu + page) // PTRS_PER_PTE
            place = place_of_guest_table(table, world.pages_per_vcpu)
            yield from guest_access(vcpu, world.gfn(*place), write=True)
        yield from fault_in(world, vcpu, page)
    yield FetchAdd(world.running, -1)


def fault_in(world: World, vcpu: Vcpu, page: int) -> Step[None]:
    """A page's first touch."""
    if page % PCP_BATCH == 0:
        yield from refill_page_list(world)
    yield Begin("fault")
    yield from look_up_vma(world)
    yield from guest_access(vcpu, world.gfn(vcpu.id, page), write=True)
    yield from rest_of_fault(world)
    yield End()


def touch(world: World, vcpu: Vcpu) -> Step[None]:
    """Memory that is mapped already is touched, `rounds` times, a hot share more often; `nested_share` of it by L2."""
    plan = world.plan
    draw = random.Random(plan.seed * 1009 + vcpu.id)
    pages = world.pages_per_vcpu
    hot = max(1, int(pages * plan.hot_share))
    nested_from = int(pages * (1 - plan.nested_share))
    tables: GuestTables | None = world.nested[vcpu.id] if world.nested else None
    for _ in range(int(plan.rounds * pages)):
        page = draw.randrange(hot) if draw.random() < plan.hot_touches else draw.randrange(pages)
        yield Work("guest_compute")
        yield Begin("touch")
        nested = tables if page >= nested_from else None
        yield from guest_access(vcpu, world.gfn(vcpu.id, page), write=bool(page & 1), nested=nested)
        yield End()
    yield FetchAdd(world.running, -1)


def prepare(world: World) -> Step[None]:
    """Before `touch`: every page is there, in each MMU that will use it; nothing is measured."""
    for vcpu in world.kvm.vcpus:
        nested_from = int(world.pages_per_vcpu * (1 - world.plan.nested_share))
        if world.nested:
            yield from nested_guest_start(vcpu, world.nested[vcpu.id])
        for page in range(world.pages_per_vcpu):
            yield from guest_access(vcpu, world.gfn(vcpu.id, page), write=True)
            if world.nested and page >= nested_from:
                yield from guest_access(vcpu, world.gfn(vcpu.id, page), write=True, nested=world.nested[vcpu.id])


def age_once(world: World) -> Step[int]:
    """One `+` with force_scan, as the test writes it to lru_gen."""
    yield Begin("aging pass")
    yield Work("pass_overhead")
    seq: int = yield Load(world.lruvec.max_seq)
    result = yield from run_aging(world.lruvec, seq, SWAPPINESS, force_scan=True)
    yield End()
    young: int = yield Load(world.lruvec.nr_pages[lru_gen_from_seq(seq)][0])
    yield Gauge("pages found young", young)
    return result


def age_again(world: World, times: int) -> Step[None]:
    """So many passes, one after the other."""
    for _ in range(times):
        yield from age_once(world)


def age(world: World) -> Step[None]:
    """Age in a loop for as long as a vCPU runs; the pass that is under way then is finished."""
    while (yield Load(world.running)) > 0:
        yield from age_once(world)


def evict(world: World) -> Step[None]:
    """Ask about each page that lies in the oldest generations, as eviction does, and look around where it may.

    folio_referenced() and all below it; pages that a look-around has promoted meanwhile are passed over, as sort_folio()
    does. Nothing is taken away, so that every protocol meets the same pages.
    """
    while (yield Load(world.running)) > 0:
        yield from age_once(world)
        yield Begin("eviction pass")
        max_seq: int = yield Load(world.lruvec.max_seq)
        young = lru_gen_from_seq(max_seq)
        for vcpu in range(len(world.kvm.vcpus)):
            for page in range(world.pages_per_vcpu):
                hva = world.hva(vcpu, page)
                entry: int = yield Load(world.mm.table_of((yield Load(world.mm.pmd_cell(hva)))).ptes[pte_index(hva)])
                if not p.pte_present(entry):
                    continue
                folio = world.memory.folio(p.pte_pfn(entry))
                flags: int = yield Load(folio.flags)
                if folio_lru_gen(flags) == young:
                    continue
                yield Begin("target")
                yield from folio_referenced(folio)
                yield End()
        yield End()


def storm(world: World) -> Step[None]:
    """A thread of the process invalidates a range, again and again: what madvise(), NUMA balancing or KSM do to a VM."""
    draw = random.Random(world.plan.seed)
    while (yield Load(world.running)) > 0:
        yield Work("storm_pause")
        vcpu = draw.randrange(len(world.kvm.vcpus))
        page = draw.randrange(world.pages_per_vcpu // STORM_PAGES) * STORM_PAGES
        start = world.hva(vcpu, page)
        rng = NotifierRange(world.mm, start, Hva(start + STORM_PAGES * PAGE_SIZE))
        yield Begin("invalidation")
        yield from mmu_notifier.invalidate_range_start(rng)
        yield from mmu_notifier.invalidate_range_end(rng)
        yield End()


def _nothing(_sub: MmuNotifier, _mm: Mm, _start: Hva, _end: Hva, _fast_only: bool) -> Step[int]:
    yield Count("other_clear_young")
    return 0


def register_another(world: World) -> Step[None]:
    """A second subscriber on the process's notifier list: it has clear_young(), and finds nothing."""
    ops = MmuNotifierOps("other", clear_young=_nothing)
    yield from mmu_notifier.register(world.mm, MmuNotifier("other", ops, Object("driver")))


VCPU_BODIES: Final[dict[str, Callable[[World, Vcpu], Step[None]]]] = {"populate": populate, "touch": touch}
HOST_BODIES: Final[dict[str, Callable[[World], Step[None]]]] = {"age": age, "evict": evict, "storm": storm}


def check_result(results: list[object]) -> None:
    """All threads of an experiment end with nothing: a value would be an errno that nobody looked at."""
    if any(r is not None for r in results):
        raise ModelError(f"a thread ended with {results}", hint="an aging command was refused")
