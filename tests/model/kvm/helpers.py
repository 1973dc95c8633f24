"""A tiny host for KVM: one process, whose page i lives in frame 100 + i, and VMs on it."""

from __future__ import annotations

from typing import Any

from agewalk.core.direct import Direct
from agewalk.core.effects import Count, Step
from agewalk.core.units import PAGE_SHIFT, Gfn, Hva, Pages, Pfn
from agewalk.model.kvm.config import TDP, KvmConfig
from agewalk.model.kvm.features import KERNELS
from agewalk.model.kvm.host_memory import Gup
from agewalk.model.kvm.kvm_main import kvm_create_vm, new_kvm
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.mm.mm_types import Mm
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.linux_6_15 import Linux615

BASE = Hva(1 << 30)


class TinyHost:
    """HostMemory without page tables: every page is there, writable unless listed in `readonly`."""

    def __init__(self) -> None:
        self.accessed: list[int] = []
        self.dirty: list[int] = []
        self.readonly: set[int] = set()
        self.absent: set[int] = set()
        self.level = 1

    def page(self, hva: int) -> int:
        return int(hva - BASE) >> PAGE_SHIFT

    def get_user_page(self, mm: Mm, hva: Hva, write: bool) -> Step[Gup | None]:
        yield Count("gup")
        page = self.page(hva)
        return Gup(Pfn(512 * 8 + page), page not in self.readonly, self.level)

    def get_user_page_fast_only(self, mm: Mm, hva: Hva) -> Step[Gup | None]:
        yield Count("gup_fast")
        page = self.page(hva)
        if page in self.readonly or page in self.absent:
            return None
        return Gup(Pfn(512 * 8 + page), writable=True)

    def mark_page_accessed(self, pfn: Pfn) -> Step[None]:
        yield Count("mark_page_accessed")
        self.accessed.append(pfn - 512 * 8)

    def mark_page_dirty(self, pfn: Pfn) -> Step[None]:
        yield Count("mark_page_dirty")
        self.dirty.append(pfn - 512 * 8)


class World:
    """A VM with 2048 pages: gfn 512 + i is page i of the process."""

    def __init__(
        self,
        protocol: AgingProtocol | None = None,
        kernel: str = "6.18",
        config: KvmConfig = TDP,
        slots: tuple[tuple[int, int, int, int], ...] = ((512, 2048, 0, 0),),
        vcpus: int = 1,
        mm: Mm | None = None,
    ) -> None:
        self.cpu = Direct()
        self.host = TinyHost()
        self.mm = mm or Mm("mm")
        self.slots = tuple(
            Memslot(f"slot{n}", Gfn(gfn), Pages(pages), Hva(BASE + (page << PAGE_SHIFT)), as_id=as_id,
                    level_bits=config.level_bits)
            for n, (gfn, pages, page, as_id) in enumerate(slots)
        )  # fmt: skip
        self.kvm = new_kvm(
            "kvm", self.mm, self.host, protocol or Linux615(), KERNELS[kernel], config=config, slots=self.slots,
            vcpus=vcpus,
        )  # fmt: skip
        self.vcpu = self.kvm.vcpus[0]
        self.run(kvm_create_vm(self.kvm))

    def run(self, thread: Step[Any]) -> Any:
        return self.cpu.run(thread)

    def hva(self, page: int) -> Hva:
        return Hva(BASE + (page << PAGE_SHIFT))
