"""A recorded workload on the model: the same accesses, kernel, cgroup and marks, and what the recorder itself does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agewalk.core.units import PAGE_SIZE, Pages, Pfn
from agewalk.model.classic_lru.lists import TwoListLruvec
from agewalk.model.machine import Machine, Process, VirtualMachine
from agewalk.model.machine.classic_host import TwoListMachine
from agewalk.model.mglru.lruvec import MglruLruvec
from agewalk.model.mm.memcontrol.memcg import Memcg
from agewalk.model.mm.mm_types import Folio, Lruvec
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol
from agewalk.study.workload.file import NEVER, RESIDENT, SWAPPED, Sample, Workload
from agewalk.study.workload.recorder import RecorderMemory, batch_fill, kernel_pages
from agewalk.trace import Trace

_FRAMES: Final = Pages(1 << 40)  # the machine has plenty: only the cgroup is short
_EVERY: Final = 2.0  # seconds of trace time between marks of a run that is not aged
_PAGES_A_TABLE: Final = 512
_STATES: Final = {(False, False): NEVER, (True, False): RESIDENT, (False, True): SWAPPED}


@dataclass(frozen=True)
class Accesses:
    """A trace as the recorder replays it: page and write of each access; how many come before each mark. The first touch of
    each page is a write."""

    pages: int
    page: npt.NDArray[np.int64]
    write: npt.NDArray[np.bool_]
    marks: tuple[int, ...]


def accesses_of(trace: Trace, every_s: float) -> Accesses:
    """All accesses of `trace`, in order, with a mark at each `every_s` seconds from its first access on."""
    columns = list(trace.batches())
    page = np.concatenate([batch.gfn for batch in columns]).astype(np.int64)
    write = np.concatenate([batch.write for batch in columns]).astype(bool)
    time = np.concatenate([batch.time_ns for batch in columns]).astype(np.int64)
    time -= time[0]
    write[np.unique(page, return_index=True)[1]] = True
    step = int(every_s * 1e9)
    marks = np.searchsorted(time, np.arange(step, int(time[-1]) + step, step))
    return Accesses(trace.meta.memory_bytes // PAGE_SIZE, page, write, tuple(int(at) for at in marks))


@dataclass(frozen=True)
class Outcome:
    """What the model did. series: at each mark and at the end, as the recorder reads it. states: of each page at the end."""

    series: tuple[Sample, ...]
    states: npt.NDArray[np.uint8]


class Stage:
    """The machine of a recorded workload: one process, or one VM, in a cgroup with a limit."""

    def __init__(self, cell: Workload, accesses: Accesses) -> None:
        kernel = profile(cell.kernel)
        kind = Machine if cell.lru_gen else TwoListMachine
        self.cell = cell
        self.machine = kind(kernel, get_protocol(kernel.protocol), memory=_FRAMES)
        self.process: Process = self.machine.add_process("workload", Pages(accesses.pages))
        self.own = RecorderMemory(self.machine, self.process, Pages(accesses.pages))
        self.vm: VirtualMachine | None = None
        if cell.backing != "host":
            self.vm = self.machine.start_vm(self.process, "guest", mmu=cell.backing)
        self.machine.enter(Memcg("memcg", limit=cell.memory_max))
        self.machine.charge(kernel_pages(kernel, cell.backing))
        self._others_in_batch(batch_fill(kernel, cell.backing))
        self.agings = 0
        self.start = (
            cell.series[0].pswpin if not cell.series[0].pgsteal else 0
        )  # the run before this one read pages back last

    def _others_in_batch(self, folios: int) -> None:
        """The CPU's batch of new folios holds `folios` of another memcg when the run begins."""
        machine = self.machine
        other: Lruvec
        if isinstance(machine, TwoListMachine):
            other = TwoListLruvec("others", protocol=machine.protocol)
        else:
            lruvec = machine.lruvec
            other = MglruLruvec("others", features=lruvec.features, protocol=machine.protocol, mem_map={})
        other.memory = machine.memory
        batch = tuple(Folio(Pfn((1 << 40) + i), other) for i in range(folios))
        for folio in batch:
            folio.refcount.value = 2  # the batch's and that of a process that keeps it
        machine.memory.batches.lru_add.value = batch

    def touch(self, page: int, *, write: bool) -> None:
        """The guest's access, or the process's."""
        if self.vm is None:
            self.machine.touch_host(self.process, page, write=write)
        else:
            self.machine.touch_guest(self.vm, page, write=write)

    def mark(self) -> None:
        """Age, if the run is aged. System calls behind it find the recorder's page in the TLB, which aging does not flush: they
        set no accessed bit."""
        if self.cell.aging_every_s is not None:
            if self.cell.lru_gen:
                self.machine.age(force_scan=True)
            self.agings += 1

    def read(self, accesses: int) -> Sample:
        """The counters as the recorder reads and prints them."""
        machine = self.machine
        refaults = machine.counters["do_swap_page"]
        sample = Sample(
            accesses=accesses,
            agings=self.agings,
            workingset_refault_anon=refaults,
            pgsteal=len(machine.ops.freed),
            pgscan=0,
            anon_pages=sum(view.seq is not None for view in machine.view(self.process)),
            pswpin=self.start + refaults - self.own.zeroes_back,
        )
        self.own.print()
        return sample

    def states(self) -> Iterator[npt.NDArray[np.uint8]]:
        """States of all pages, read table by table into a buffer that takes memory of the cgroup meanwhile."""
        self.own.make_buffer()
        for table in range(-(-self.process.pages // _PAGES_A_TABLE)):
            views = list(self.machine.view(self.process))[table * _PAGES_A_TABLE : (table + 1) * _PAGES_A_TABLE]
            yield np.array([_STATES[view.seq is not None, bool(view.swapped)] for view in views], dtype=np.uint8)
            self.own.fill_buffer(table)


def replay(cell: Workload, trace: Trace) -> Outcome:
    """Run the model through a recorded workload."""
    accesses = accesses_of(trace, cell.aging_every_s or _EVERY)
    stage = Stage(cell, accesses)
    series = []
    done = 0
    for mark in (*accesses.marks, None):
        to = len(accesses.page) if mark is None else mark
        for page, write in zip(accesses.page[done:to].tolist(), accesses.write[done:to].tolist(), strict=True):
            stage.touch(page, write=write)
        done = to
        stage.own.system_call()
        if mark is not None:
            stage.mark()
        series.append(stage.read(done))
    return Outcome(tuple(series), np.concatenate(list(stage.states())))


__all__ = ["Accesses", "Outcome", "Stage", "accesses_of", "replay"]
