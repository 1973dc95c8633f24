"""A host for the timed executor: one VM, its process and MGLRU, built from the model's parts.

Each vCPU has a region of its own, 1 GiB apart from the next as in the published tests, so that page tables are shared
between vCPUs exactly where they are there. Scaling down takes pages from each table first (`PER_TABLE` are left of 512) and
tables only then: an ager holds a page table's lock while it reads the table, so how much of the memory lies behind one
lock decides how often a fault waits for it. Each table's used pages are a VMA of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from agewalk.core.cells import Cell, Lock, Object, Srcu
from agewalk.core.effects import READ, Acquire, FetchAdd, Load, Release, Step, Work
from agewalk.core.errors import UsageError
from agewalk.core.units import PAGE_SHIFT, PTRS_PER_PTE, Gfn, Hva, Pages, Pfn
from agewalk.model.kvm import features as kvm_features
from agewalk.model.kvm.config import TDP, KvmConfig
from agewalk.model.kvm.kvm_host import GuestTables, Kvm
from agewalk.model.kvm.kvm_main import kvm_create_vm, new_kvm
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.mglru.aging.mm_list import lru_gen_add_mm
from agewalk.model.mglru.features import MGLRU
from agewalk.model.mglru.lruvec import MglruLruvec
from agewalk.model.mm import features as mm_features
from agewalk.model.mm.faults.access import access
from agewalk.model.mm.faults.gup import HostPages
from agewalk.model.mm.mm import find_vma
from agewalk.model.mm.mm_types import Folio, Memory, Mm, Vma
from agewalk.model.protocols.base import AgingProtocol, one_protocol

REGION: Final = 1 << 18  # pages of 1 GiB
BASE: Final = 0x7F00_0000_0000
PER_TABLE: Final = 16
MOST_PAGES: Final = REGION // PTRS_PER_PTE * PER_TABLE - PER_TABLE
PCP_BATCH: Final = 63  # zone_batchsize(), mm/page_alloc.c, 6.12: pages that one trip to the zone's lock brings


@dataclass(frozen=True)
class Plan:
    """How memory that is mapped already is touched. rounds: touches, as a multiple of the pages. hot_touches: the share of the
    touches that hit the hot_share of the pages. nested_share: the share of the pages that a nested guest uses."""

    rounds: float = 2.0
    hot_share: float = 0.2
    hot_touches: float = 0.8
    nested_share: float = 0.0
    seed: int = 0


@dataclass
class Host:
    """The machine's memory, process and VM."""

    kvm: Kvm
    mm: Mm
    memory: Memory
    lruvec: MglruLruvec
    pages_per_vcpu: int
    zone: Lock
    running: Cell  # vCPUs that have not finished
    other: list[Cell]  # shared lines of a fault that the model does not name (cost fault.other_lines)
    visits: int  # how often a fault writes each of them (cost fault.other_visits)
    vma_lookups: int  # how often a fault takes mmap_lock before it asks for the page (cost fault.vma_lookups)
    plan: Plan = field(default_factory=Plan)
    nested: list[GuestTables] = field(default_factory=list)

    def gfn(self, vcpu: int, page: int) -> Gfn:
        """The guest frame of a vCPU's page number `page`."""
        return gfn_of(vcpu, page)

    def hva(self, vcpu: int, page: int) -> Hva:
        """The page's address in the process."""
        return hva_of(vcpu, page)


