"""mm/mlock.c: memory that must not be reclaimed. The per-CPU batches of mlock (5.18) are not modelled: lists change at once."""

from __future__ import annotations

from dataclasses import replace

from agewalk.core.effects import Acquire, FetchAnd, FetchOr, Load, Release, Step, Store
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import pte as p
from agewalk.model.mm.faults.handle_mm_fault import handle_mm_fault
from agewalk.model.mm.folio import PG_ACTIVE, PG_LRU, PG_MLOCKED, PG_UNEVICTABLE
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import Folio, Memory, Mm, Vma
from agewalk.model.mm.swap import lru_add_drain
from agewalk.model.mm.unmap import cut, file_page_at


def mlock(memory: Memory, mm: Mm, start: Hva, end: Hva, *, locked: bool = True) -> Step[None]:
    """mlock() of [start, end), or munlock() if not `locked`. mlock() also faults everything in (__mm_populate())."""
    yield Acquire(mm.mmap_lock)
    vmas: tuple[Vma, ...] = yield Load(mm.vmas)
    yield Store(mm.vmas, _with_flag(vmas, start, end, locked=locked))
    yield from lru_add_drain(memory)
    for vma in (yield Load(mm.vmas)):
        for address in range(max(start, vma.start), min(end, vma.end), PAGE_SIZE):
            folio = yield from _folio_at(memory, mm, Hva(address))
            if folio is None and locked:
                yield from handle_mm_fault(memory, mm, vma, Hva(address), write=vma.anon)
            elif folio is not None:
                yield from _set_mlocked(folio, locked=locked)
    yield Release(mm.mmap_lock)


def _with_flag(vmas: tuple[Vma, ...], start: Hva, end: Hva, *, locked: bool) -> tuple[Vma, ...]:
    """The VMAs split at `start` and `end`, what lies between with VM_LOCKED as wanted."""
    inside = [
        replace(
            vma,
            start=Hva(max(start, vma.start)),
            end=Hva(min(end, vma.end)),
            locked=locked,
            file_page=file_page_at(vma, Hva(max(start, vma.start))),
        )
        for vma in vmas
        if vma.start < end and start < vma.end
    ]
    return tuple(sorted((*cut(vmas, start, end), *inside), key=lambda vma: vma.start))


def _folio_at(memory: Memory, mm: Mm, address: Hva) -> Step[Folio | None]:
    pmd: int = yield Load(mm.pmd_cell(address))
    if not pmd & p.PRESENT:
        return None
    entry: int = pmd & ~p.PSE if pmd & p.PSE else (yield Load(mm.table_of(pmd).ptes[pte_index(address)]))
    return memory.folio(p.pte_pfn(entry)) if entry & p.PRESENT and not entry & p.SPECIAL else None


def _set_mlocked(folio: Folio, *, locked: bool) -> Step[None]:
    """mlock_folio() and munlock_folio(): off its list into the unevictable, or back (__mlock_folio(), __munlock_folio())."""
    if locked:
        yield FetchOr(folio.flags, PG_MLOCKED)
    else:
        yield FetchAnd(folio.flags, ~PG_MLOCKED)
    if (
        bool((yield Load(folio.flags)) & PG_UNEVICTABLE) == locked
        or not (yield FetchAnd(folio.flags, ~PG_LRU)) & PG_LRU
    ):
        return
    yield Acquire(folio.lruvec.lru_lock)
    yield from folio.lruvec.del_folio(folio)
    if locked:
        yield FetchAnd(folio.flags, ~PG_ACTIVE)
        yield FetchOr(folio.flags, PG_UNEVICTABLE)
    else:
        yield FetchAnd(folio.flags, ~PG_UNEVICTABLE)
    yield from folio.lruvec.add_folio(folio)
    yield FetchOr(folio.flags, PG_LRU)
    yield Release(folio.lruvec.lru_lock)
