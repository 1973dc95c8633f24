"""What MGLRU's reclaim asks of the rest of mm (`ReclaimOps`), answered by a host's memory."""

from __future__ import annotations

from typing import Any

from agewalk.core.effects import Load, Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import rmap, swap, swapfile
from agewalk.model.mm.mm_types import Folio, Memory, Mm


class HostOps:
    """ReclaimOps of one host. No memcg limits: memory.min and memory.low are 0.

    victims: the first page of each folio that reclaim unmapped, in order.

    unmapped: the 4 KiB pages that reclaim took away, in order; freed: those whose folios it freed after that, which it does not
    do while they are referenced. What the machine reports and forgets after each event.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.victims: list[tuple[Mm, Hva]] = []
        self.unmapped: list[tuple[Mm, Hva]] = []
        self.freed: list[tuple[Mm, Hva]] = []
        self._was_mapped: dict[Folio, list[tuple[Mm, Hva]]] = {}  # what unmapping it, most recently, took away

    def folio_referenced(self, folio: Folio, mm_walk: Any) -> Step[tuple[int, bool]]:
        """folio_referenced()."""
        return (yield from rmap.folio_referenced(folio, mm_walk))

    def add_to_swap(self, folio: Folio) -> Step[bool]:
        """add_to_swap()."""
        return (yield from swapfile.add_to_swap(self.memory, folio))

    def try_to_unmap(self, folio: Folio) -> Step[bool]:
        """try_to_unmap(); it notes what was mapped."""
        mappings = yield Load(folio.mappings)
        done = yield from rmap.try_to_unmap(self.memory, folio)
        if done:
            pages = [(mm, Hva(start + i * PAGE_SIZE)) for mm, start in mappings for i in range(folio.pages)]
            self._was_mapped[folio] = pages
            self.victims.extend(mappings)
            self.unmapped.extend(pages)
        return done

    def pageout(self, folio: Folio) -> Step[bool]:
        """pageout(); TLBs are flushed before anything is written (try_to_unmap_flush_dirty())."""
        yield from rmap.try_to_unmap_flush(self.memory)
        return (yield from swapfile.pageout(folio))

    def remove_mapping(self, folio: Folio) -> Step[bool]:
        """__remove_mapping(), and the free that follows."""
        yield from rmap.try_to_unmap_flush(self.memory)
        done = yield from swapfile.remove_mapping(self.memory, folio)
        if done:
            self.freed.extend(self._was_mapped.pop(folio, ()))
        return done

    def free_swap_pages(self) -> Step[int]:
        """get_nr_swap_pages()."""
        return (yield from swapfile.get_nr_swap_pages(self.memory))

    def lru_add_drain(self) -> Step[None]:
        """lru_add_drain()."""
        yield from swap.lru_add_drain(self.memory)

    def lru_add_drain_all(self) -> Step[None]:
        """lru_add_drain_all(): there is one CPU's batches to drain."""
        yield from swap.lru_add_drain(self.memory)

    def below_min(self) -> Step[bool]:
        """mem_cgroup_below_min()."""
        return False
        yield

    def below_low(self) -> Step[bool]:
        """mem_cgroup_below_low()."""
        return False
        yield

    def watermarks(self) -> Step[tuple[int, int, int]]:
        """Free frames, and the watermarks low and high."""
        free: int = yield Load(self.memory.free)
        return free, self.memory.low, self.memory.high

    def protection(self) -> Step[tuple[int, int, int]]:
        """mem_cgroup_protection(): none."""
        return 0, 0, self.memory.frames
        yield
