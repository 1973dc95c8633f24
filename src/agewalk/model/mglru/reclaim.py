"""shrink_folio_list(): the fate of isolated folios (mm/vmscan.c). Anonymous memory goes to synchronous swap (zram)."""

from __future__ import annotations

from enum import Enum, auto

from agewalk.core.effects import Count, FetchAnd, FetchOr, Load, Step
from agewalk.model.mglru.isolate import folio_evictable
from agewalk.model.mglru.promote import lru_gen_set_refs
from agewalk.model.mglru.scan_control import ScanControl
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm.folio import (
    ANON,
    PG_ACTIVE,
    PG_DIRTY,
    PG_LOCKED,
    PG_MLOCKED,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    Folio,
)


class FolioReferences(Enum):
    """enum folio_references."""

    RECLAIM = auto()
    KEEP = auto()
    ACTIVATE = auto()


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
        activate = yield from lru_gen_set_refs(lruvec, folio)
        return FolioReferences.ACTIVATE if activate else FolioReferences.KEEP
    yield FetchOr(folio.flags, PG_REFERENCED)
    return FolioReferences.ACTIVATE if referenced_folio or references > 1 else FolioReferences.KEEP


def shrink_folio_list(
    lruvec: LruGen, folios: list[Folio], sc: ScanControl, *, ignore_references: bool = False
) -> Step[tuple[int, list[Folio]]]:
    """shrink_folio_list(): from the tail of `folios` to its head. Answers (pages freed, folios that stay, in list order)."""
    yield Count("shrink_folio_list")
    reclaimed = 0
    stay: list[Folio] = []
    for folio in reversed(folios):
        if (yield FetchOr(folio.flags, PG_LOCKED)) & PG_LOCKED:  # folio_trylock()
            stay.insert(0, folio)
            continue
        sc.nr_scanned += folio.pages
        freed = yield from _shrink_folio(lruvec, folio, sc, ignore_references=ignore_references)
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


def _shrink_folio(lruvec: LruGen, folio: Folio, sc: ScanControl, *, ignore_references: bool) -> Step[bool]:
    """One locked folio: was it freed?"""
    flags: int = yield Load(folio.flags)
    mapped = bool((yield Load(folio.mappings)))
    if not folio_evictable(flags):
        return (yield from _activate(folio))
    if not sc.may_unmap and mapped:
        return False
    if (
        lruvec.features.keeps_referenced_mapped and not ignore_references and mapped and flags & PG_REFERENCED
    ):  # folio_update_gen() marked it while isolated
        return False
    if flags & PG_WRITEBACK:  # a second look at it comes when it is clean
        yield FetchOr(folio.flags, PG_RECLAIM)
        return (yield from _activate(folio))
    if not ignore_references:
        verdict = yield from folio_check_references(lruvec, folio, sc)
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
