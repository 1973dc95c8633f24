"""A host of one kernel with one process, and short ways to look at it."""

from __future__ import annotations

from typing import Any

from agewalk.core.counters import Counters
from agewalk.core.units import Pages
from agewalk.model.machine import Machine, Process
from agewalk.model.machine.view import PageView, entry_of, folio_of, page_view
from agewalk.model.mm.mm_types import Folio
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol


class Host:
    """`pages` of memory in one process on a host that has `frames`."""

    def __init__(self, kernel: str = "6.12", pages: int = 64, *, frames: int = 4096, **options: Any) -> None:
        self.kernel = profile(kernel)
        self.machine = Machine(self.kernel, get_protocol(self.kernel.protocol), memory=Pages(frames))
        self.process: Process = self.machine.add_process("p", Pages(pages), **options)
        self.before: Counters = self.machine.counters.snapshot()

    def read(self, *pages: int) -> None:
        for page in pages:
            self.machine.touch_host(self.process, page, write=False)

    def write(self, *pages: int) -> None:
        for page in pages:
            self.machine.touch_host(self.process, page, write=True)

    def entry(self, page: int) -> int:
        return entry_of(self.process, page)

    def folio(self, page: int) -> Folio:
        folio = folio_of(self.machine.memory, self.process, page)
        assert folio is not None
        return folio

    def flags(self, page: int) -> int:
        return int(self.folio(page).flags.value)

    def see(self, page: int) -> PageView:
        return page_view(self.machine.memory, self.process, page, self.machine.max_seq)

    def counted(self) -> Counters:
        """What was counted since the last call."""
        now = self.machine.counters.snapshot()
        counted = now.since(self.before)
        self.before = now
        return counted

    def run(self, step: Any) -> Any:
        return self.machine.cpu.run(step)

    def swap_out(self, pages: int) -> None:
        """Three agings make everything old; then `pages` go."""
        self.machine.drain()
        for _ in range(3):
            self.machine.age()
        self.machine.reclaim(0, exactly=Pages(pages))  # type: ignore[arg-type]
        self.counted()
