"""A host of one process in one memcg, as small as MGLRU's own tests need it: faults, swap and rmap without batches."""

from __future__ import annotations

from typing import Any

from agewalk.core.direct import Direct
from agewalk.core.effects import Acquire, Count, FetchAnd, FetchOr, Load, Release, Step, Store
from agewalk.core.units import PAGE_SHIFT, Hva, Pfn
from agewalk.model.mglru import commands
from agewalk.model.mglru.aging import mm_list
from agewalk.model.mglru.aging.look_around import folio_referenced_pte, walk_of
from agewalk.model.mglru.eviction import reclaim
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.features import MGLRU, MglruFeatures
from agewalk.model.mglru.lruvec import MglruLruvec
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import PG_DIRTY, PG_LOCKED, PG_LRU, PG_SWAPCACHE
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import Folio, Mm, Vma
from agewalk.model.mm.pte import ptep_test_and_clear_young
from agewalk.model.protocols.base import AgingProtocol, Verdict

BASE = Hva(0x7F00_0000_0000)


class PrimaryOnly(AgingProtocol):
    """Up to 6.12: walks read the primary MMU alone; the target asks the secondary ones, with a flush."""

    name = "primary-only"

    def walk(self, mm: Mm, entry: Any, hva: Hva, size: int = 4096) -> Step[bool]:
        return (yield from ptep_test_and_clear_young(entry))

    def target(self, mm: Mm, entry: Any, hva: Hva, size: int = 4096) -> Step[Verdict]:
        primary = yield from ptep_test_and_clear_young(entry)
        secondary = yield from mmu_notifier.clear_flush_young(mm, hva, Hva(hva + size))
        return Verdict(primary or bool(secondary), primary)


