"""The programs of an experiment's threads: the model's generators in a loop, with marks around what is measured."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from agewalk.core.cells import Object
from agewalk.core.effects import Count, FetchAdd, Load, Step, Work
from agewalk.core.units import PAGE_SIZE, PTRS_PER_PTE, Hva
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import GuestTables, Vcpu
from agewalk.model.kvm.kvm_main import nested_guest_start
from agewalk.model.mglru.aging.generations import lru_gen_from_seq
from agewalk.model.mglru.commands import run_aging
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import folio_lru_gen
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import Mm, MmuNotifier, MmuNotifierOps, NotifierRange
from agewalk.model.mm.rmap import folio_referenced
from agewalk.timing.timing_effects import Begin, End, Gauge
from agewalk.timing.workloads.host import (
    PCP_BATCH,
    PER_TABLE,
    Host,
    look_up_vma,
    place_of_guest_table,
    refill_page_list,
    rest_of_fault,
)

STORM_PAGES: Final = PER_TABLE  # of one invalidation
SWAPPINESS: Final = 200


def populate(host: Host, vcpu: Vcpu) -> Step[None]:
    """Touch each page of the vCPU's region once, in order: the guest of access_tracking_perf_test."""
    for page in range(host.pages_per_vcpu):
        if page % PTRS_PER_PTE == 0:  # the CPU's walk of the guest's own tables goes through KVM's, too
            table = (vcpu.id * host.pages_per_vcpu + page) // PTRS_PER_PTE
            place = place_of_guest_table(table, host.pages_per_vcpu)
            yield from guest_access(vcpu, host.gfn(*place), write=True)
        yield from fault_in(host, vcpu, page)
    yield FetchAdd(host.running, -1)


def fault_in(host: Host, vcpu: Vcpu, page: int) -> Step[None]:
    """A page's first touch."""
    if page % PCP_BATCH == 0:
        yield from refill_page_list(host)
    yield Begin("fault")
    yield from look_up_vma(host)
    yield from guest_access(vcpu, host.gfn(vcpu.id, page), write=True)
    yield from rest_of_fault(host)
    yield End()


def touch(host: Host, vcpu: Vcpu) -> Step[None]:
    """Touch mapped memory as `Plan` says: `rounds` times, a hot share more often, `nested_share` of it from L2."""
    plan = host.plan
    draw = random.Random(plan.seed * 1009 + vcpu.id)
    pages = host.pages_per_vcpu
    hot = max(1, int(pages * plan.hot_share))
    nested_from = int(pages * (1 - plan.nested_share))
    tables: GuestTables | None = host.nested[vcpu.id] if host.nested else None
    for _ in range(int(plan.rounds * pages)):
        page = draw.randrange(hot) if draw.random() < plan.hot_touches else draw.randrange(pages)
        yield Work("guest_compute")
        yield Begin("touch")
        nested = tables if page >= nested_from else None
        yield from guest_access(vcpu, host.gfn(vcpu.id, page), write=bool(page & 1), nested=nested)
        yield End()
    yield FetchAdd(host.running, -1)


def prepare(host: Host) -> Step[None]:
    """Before `touch`: map every page in each MMU that will use it. Nothing is measured."""
    for vcpu in host.kvm.vcpus:
        nested_from = int(host.pages_per_vcpu * (1 - host.plan.nested_share))
        if host.nested:
            yield from nested_guest_start(vcpu, host.nested[vcpu.id])
        for page in range(host.pages_per_vcpu):
            yield from guest_access(vcpu, host.gfn(vcpu.id, page), write=True)
            if host.nested and page >= nested_from:
                yield from guest_access(vcpu, host.gfn(vcpu.id, page), write=True, nested=host.nested[vcpu.id])


def age_once(host: Host) -> Step[int]:
    """One `+` with force_scan, as the test writes it to lru_gen."""
    yield Begin("aging pass")
    yield Work("pass_overhead")
    seq: int = yield Load(host.lruvec.max_seq)
    result = yield from run_aging(host.lruvec, seq, SWAPPINESS, force_scan=True)
    yield End()
    young: int = yield Load(host.lruvec.nr_pages[lru_gen_from_seq(seq)][0])
    yield Gauge("pages found young", young)
    return result


def age_again(host: Host, times: int) -> Step[None]:
    """`times` passes, one after the other."""
    for _ in range(times):
        yield from age_once(host)


def age(host: Host) -> Step[None]:
    """Age in a loop while a vCPU runs; finish the pass that is under way when the last vCPU ends."""
    while (yield Load(host.running)) > 0:
        yield from age_once(host)


def evict(host: Host) -> Step[None]:
    """Call folio_referenced() for each page in the oldest generations, as eviction does, with look-around.

    Pages that a look-around has promoted are skipped, as sort_folio() does. No page is evicted, so that every protocol is asked
    about the same pages.
    """
    while (yield Load(host.running)) > 0:
        yield from age_once(host)
        yield Begin("eviction pass")
        max_seq: int = yield Load(host.lruvec.max_seq)
        young = lru_gen_from_seq(max_seq)
        for vcpu in range(len(host.kvm.vcpus)):
            for page in range(host.pages_per_vcpu):
                hva = host.hva(vcpu, page)
                entry: int = yield Load(host.mm.table_of((yield Load(host.mm.pmd_cell(hva)))).ptes[pte_index(hva)])
                if not p.pte_present(entry):
                    continue
                folio = host.memory.folio(p.pte_pfn(entry))
                flags: int = yield Load(folio.flags)
                if folio_lru_gen(flags) == young:
                    continue
                yield Begin("target")
                yield from folio_referenced(folio)
                yield End()
        yield End()


def storm(host: Host) -> Step[None]:
    """Invalidate a range again and again, as madvise(), NUMA balancing or KSM do to a VM."""
    draw = random.Random(host.plan.seed)
    while (yield Load(host.running)) > 0:
        yield Work("storm_pause")
        vcpu = draw.randrange(len(host.kvm.vcpus))
        page = draw.randrange(host.pages_per_vcpu // STORM_PAGES) * STORM_PAGES
        start = host.hva(vcpu, page)
        rng = NotifierRange(host.mm, start, Hva(start + STORM_PAGES * PAGE_SIZE))
        yield Begin("invalidation")
        yield from mmu_notifier.invalidate_range_start(rng)
        yield from mmu_notifier.invalidate_range_end(rng)
        yield End()


def _nothing(_sub: MmuNotifier, _mm: Mm, _start: Hva, _end: Hva, _fast_only: bool) -> Step[int]:
    yield Count("other_clear_young")
    return 0


def register_another(host: Host) -> Step[None]:
    """Register a second subscriber on the process's notifier list; its clear_young() finds no young page."""
    ops = MmuNotifierOps("other", clear_young=_nothing)
    yield from mmu_notifier.register(host.mm, MmuNotifier("other", ops, Object("driver")))


VCPU_PROGRAMS: Final[dict[str, Callable[[Host, Vcpu], Step[None]]]] = {"populate": populate, "touch": touch}
HOST_PROGRAMS: Final[dict[str, Callable[[Host], Step[None]]]] = {"age": age, "evict": evict, "storm": storm}
