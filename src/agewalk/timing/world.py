"""A host for the timed reading: one VM, its process, MGLRU; built from the model's own parts, run by the model's generators.

Each vCPU has a region of its own, 1 GiB apart from the next as in the published tests, so that page tables are shared
between vCPUs exactly where they are there. Scaling down takes pages from each table first (`PER_TABLE` are left of 512) and
tables only then: an ager holds a page table's lock while it reads the table, so how much of the memory lies behind one
lock decides how often a fault meets it. A VMA for the pages that are used, in each table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from agewalk.core.cells import Cell, Lock, Object, Srcu
from agewalk.core.direct import Direct
from agewalk.core.effects import Acquire, FetchAdd, Load, Release, Step, Work
from agewalk.core.errors import UsageError
from agewalk.core.units import PAGE_SHIFT, PTRS_PER_PTE, Gfn, Hva, Pages, Pfn
from agewalk.model.kvm import features as kvm_features
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm import TDP, GuestTables, Kvm, KvmConfig, Vcpu
from agewalk.model.kvm.kvm_main import kvm_create_vm, new_kvm
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.mglru.commands import run_aging
from agewalk.model.mglru.features import MGLRU
from agewalk.model.mglru.lruvec import MglruLruvec
from agewalk.model.mglru.mm_list import lru_gen_add_mm
from agewalk.model.mm import features as mm_features
from agewalk.model.mm.folio import Folio
from agewalk.model.mm.gup import HostPages
from agewalk.model.mm.memory import Memory
from agewalk.model.mm.mm import Mm, Vma
from agewalk.model.protocols.base import AgingProtocol
from agewalk.timing.steps import Begin, End

REGION: Final = 1 << 18  # pages of 1 GiB
BASE: Final = 0x7F00_0000_0000
PER_TABLE: Final = 16
PCP_BATCH: Final = 63  # zone_batchsize(), mm/page_alloc.c, 6.12: pages that one trip to the zone's lock brings


@dataclass
class World:
    """What the threads of an experiment run on."""

    kvm: Kvm
    mm: Mm
    memory: Memory
    lruvec: MglruLruvec
    pages_per_vcpu: int
    zone: Lock
    running: Cell  # vCPUs that have not finished
    other: list[Cell]  # shared lines of a fault that the model does not name (cost fault.other_lines)
    nested: list[GuestTables] = field(default_factory=list)

    def gfn(self, vcpu: int, page: int) -> Gfn:
        """Page number `page` of those that a vCPU uses."""
        return Gfn(vcpu * REGION + page // PER_TABLE * PTRS_PER_PTE + page % PER_TABLE)

    def hva(self, vcpu: int, page: int) -> Hva:
        """Where that page is in the process."""
        return Hva(BASE + (self.gfn(vcpu, page) << PAGE_SHIFT))


def build(
    *,
    kernel: str,
    protocol: AgingProtocol,
    vcpus: int,
    pages_per_vcpu: int,
    config: KvmConfig = TDP,
    other_lines: int = 0,
) -> World:
    """Assemble a host with plenty of memory; nothing is mapped yet. other_lines: cost `fault.other_lines`."""
    mem_map: dict[Pfn, Folio] = {}
    lruvec = MglruLruvec("lruvec", features=MGLRU[kernel], protocol=protocol, mem_map=mem_map)
    frames = 4 * vcpus * pages_per_vcpu + (1 << 16)
    memory = Memory(mm_features.KERNELS[kernel], lruvec, mem_map, frames=frames)
    if pages_per_vcpu % PER_TABLE or not 0 < pages_per_vcpu <= REGION // PTRS_PER_PTE * PER_TABLE:
        raise UsageError(
            f"{pages_per_vcpu} pages a vCPU cannot be laid out",
            hint=f"take a multiple of {PER_TABLE}, at most {REGION // PTRS_PER_PTE * PER_TABLE}",
        )
    used = (first + n * PTRS_PER_PTE for first in range(0, vcpus * REGION, REGION) for n in range(pages_per_vcpu // PER_TABLE))
    vmas = tuple(Vma(Hva(BASE + (a << PAGE_SHIFT)), Hva(BASE + (a + PER_TABLE << PAGE_SHIFT))) for a in used)
    mm = Mm("mm", vmas, Srcu("mmu_notifier.srcu"))
    slot = Memslot("slot0", Gfn(0), Pages(vcpus * REGION), Hva(BASE))
    kvm = new_kvm(
        "kvm", mm, HostPages(memory), protocol, kvm_features.KERNELS[kernel], config=config, slots=(slot,), vcpus=vcpus
    )
    direct = Direct()
    direct.run(kvm_create_vm(kvm))
    direct.run(lru_gen_add_mm(lruvec, mm))
    node = Object("node0")
    zone = Lock(node, "zone_lock")
    running = Cell(Object("test"), "running", vcpus)
    other = [Cell(Object(f"counter{n}"), "value", 0) for n in range(other_lines)]
    return World(kvm, mm, memory, lruvec, pages_per_vcpu, zone, running, other)


# --- what threads do --------------------------------------------------------------------------------------------------


def populate(world: World, vcpu: Vcpu, *, write: bool = True) -> Step[None]:
    """A vCPU touches each page of its region once, in order: the `access_tracking_perf_test` guest."""
    for page in range(world.pages_per_vcpu):
        if page % PCP_BATCH == 0:
            yield from refill_page_list(world)
        yield Begin("fault")
        yield from guest_access(vcpu, world.gfn(vcpu.id, page), write=write)
        yield from rest_of_fault(world)
        yield End()
    yield FetchAdd(world.running, -1)


def rest_of_fault(world: World) -> Step[None]:
    """What a fault does beyond the model: local work, and atomics on counters that all CPUs share."""
    for counter in world.other:
        yield FetchAdd(counter, 1)
    yield Work("rest_of_fault")


def refill_page_list(world: World) -> Step[None]:
    """rmqueue_bulk(): the CPU's list of free pages is empty; the model's allocator knows no zone lock, so it is here."""
    yield Acquire(world.zone)
    yield Work("rmqueue", PCP_BATCH)
    yield Release(world.zone)


def age_once(world: World) -> Step[int]:
    """One `+` with force_scan, as the test writes it to lru_gen."""
    yield Begin("aging pass")
    yield Work("pass_overhead")
    seq: int = yield Load(world.lruvec.max_seq)
    result = yield from run_aging(world.lruvec, seq, 200, force_scan=True)
    yield End()
    return result


def age_until_done(world: World) -> Step[int]:
    """Age in a loop for as long as a vCPU runs; the pass that is under way then is finished. How many passes."""
    passes = 0
    while (yield Load(world.running)) > 0:
        yield from age_once(world)
        passes += 1
    return passes


def nothing(*_: Any) -> Step[None]:
    """No ager."""
    return
    yield
