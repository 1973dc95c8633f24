"""shrink_folio_list(): the fate of isolated folios (mm/vmscan.c). Anonymous memory goes to synchronous swap (zram)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from agewalk.core.effects import Count, FetchAdd, FetchAnd, FetchOr, Load, Step
from agewalk.model.mglru.aging.promote import lru_gen_set_refs
from agewalk.model.mglru.eviction.isolate import folio_evictable
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.flags import set_mask_bits
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm.folio import (
    ANON,
    FILE,
    PG_ACTIVE,
    PG_DIRTY,
    PG_LOCKED,
    PG_LRU,
    PG_MLOCKED,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_UNEVICTABLE,
    PG_WRITEBACK,
)
from agewalk.model.mm.mm import find_vma
from agewalk.model.mm.mm_types import Folio, Lruvec


class FolioReferences(Enum):
    """enum folio_references."""

    RECLAIM = auto()
    KEEP = auto()
    ACTIVATE = auto()


def is_exec_file_folio(folio: Folio) -> Step[bool]:
    """Does a process map this file folio to run it? The kernel asks the VMAs that referenced it, here all that map it."""
    if folio.type != FILE:
        return False
    for mm, address in (yield Load(folio.mappings)):
        vma = find_vma((yield Load(mm.vmas)), address)
        if vma is not None and vma.executable:
            return True
    return False


def folio_check_references(lruvec: LruGen, folio: Folio, sc: ScanControl) -> Step[FolioReferences]:
    """folio_check_references() under MGLRU: was it used since aging looked?"""
    yield Count("folio_referenced")
    references, locked = yield from sc.ops.folio_referenced(folio, sc.mm_walk)
    rework = lruvec.features.workingset_protection
    referenced_folio = not rework and bool((yield FetchAnd(folio.flags, ~PG_REFERENCED)) & PG_REFERENCED)
    if locked:
        return FolioReferences.ACTIVATE  # mlocked by now: goes to the unevictable list
    if references == -1:
        return FolioReferences.KEEP
    if not references:
        return FolioReferences.RECLAIM
    if rework:
        executable = lruvec.features.exec_activated_at_once and (yield from is_exec_file_folio(folio))
        activate = yield from lru_gen_set_refs(lruvec, folio, executable=executable)
        return FolioReferences.ACTIVATE if activate else FolioReferences.KEEP
    return (yield from _second_chance(folio, references, referenced_folio=referenced_folio))


def _second_chance(folio: Folio, references: int, *, referenced_folio: bool) -> Step[FolioReferences]:
    """A page table reference marks the folio; another one, or one through a second mapping, activates it; a program's file
    is activated at once."""
    yield FetchOr(folio.flags, PG_REFERENCED)
    if referenced_folio or references > 1 or (yield from is_exec_file_folio(folio)):
        return FolioReferences.ACTIVATE
    return FolioReferences.KEEP


def folio_check_references_two_lists(folio: Folio, sc: ScanControl) -> Step[FolioReferences]:
    """folio_check_references() without MGLRU."""
    yield Count("folio_referenced")
    references, locked = yield from sc.ops.folio_referenced(folio, None)
    referenced_folio = bool((yield FetchAnd(folio.flags, ~PG_REFERENCED)) & PG_REFERENCED)
    if locked:
        return FolioReferences.ACTIVATE
    if references == -1:
        return FolioReferences.KEEP
    if not references:
        return FolioReferences.RECLAIM
    return (yield from _second_chance(folio, references, referenced_folio=referenced_folio))


CheckReferences = Callable[[Folio, ScanControl], Step[FolioReferences]]


def shrink_folio_list(
    folios: list[Folio], sc: ScanControl, check: CheckReferences, *, keeps_promoted: bool = False
) -> Step[tuple[int, list[Folio]]]:
    """shrink_folio_list(): from the tail of `folios` to its head. Answers (pages freed, folios that stay, in list order).

    check: folio_check_references(), which differs between MGLRU and the two lists. keeps_promoted: a mapped folio with
    PG_referenced was promoted while it was isolated (MGLRU up to 6.13).
    """
    yield Count("shrink_folio_list")
    reclaimed = 0
    stay: list[Folio] = []
    for folio in reversed(folios):
        if (yield FetchOr(folio.flags, PG_LOCKED)) & PG_LOCKED:  # folio_trylock()
            stay.insert(0, folio)
            continue
        sc.nr_scanned += folio.pages
        freed = yield from _shrink_folio(folio, sc, check, keeps_promoted=keeps_promoted)
        if freed:
            reclaimed += folio.pages
            continue
        yield FetchAnd(folio.flags, ~PG_LOCKED)
        stay.insert(0, folio)
    return reclaimed, stay


def _activate(folio: Folio) -> Step[bool]:
    """The label activate_locked."""
    if not (yield Load(folio.flags)) & PG_MLOCKED:
        yield FetchOr(folio.flags, PG_ACTIVE)
    return False


def _shrink_folio(folio: Folio, sc: ScanControl, check: CheckReferences, *, keeps_promoted: bool) -> Step[bool]:
    """One locked folio: was it freed?"""
    flags: int = yield Load(folio.flags)
    mapped = bool((yield Load(folio.mappings)))
    if not folio_evictable(flags):
        return (yield from _activate(folio))
    if not sc.may_unmap and mapped:
        return False
    if keeps_promoted and mapped and flags & PG_REFERENCED:  # folio_update_gen() marked it while isolated
        return False
    if flags & PG_WRITEBACK:  # a second look at it comes when it is clean
        yield FetchOr(folio.flags, PG_RECLAIM)
        return (yield from _activate(folio))
    verdict = yield from check(folio, sc)
    if verdict is FolioReferences.ACTIVATE:
        return (yield from _activate(folio))
    if verdict is FolioReferences.KEEP:
        return False
    flags = yield Load(folio.flags)
    if folio.type == ANON and flags & PG_SWAPBACKED and not flags & PG_SWAPCACHE:
        if not sc.gfp_io:
            return False
        if not (yield from sc.ops.add_to_swap(folio)):
            return (yield from _activate(folio))
    if mapped:
        sc.taken.append(folio)
        if not (yield from sc.ops.try_to_unmap(folio)):
            sc.taken.pop()
            return (yield from _activate(folio))
    if (yield Load(folio.flags)) & PG_DIRTY:
        if folio.type != ANON:
            yield FetchOr(folio.flags, PG_RECLAIM)
            return (yield from _activate(folio))
        if not sc.gfp_io or not sc.may_writepage or not (yield from sc.ops.pageout(folio)):
            return False
    return (yield from sc.ops.remove_mapping(folio))


def move_folios_to_lru(lruvec: Lruvec, folios: list[Folio]) -> Step[int]:
    """move_folios_to_lru(), under lru_lock, from the tail of `folios` on. Answers the pages that went back as active."""
    active = 0
    for folio in reversed(folios):
        flags: int = yield Load(folio.flags)
        if not folio_evictable(flags):
            yield FetchOr(folio.flags, PG_UNEVICTABLE)  # folio_putback_lru()
            yield from set_mask_bits(folio.flags, PG_ACTIVE, PG_LRU)
        else:
            yield FetchOr(folio.flags, PG_LRU)
            active += folio.pages if flags & PG_ACTIVE else 0
            yield from lruvec.add_folio(folio)
        yield FetchAdd(folio.refcount, -1)
    return active