def gfn_of(vcpu: int, page: int) -> Gfn:
    """The guest frame of a vCPU's page number `page`."""
    return Gfn(vcpu * REGION + page // PER_TABLE * PTRS_PER_PTE + page % PER_TABLE)


def hva_of(vcpu: int, page: int) -> Hva:
    """The page's address in the process."""
    return Hva(BASE + (gfn_of(vcpu, page) << PAGE_SHIFT))


def guest_tables(pages: int) -> int:
    """Page tables of the guest itself for so many pages: the selftest builds them, from the host, before the guest runs
    (virt_map(), tools/testing/selftests/kvm). They are in a memslot, so aging finds them from its first pass on."""
    return -(-pages // PTRS_PER_PTE)


def place_of_guest_table(table: int, pages_per_vcpu: int) -> tuple[int, int]:
    """(vCPU, page number) at which guest page table number `table` lies: behind the pages of the first vCPU that needs it.
    Small regions share one, so that their share of the memory is the same at every scale."""
    vcpu = table * PTRS_PER_PTE // pages_per_vcpu
    first = -(-vcpu * pages_per_vcpu // PTRS_PER_PTE)
    return vcpu, pages_per_vcpu + min(table - first, PER_TABLE - 1)


def build(
    *,
    kernel: str,
    protocol: AgingProtocol,
    vcpus: int,
    pages_per_vcpu: int,
    config: KvmConfig = TDP,
    other_lines: int = 0,
    other_visits: int = 1,
    vma_lookups: int = 0,
    plan: Plan | None = None,
) -> Host:
    """A host with plenty of memory, before `boot`. other_*, vma_lookups: costs `fault.*`."""
    mem_map: dict[Pfn, Folio] = {}
    features = MGLRU[kernel]
    if not protocol.profile:  # as posted; a kernel's own protocol is timed on `kernel`, as all others are
        features = replace(features, **protocol.mglru_changes())
    lruvec = MglruLruvec("lruvec", features=features, protocol=protocol, mem_map=mem_map)
    frames = 4 * vcpus * pages_per_vcpu + (1 << 16)
    memory = Memory(mm_features.KERNELS[kernel], lruvec, mem_map, frames=frames)
    if pages_per_vcpu % PER_TABLE or not 0 < pages_per_vcpu <= MOST_PAGES:
        raise UsageError(
            f"{pages_per_vcpu} pages a vCPU cannot be laid out",
            hint=f"take a multiple of {PER_TABLE}, at most {MOST_PAGES}",
        )
    chunks = pages_per_vcpu // PER_TABLE + 1  # the last for the guest's own page tables
    used = (first + n * PTRS_PER_PTE for first in range(0, vcpus * REGION, REGION) for n in range(chunks))
    vmas = tuple(Vma(Hva(BASE + (a << PAGE_SHIFT)), Hva(BASE + (a + PER_TABLE << PAGE_SHIFT))) for a in used)
    mm = Mm("mm", vmas, Srcu("mmu_notifier.srcu"))
    slot = Memslot("slot0", Gfn(0), Pages(vcpus * REGION), Hva(BASE))
    kvm = new_kvm(
        "kvm", mm, HostPages(memory), protocol, kvm_features.KERNELS[kernel], config=config, slots=(slot,), vcpus=vcpus
    )
    one_protocol(lruvec.protocol, kvm.protocol)
    node = Object("node0")
    zone = Lock(node, "zone_lock")
    running = Cell(Object("test"), "running", vcpus)
    other = [Cell(Object(f"counter{n}"), "value", 0) for n in range(other_lines)]
    host = Host(
        kvm, mm, memory, lruvec, pages_per_vcpu, zone, running, other, other_visits, vma_lookups, plan or Plan()
    )
    if host.plan.nested_share:
        host.nested = [GuestTables(f"l2.{n}", n + 1, guest_mode=True) for n in range(vcpus)]
    return host


def boot(host: Host) -> Step[None]:
    """The VM is created and its guest has page tables; nothing else is mapped yet."""
    yield from kvm_create_vm(host.kvm)
    yield from lru_gen_add_mm(host.lruvec, host.mm)
    for table in range(guest_tables(len(host.kvm.vcpus) * host.pages_per_vcpu)):
        place = place_of_guest_table(table, host.pages_per_vcpu)
        yield from access(host.memory, host.mm, host.hva(*place), write=True)


# --- what the model of a fault leaves out ---------------------------------------------------------------------------------


def look_up_vma(host: Host) -> Step[None]:
    """What user_mem_abort() does first (arch/arm64/kvm/mmu.c, 6.1 to 6.12): the VMA, for its page size, under an mmap_lock
    that it gives back before hva_to_pfn() takes it again. x86 has no such step."""
    for _ in range(host.vma_lookups):
        yield Acquire(host.mm.mmap_lock, READ)
        find_vma((yield Load(host.mm.vmas)), host.hva(0, 0))
        yield Release(host.mm.mmap_lock, READ)


def rest_of_fault(host: Host) -> Step[None]:
    """The rest of a fault: local work, and atomics on counters that all CPUs share, each several times."""
    for _ in range(host.visits):
        for counter in host.other:
            yield FetchAdd(counter, 1)
        yield Work("rest_of_fault")


def refill_page_list(host: Host) -> Step[None]:
    """rmqueue_bulk(): the CPU's list of free pages is empty. It takes the zone lock, which the model
    does not have."""
    yield Acquire(host.zone)
    yield Work("rmqueue", PCP_BATCH)
    yield Release(host.zone)
