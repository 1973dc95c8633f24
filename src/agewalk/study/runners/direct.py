"""A run on the direct reading: the model itself takes every access, one after the other. Slow, and the reference."""

from array import array
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agewalk.core.cells import Lock
from agewalk.core.direct import Direct
from agewalk.core.effects import WRITE, Step
from agewalk.core.units import PMD_SHIFT, PTRS_PER_PTE, Ns, Pages, pages_of
from agewalk.engine.quality import Sample, assess, total
from agewalk.model.machine import Machine, Process, VirtualMachine
from agewalk.model.machine.classic_host import TwoListMachine
from agewalk.model.machine.view import cached_folio, folio_of
from agewalk.model.mglru.aging.generations import MAX_NR_GENS
from agewalk.model.mm.folio import folio_lru_gen
from agewalk.model.mm.pte import PSE
from agewalk.study.costs import prices
from agewalk.study.job import BAND_EVICTIONS, BAND_LISTED, BAND_REFAULTS, BAND_YOUNG, HOT, TICK, Bands, Job
from agewalk.study.merge_traces import Accesses
from agewalk.study.quality import aging_numbers, trimmed
from agewalk.study.result import Measured, Member
from agewalk.trace import NESTED

T = TypeVar("T")
NOTIFIER = (
    "__mmu_notifier_clear_young",
    "__mmu_notifier_clear_flush_young",
    "__mmu_notifier_test_young",
    "__mmu_notifier_test_clear_young_fast_only",
)
ENTRIES_READ = ("ptes_walked", "pmds_walked", "ptes_looked_around", "folio_referenced_one")
NEVER = -(1 << 40)  # the last use of a page that came with a 2 MiB folio and was not touched


YOUNG_OPERATIONS = {"_ask", "test_young", "test_clear_young_fast_only"}  # generators of model/mm/mmu_notifier.py


class _Cpu(Direct):
    """Also counts how often aging takes mmu_lock for write: while the kernel function that runs was called by one of the
    young operations of mmu_notifier."""

    def __init__(self) -> None:
        super().__init__()
        self.aging_locks = 0
        self._thread: Any = None

    def run(self, thread: Step[T]) -> T:
        """Run a generator to its end."""
        self._thread = thread
        return super().run(thread)

    def hold(self, lock: Lock, mode: str) -> None:
        """Book a lock as taken."""
        super().hold(lock, mode)
        if mode == WRITE and lock.field == "mmu_lock":
            frame = self._thread
            while frame is not None and frame.gi_code.co_name not in YOUNG_OPERATIONS:
                frame = frame.gi_yieldfrom
            self.aging_locks += frame is not None


class _Truth:
    """What really happened to the pages of one space: the tick of each page's last use, who is resident (mapped), who was evicted
    (its folio freed) and when; and by band of pages, the columns of `Runner.bands`."""

    def __init__(self, pages: int, bands: int, shift: int) -> None:
        self.shift = shift
        self.bands = [[0, 0, 0, 0] for _ in range(bands)]
        self.since = array("q", bytes(8 * pages))
        self.used = array("q", [NEVER]) * pages
        self.resident = bytearray(pages)
        self.evicted = bytearray(pages)
        self.refaults = 0
        self.evictions = 0