class MiniHost:
    """`pages` of anonymous memory at BASE. All public methods run to completion on one CPU."""

    def __init__(self, kernel: str | MglruFeatures, pages: int, *, protocol: AgingProtocol | None = None) -> None:
        features = MGLRU[kernel] if isinstance(kernel, str) else kernel
        self.cpu = Direct()
        self.mem_map: dict[Pfn, Folio] = {}
        self.pages = pages
        self.mm = Mm("mm", (Vma(BASE, Hva(BASE + (pages << PAGE_SHIFT))),))
        self.lruvec = MglruLruvec(
            "lruvec",
            features=features,
            protocol=protocol or (AgingProtocol() if features.walk_notifies else PrimaryOnly()),
            mem_map=self.mem_map,
        )
        self.shadows: dict[int, int] = {}  # page -> shadow while swapped out
        self.page_of: dict[Folio, int] = {}
        self.next_pfn = 0
        self.free_slots = 1 << 20
        self.limits = (0, 0, 0)
        self.marks = (0, 1, 2)  # free, low, high
        self.run(mm_list.lru_gen_add_mm(self.lruvec, self.mm))

    def run(self, step: Step[Any]) -> Any:
        return self.cpu.run(step)

    def folio(self, page: int) -> Folio | None:
        """The folio of a resident page."""
        entry = self.pte(page).value
        return self.mem_map[p.pte_pfn(entry)] if p.pte_present(entry) else None

    def pte(self, page: int) -> Any:
        hva = Hva(BASE + (page << PAGE_SHIFT))
        cell = self.mm.pmd_cell(hva)
        if not cell.value:
            table = self.mm.new_table(hva)
            cell.value = p.make_pte(table.pfn, writable=True)
        return self.mm.table_of(cell.value).ptes[pte_index(hva)]

    # --- events

    def touch(self, *pages: int) -> None:
        for page in pages:
            cell = self.pte(page)
            if p.pte_present(cell.value):
                cell.value |= p.ACCESSED
            else:
                self.run(self._fault(page, cell))
            self.mm.pmd_cell(Hva(BASE + (page << PAGE_SHIFT))).value |= p.ACCESSED

    def age(self, *, force_scan: bool = True, swappiness: int = 1) -> int:
        self.mm.used_since_walk.value = True
        seq = self.lruvec.max_seq.value
        return int(self.run(commands.run_aging(self.lruvec, seq, swappiness, force_scan=force_scan)))

    def reclaim(self, size: int, *, exactly: int | None = None, scheduled: bool = True) -> list[int]:
        """Pages taken, in order. scheduled: the process ran since the last walk."""
        self.mm.used_since_walk.value |= scheduled
        _, sc = self.run(reclaim.memory_reclaim(self.lruvec, self, size, exactly=exactly))
        return self._taken(sc)

    def evict(self, seq: int, nr: int, swappiness: int = 200) -> list[int]:
        _, sc = self.run(commands.run_eviction(self.lruvec, self, seq, swappiness, nr))
        return self._taken(sc)

    def _taken(self, sc: ScanControl) -> list[int]:
        return [self.page_of[folio] for folio in sc.taken]

    # --- faults

    def _fault(self, page: int, cell: Any) -> Step[None]:
        pfn = Pfn(self.next_pfn)
        self.next_pfn += 1
        folio = Folio(pfn, self.lruvec)
        self.mem_map[pfn] = folio
        self.page_of[folio] = page
        if page in self.shadows:
            yield from self.lruvec.refault(folio, self.shadows.pop(page), in_fault=True)
            self.free_slots += 1
        yield Store(folio.mappings, ((self.mm, Hva(BASE + (page << PAGE_SHIFT))),))
        yield from self.lruvec.add_lru_in_fault(folio)
        yield Store(cell, p.make_pte(pfn, writable=True, dirty=True))
        yield Acquire(self.lruvec.lru_lock)
        yield FetchOr(folio.flags, PG_LRU)
        yield from self.lruvec.add_folio(folio)
        yield Release(self.lruvec.lru_lock)

    # --- ReclaimOps

    def folio_referenced(self, folio: Folio, mm_walk: Any) -> Step[tuple[int, bool]]:
        found = 0
        for mm, hva in (yield Load(folio.mappings)):
            vma = (yield Load(mm.vmas))[0]
            table = mm.table_of((yield Load(mm.pmd_cell(hva))))
            yield Acquire(table.ptl)
            found += yield from folio_referenced_pte(
                self.lruvec, walk_of(mm_walk), folio, mm, vma, table, table.ptl, hva
            )
            yield Release(table.ptl)
            if vma.locked:
                return found, True
        return found, False

    def add_to_swap(self, folio: Folio) -> Step[bool]:
        if not self.free_slots:
            return False
        self.free_slots -= 1
        yield FetchOr(folio.flags, PG_SWAPCACHE | PG_DIRTY)
        return True

    def try_to_unmap(self, folio: Folio) -> Step[bool]:
        yield Count("try_to_unmap_one")
        for mm, hva in (yield Load(folio.mappings)):
            table = mm.table_of((yield Load(mm.pmd_cell(hva))))
            yield Store(table.ptes[pte_index(hva)], p.make_swap_pte(self.page_of[folio]))
        yield Store(folio.mappings, ())
        return True

    def pageout(self, folio: Folio) -> Step[bool]:
        yield FetchAnd(folio.flags, ~PG_DIRTY)
        return True

    def remove_mapping(self, folio: Folio) -> Step[bool]:
        self.shadows[self.page_of[folio]] = yield from self.lruvec.eviction_shadow(folio)
        yield FetchAnd(folio.flags, ~(PG_SWAPCACHE | PG_LOCKED))
        del self.mem_map[folio.pfn]
        return True

    def free_swap_pages(self) -> Step[int]:
        yield Count("get_nr_swap_pages")
        return self.free_slots

    def lru_add_drain(self) -> Step[None]:
        yield Count("lru_add_drain")

    def lru_add_drain_all(self) -> Step[None]:
        yield Count("lru_add_drain")

    def below_min(self) -> Step[bool]:
        yield Count("below_min")
        return bool(self.limits[0]) and self.limits[2] <= self.limits[0]

    def below_low(self) -> Step[bool]:
        yield Count("below_low")
        return bool(self.limits[1]) and self.limits[2] <= self.limits[1]

    def protection(self) -> Step[tuple[int, int, int]]:
        yield Count("protection")
        return self.limits

    def watermarks(self) -> Step[tuple[int, int, int]]:
        yield Count("watermark")
        return self.marks
