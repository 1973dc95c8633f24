"""A witness's steps on the model: what the machine of that kernel and backing shows after each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agewalk.core.counters import Counters
from agewalk.core.units import Bytes, Pages
from agewalk.model.machine import Machine, PageView, Process, VirtualMachine
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol
from agewalk.study.witness.file import Step, Witness, slices

_FRAMES = Pages(1 << 19)  # 2 GiB, the larger of the two boots: far from any pressure
_RECORDER_PAGES = 8192  # the recorder's own memory (charged elsewhere): its buffers alone are 32 MiB
_PREEMPTED = frozenset(
    {"7.3"}
)  # kernels that took the CPU from the recorder between any two steps (docs/deviations.md)


@dataclass(frozen=True)
class Shown:
    """What the model shows after a step. taken: the first page of each folio that reclaim took, in order. ret: the command's
    answer, if it is one."""

    max_seq: int
    min_seq: tuple[int, int]
    pages: list[PageView]
    calls: Counters
    taken: list[int]
    ret: int


class Stage:
    """The machine of a witness, and what its steps do to it."""

    def __init__(self, witness: Witness, *, given: bool) -> None:
        kernel = profile(witness.profile)
        self.given = given
        self.machine = Machine(
            kernel, get_protocol(kernel.protocol), memory=_FRAMES, swappiness=witness.swappiness, schedules=False
        )
        self.process: Process = self.machine.add_process("witness", Pages(witness.pages), orders=witness.mthp_kb // 4)
        self.process.mm.other_anon_pages = _RECORDER_PAGES
        self.vms: dict[str, VirtualMachine] = {}
        if witness.backing != "host":
            for name in ("guest", "guest_b")[: witness.vms]:
                self.vms[name] = self.machine.start_vm(self.process, name, mmu=witness.backing)

    def drain(self) -> None:
        """lru_add_drain_all(), which the recorder calls before it reads. A recorder that does not sleep before each step is
        switched away from (lru_gen_use_mm()) if it has to wait for that, or is preempted."""
        machine = self.machine
        waits = machine.profile.mm.drain_all_by_work and machine.batched
        machine.drain()
        if waits or machine.profile.name in _PREEMPTED:
            machine.schedule_all()

    def do(self, step: Step) -> int:
        """One step; what a command answers."""
        op = step["op"]
        if op == "populate":
            self._touch(step["by"], range(self.process.pages), step["write"])
        elif op == "touch":
            self._touch(step["by"], slices(step["pages"]), step["write"])
        elif op == "age":
            return self.machine.age(force_scan=step["force_scan"], swappiness=step["can_swap"])
        elif op == "reclaim":
            return self.machine.reclaim(Bytes(step["bytes"]), exactly=self._exactly(step))
        elif op == "evict_cmd":
            return self.machine.evict(step["seq"], step["nr_to_reclaim"], step["swappiness"])
        elif op == "close_vm":
            self.machine.close_vm(self.vms[step["vm"]])
        return 0

    def _exactly(self, step: Step) -> Pages | None:
        taken = step.get("reclaimed_pages")
        return Pages(taken) if self.given and taken is not None else None

    def _touch(self, by: str, pages: Any, write: bool | str) -> None:
        machine = self.machine
        # rmw: one instruction that the emulated CPU carries out as a load and then a store, each with its fault
        accesses = (False, True) if write == "rmw" else (bool(write),)
        for page in pages:
            for store in accesses:
                if by == "host":
                    machine.touch_host(self.process, page, write=store)
                else:
                    machine.touch_guest(self.vms[by], page, write=store)


def replay(witness: Witness, *, given: bool) -> Iterator[Shown]:
    """The model's side of every step. given: reclaim takes as many pages as the recording says, instead of its own choice."""
    stage = Stage(witness, given=given)
    machine = stage.machine
    stage.drain()
    for step in witness.steps:
        if witness.schedules:
            machine.schedule_all()
        before = machine.counters.snapshot()
        ret = stage.do(step)
        calls = machine.counters.since(before)
        if step["op"] != "flush_tlb":
            stage.drain()
        taken = [page for _, page in machine.victims()]
        yield Shown(machine.max_seq, machine.min_seq, list(machine.view(stage.process)), calls, taken, ret)