class DirectRunner:
    """The model's machine with one process a member, and a VM in it unless the member is an ordinary process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        profile, protocol = job.policy.kernel, job.policy.made()
        memory = pages_of(job.memory)
        self.machine = (TwoListMachine if job.policy.baseline else Machine)(profile, protocol, memory=memory)
        self.cpu = self.machine.cpu = _Cpu()
        self.processes: list[Process] = []
        self.vms: list[VirtualMachine | None] = []
        for space in job.spaces:
            process = self.machine.add_process(space.name, Pages(space.pages), huge=space.huge, orders=space.orders)
            self.processes.append(process)
            vm = self.machine.start_vm(process, space.name, mmu=space.mmu, ad_bits=space.ad_bits) if space.mmu else None
            self.vms.append(vm)
        self._index = {process: i for i, process in enumerate(self.processes)}
        bands = Bands(job.spaces)
        self.truth = [
            _Truth(space.pages, *band) for space, *band in zip(job.spaces, bands.counts, bands.shifts, strict=True)
        ]
        self.intervals = [0] * 64
        self.every = None if job.policy.baseline else job.scenario.aging.every
        self.next_age = self.every
        self.samples: list[Sample] = []
        self.young = [0] * len(job.spaces)
        self.used = [0] * len(job.spaces)
        self.accesses = self.faults = self.hot_evictions = self.kvm_faults = self.passes = 0
        self._hot = -(-HOT // TICK)
        self._cold = -(-job.interval_ns // TICK)

    def feed(self, rows: Accesses) -> None:
        """Take the next accesses; agings that fall due come first."""
        machine = self.machine
        counters = machine.counters
        known = counters["kvm_mmu_page_fault"]
        columns = (rows.time_ns, rows.space, rows.page, rows.write, rows.context)
        for time, space, page, write, context in zip(*(column.tolist() for column in columns), strict=True):
            self._until(time)
            truth = self.truth[space]
            absent = not truth.resident[page]
            if absent:
                self.faults += 1
                if truth.evicted[page]:
                    truth.evicted[page] = 0
                    truth.refaults += 1
                    truth.bands[page >> truth.shift][BAND_REFAULTS] += 1
                    self.intervals[(time // TICK - truth.since[page]).bit_length()] += 1
            truth.used[page] = time // TICK
            vm = self.vms[space]
            if vm is None:
                machine.touch_host(self.processes[space], page, write=write)
            elif context == NESTED:
                machine.touch_nested(vm, page, write=write)
            elif context:
                machine.touch_host(self.processes[space], page, write=write)
            else:
                machine.touch_guest(vm, page, write=write)
            if absent:
                first, pages = self._came(space, page)
                truth.resident[first : first + pages] = b"\1" * pages
            if (
                counters["kvm_mmu_page_fault"] != known
            ):  # a retry within one access (RET_PF_RETRY) is no second exit here
                known = counters["kvm_mmu_page_fault"]
                self.kvm_faults += 1
            if machine.ops.unmapped or machine.ops.freed:
                self._gone(time // TICK)
        self.accesses += len(rows)

    def _came(self, space: int, page: int) -> tuple[int, int]:
        """What a fault brought in: (first page, pages)."""
        process = self.processes[space]
        pmd = process.mm.pmds.get(process.hva(page) >> PMD_SHIFT)
        if pmd is not None and pmd.value & PSE:
            return page - page % PTRS_PER_PTE, PTRS_PER_PTE
        folio = folio_of(self.machine.memory, process, page) if self.job.spaces[space].orders else None
        pages = folio.pages if folio is not None else 1
        return page - page % pages, pages

    def _until(self, time: int) -> None:
        while self.next_age is not None and self.every is not None and self.next_age <= time:
            self.machine.advance(self.next_age)
            self.machine.age()
            self._assess(self.next_age)
            self.next_age = Ns(self.next_age + self.every)
        if time != self.machine.now:
            self.machine.advance(Ns(time))

    def _gone(self, now: int) -> None:
        """Book what reclaim did. A page that it unmapped is not resident; one whose folio it freed is evicted. In between, while
        a CPU's batch holds it, the page is on a list and in the swap cache, and a fault that finds it there is no refault."""
        for process, page in self.machine.taken():
            self.truth[self._index[process]].resident[page] = 0
        for process, page in self.machine.freed():
            truth = self.truth[self._index[process]]
            truth.evicted[page] = 1
            truth.evictions += 1
            truth.since[page] = now
            truth.bands[page >> truth.shift][BAND_EVICTIONS] += 1
            self.hot_evictions += now - truth.used[page] < self._hot

    def _assess(self, time: int) -> None:
        """Compare the generations with the truth, over the pages that are on a list, mapped or not."""
        gens, ages = array("q"), array("q")
        now, youngest = time // TICK, self.machine.max_seq
        self.passes += 1
        longest = 8 * self._cold  # as the engine: what is idle for longer is equally old
        for i, process in enumerate(self.processes):
            used = self.truth[i].used
            before = len(gens)
            bands, shift = self.truth[i].bands, self.truth[i].shift
            for band in bands:
                band[BAND_LISTED] = band[BAND_YOUNG] = 0
            for page in range(process.pages):
                below = self._below(process, page, youngest)
                if below >= 0:
                    gens.append(below)
                    ages.append(min(now - used[page], longest))
                    bands[page >> shift][BAND_LISTED] += 1
                    bands[page >> shift][BAND_YOUNG] += below < 2
            self.young[i] += sum(gen < 2 for gen in gens[before:])
            self.used[i] += sum(age < self._cold for age in ages[before:])
        self.samples.append(assess(np.array(gens), np.array(ages), self._cold, time_ns=time))

    def _below(self, process: Process, page: int, youngest: int) -> int:
        """Generations below the youngest; -1: on no list."""
        folio = cached_folio(self.machine.memory, process, page)
        gen = folio_lru_gen(folio.flags.value) if folio is not None else -1
        return (youngest - gen) % MAX_NR_GENS if gen >= 0 else -1

    def bands(self) -> NDArray[np.int64]:
        """So far."""
        return np.array([band for truth in self.truth for band in truth.bands], np.int64)

    def finish(self) -> Measured:
        """The numbers of the whole run."""
        counters = self.machine.counters
        cost = prices(self.job.scenario.host.swap)
        quality = total(self.samples)
        refaults = sum(truth.refaults for truth in self.truth)
        passes = self.passes
        return Measured(
            accesses=self.accesses,
            faults=self.faults,
            refaults=refaults,
            evictions=sum(truth.evictions for truth in self.truth),
            hot_evictions=self.hot_evictions,
            vms=[
                Member(space.name, sum(t.resident), t.refaults, t.evictions, *(n // passes for n in sums if passes))
                for space, t, *sums in zip(self.job.spaces, self.truth, self.young, self.used, strict=True)
            ],
            cold_recall=quality.recall if quality else None,
            cold_precision=quality.precision if quality else None,
            age_rank_correlation=quality.rank_correlation if quality else None,
            ptes_walked=sum(counters[name] for name in ENTRIES_READ),
            notifier_calls=sum(counters[name] for name in NOTIFIER),
            mmu_lock_write_ns=cost.mmu_lock_write(self.cpu.aging_locks),
            vcpu_stall_ns=cost.vcpu_stall(
                kvm_faults=self.kvm_faults, refaults=refaults, swap_writes=counters["work:swap_write"]
            ),
            aging=aging_numbers(quality),
            refault_intervals=trimmed(self.intervals),
        )
