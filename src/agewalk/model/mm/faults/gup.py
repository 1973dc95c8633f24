"""mm/gup.c as KVM uses it: the page behind an address of its process (virt/kvm/kvm_main.c, hva_to_pfn()).

`HostMemory` of `agewalk.model.kvm.host_memory`, for a host with page tables and folios.
"""

from __future__ import annotations

from agewalk.core.effects import READ, Acquire, Again, Count, FetchOr, Load, Release, Step
from agewalk.core.units import PAGE_SHIFT, PMD_SHIFT, Hva, Pfn
from agewalk.model.kvm.host_memory import Gup
from agewalk.model.mm import pte as p
from agewalk.model.mm.faults.handle_mm_fault import handle_mm_fault
from agewalk.model.mm.folio import PG_DIRTY, PG_REFERENCED
from agewalk.model.mm.mm import find_vma, pte_index
from agewalk.model.mm.mm_types import Memory, Mm
from agewalk.model.mm.swap import folio_mark_accessed

_HUGE_LEVEL = 2  # PG_LEVEL_2M
_PAGES_OF_PMD = 1 << PMD_SHIFT - PAGE_SHIFT


class HostPages:
    """The side of mm/ that KVM calls."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def get_user_page(self, mm: Mm, hva: Hva, write: bool) -> Step[Gup | None]:
        """hva_to_pfn(): without faulting if the page is mapped writable, else with; a page read is offered as writable if its
        entry is so by then. None: no VMA is there."""
        found = yield from self.get_user_page_fast_only(mm, hva)
        if found is not None:
            return found
        yield Acquire(mm.mmap_lock, READ)
        found = yield from self._get_user_pages_unlocked(mm, hva, write)
        yield Release(mm.mmap_lock, READ)
        if found is None or write:
            return found
        writable = yield from self.get_user_page_fast_only(mm, hva)
        return writable or found

    def get_user_page_fast_only(self, mm: Mm, hva: Hva) -> Step[Gup | None]:
        """get_user_page_fast_only(FOLL_WRITE): lockless; only an entry that may be written will do. PG_referenced is set, but not
        as an access is marked (gup_fast_pte_range() and its like: folio_set_referenced(), 6.1 to 7.3)."""
        entry, level = yield from _entry(mm, hva)
        if not entry & p.PRESENT or not entry & p.RW or entry & p.SPECIAL:
            return None
        pfn = _frame(entry, level, hva)
        yield FetchOr(self.memory.folio(pfn).flags, PG_REFERENCED)
        return Gup(pfn, writable=True, level=level)

    def _get_user_pages_unlocked(self, mm: Mm, hva: Hva, write: bool) -> Step[Gup | None]:
        """__get_user_pages() of one page with FOLL_TOUCH, mmap_lock held: fault until follow_page_pte() finds it."""
        vma = find_vma((yield Load(mm.vmas)), hva)
        if vma is None or vma.inaccessible:
            return None
        while True:
            entry, level = yield from _entry(mm, hva)
            if entry & p.PRESENT and (entry & p.RW or not write):
                break
            yield from handle_mm_fault(self.memory, mm, vma, hva, write=write)
            yield Again("__get_user_pages", hva, write)
        pfn = _frame(entry, level, hva)
        folio = self.memory.folio(pfn)
        if write and not entry & p.DIRTY and not (yield Load(folio.flags)) & PG_DIRTY:
            yield FetchOr(folio.flags, PG_DIRTY)
        if not self.memory.features.gup_marks_folio:
            yield Count("mark_page_accessed")
        yield from folio_mark_accessed(folio)
        return Gup(pfn, writable=write, level=level)

    def mark_page_accessed(self, pfn: Pfn) -> Step[None]:
        """mark_page_accessed()."""
        yield Count("mark_page_accessed")
        yield from folio_mark_accessed(self.memory.folio(pfn))

    def mark_page_dirty(self, pfn: Pfn) -> Step[None]:
        """SetPageDirty()."""
        yield FetchOr(self.memory.folio(pfn).flags, PG_DIRTY)


def _entry(mm: Mm, hva: Hva) -> Step[tuple[int, int]]:
    """The leaf entry for `hva` and its level, 0 if there is none."""
    pmd: int = yield Load(mm.pmd_cell(hva))
    if not pmd & p.PRESENT:
        return 0, 1
    if pmd & p.PSE:
        return pmd, _HUGE_LEVEL
    entry: int = yield Load(mm.table_of(pmd).ptes[pte_index(hva)])
    return entry, 1


def _frame(entry: int, level: int, hva: Hva) -> Pfn:
    frame = p.pte_pfn(entry)
    return Pfn(frame + (hva >> PAGE_SHIFT) % _PAGES_OF_PMD) if level == _HUGE_LEVEL else frame
