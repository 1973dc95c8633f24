"""Reclaim from the classic lists: how much of which, deactivation, eviction (mm/vmscan.c, 6.12, lru_gen off)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt

from agewalk.core.effects import Acquire, Again, Count, FetchAdd, FetchAnd, FetchOr, ListEnd, Load, Release, Step, Store
from agewalk.core.units import PAGE_SHIFT
from agewalk.model.classic_lru.lists import ACTIVE, INACTIVE, TwoListLruvec
from agewalk.model.mglru import lists
from agewalk.model.mglru.aging.generations import DEF_PRIORITY, MAX_SWAPPINESS, SWAP_CLUSTER_MAX, TYPES
from agewalk.model.mglru.eviction.isolate import folio_evictable
from agewalk.model.mglru.eviction.nr_to_scan import apply_proportional_protection
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.eviction.shrink_folio_list import (
    folio_check_references_two_lists,
    is_exec_file_folio,
    move_folios_to_lru,
    shrink_folio_list,
)
from agewalk.model.mm.folio import ANON, FILE, PG_ACTIVE, PG_LRU, PG_UNEVICTABLE, PG_WORKINGSET
from agewalk.model.mm.mm_types import Folio


@dataclass
class Balance:
    """What prepare_scan_control() found: which types may be deactivated, is inactive page cache enough (cache_trim_mode),
    and what each type cost lately."""

    may_deactivate: list[bool] = field(default_factory=lambda: [True, True])
    cache_trim_mode: bool = False
    cost: tuple[int, int] = (0, 0)
    skipped_deactivate: bool = False


def inactive_ratio(pages: int) -> int:
    """The factor by which the active list may outgrow the inactive one: 1 below 1 GiB, sqrt(10 * GiB) above."""
    gib = pages >> 30 - PAGE_SHIFT
    return isqrt(10 * gib) if gib else 1


def inactive_is_low(lruvec: TwoListLruvec, type_: int) -> Step[bool]:
    """inactive_is_low(): time to deactivate?"""
    inactive: int = yield Load(lruvec.sizes[type_][INACTIVE])
    active: int = yield Load(lruvec.sizes[type_][ACTIVE])
    return inactive * inactive_ratio(inactive + active) < active


def prepare_scan_control(lruvec: TwoListLruvec, sc: ScanControl, *, force_deactivate: bool) -> Step[Balance]:
    """prepare_scan_control(): the active lists are left alone while nothing that was activated refaults."""
    balance = Balance(cost=((yield Load(lruvec.cost[ANON])), (yield Load(lruvec.cost[FILE]))))
    if not force_deactivate:
        for type_ in TYPES:
            moved = (yield Load(lruvec.activations[type_])) != (yield Load(lruvec.refaults[type_]))
            balance.may_deactivate[type_] = moved or (yield from inactive_is_low(lruvec, type_))
    file: int = yield Load(lruvec.sizes[FILE][INACTIVE])
    balance.cache_trim_mode = bool(file >> sc.priority) and not balance.may_deactivate[FILE]
    return balance


def scan_fractions(swappiness: int, cost: tuple[int, int]) -> tuple[int, int]:
    """calculate_pressure_balance(): shares of anon and file, by swappiness and inverse cost."""
    total = sum(cost)
    weighed = [total + c for c in cost]
    whole = sum(weighed)
    anon, file = (
        share * (whole + 1) // (weight + 1)
        for share, weight in zip((swappiness, MAX_SWAPPINESS - swappiness), weighed, strict=True)
    )
    return anon, file


def get_scan_count(lruvec: TwoListLruvec, sc: ScanControl, balance: Balance) -> Step[list[list[int]]]:
    """get_scan_count(): pages to scan by [type][INACTIVE or ACTIVE] at this priority."""
    no_swap = not sc.may_swap or (yield from sc.ops.free_swap_pages()) <= 0
    fractions = scan_fractions(sc.swappiness, balance.cost)
    protection = yield from sc.ops.protection()
    counts = [[0, 0], [0, 0]]
    for type_ in TYPES:
        for which in (INACTIVE, ACTIVE):
            size: int = yield Load(lruvec.sizes[type_][which])
            scan = apply_proportional_protection(sc, size, protection) >> sc.priority
            if no_swap or (sc.target_memcg and not sc.swappiness):
                scan = scan if type_ == FILE else 0
            elif sc.priority or not sc.swappiness:
                if balance.cache_trim_mode:
                    scan = scan if type_ == FILE else 0
                else:
                    scan = scan * fractions[type_] // sum(fractions)
            counts[type_][which] = scan
    return counts


def isolate_lru_folios(lruvec: TwoListLruvec, type_: int, which: int, nr_to_scan: int) -> Step[list[Folio]]:
    """isolate_lru_folios(), under lru_lock: from the tail; in list order, the first isolated last."""
    taken: list[Folio] = []
    scanned = pages = 0
    head = lruvec.lists[type_][which]
    while scanned < nr_to_scan:
        folio: Folio | None = yield ListEnd(head)
        if folio is None:
            break
        scanned += folio.pages
        if (yield FetchAnd(folio.flags, ~PG_LRU)) & PG_LRU:
            yield FetchAdd(folio.refcount, 1)
            yield from lists.list_del(folio)
            taken.insert(0, folio)
            pages += folio.pages
        else:
            yield from lists.list_move(head, folio)  # raced with another isolation
    yield from lruvec.resize(type_, which, -pages)
    return taken


def shrink_inactive_list(lruvec: TwoListLruvec, sc: ScanControl, type_: int, nr_to_scan: int) -> Step[int]:
    """shrink_inactive_list(): pages reclaimed."""
    yield Count("shrink_inactive_list")
    yield from sc.ops.lru_add_drain()
    yield Acquire(lruvec.lru_lock)
    folios = yield from isolate_lru_folios(lruvec, type_, INACTIVE, nr_to_scan)
    yield Release(lruvec.lru_lock)
    if not folios:
        return 0
    scanned = sum(folio.pages for folio in folios)
    reclaimed, rest = yield from shrink_folio_list(folios, sc, folio_check_references_two_lists)
    yield Acquire(lruvec.lru_lock)
    activated = yield from move_folios_to_lru(lruvec, rest)
    yield Release(lruvec.lru_lock)
    yield FetchAdd(lruvec.nonresident_age, activated)  # workingset_age_nonresident()
    yield from lruvec.note_cost(type_, reclaimed * SWAP_CLUSTER_MAX * (type_ == ANON) + scanned - reclaimed)
    return reclaimed


def shrink_active_list(lruvec: TwoListLruvec, sc: ScanControl, type_: int, nr_to_scan: int) -> Step[None]:
    """shrink_active_list(): back to the inactive list, accessed bits cleared on the way; only programs that ran are spared."""
    yield Count("shrink_active_list")
    yield from sc.ops.lru_add_drain()
    yield Acquire(lruvec.lru_lock)
    folios = yield from isolate_lru_folios(lruvec, type_, ACTIVE, nr_to_scan)
    yield Release(lruvec.lru_lock)
    active: list[Folio] = []
    inactive: list[Folio] = []
    for folio in reversed(folios):
        if folio_evictable((yield Load(folio.flags))):
            references, _ = yield from sc.ops.folio_referenced(folio, None)
            if references and (yield from is_exec_file_folio(folio)):
                active.insert(0, folio)
                continue
            yield FetchAnd(folio.flags, ~PG_ACTIVE)
            yield FetchOr(folio.flags, PG_WORKINGSET)
        else:
            yield FetchOr(folio.flags, PG_UNEVICTABLE)
        inactive.insert(0, folio)
    yield Acquire(lruvec.lru_lock)
    yield from move_folios_to_lru(lruvec, active)
    yield from move_folios_to_lru(lruvec, inactive)
    yield Release(lruvec.lru_lock)


def shrink_lruvec(lruvec: TwoListLruvec, sc: ScanControl, balance: Balance) -> Step[None]:
    """shrink_lruvec(): each list its share, 32 pages at a time; once enough is reclaimed the type that has less left stops and
    the other goes on to the same proportion."""
    counts = yield from get_scan_count(lruvec, sc, balance)
    targets = [list(row) for row in counts]
    reclaimed = 0
    proportional = not sc.target_memcg and not sc.kswapd and sc.priority == DEF_PRIORITY
    while counts[ANON][INACTIVE] or counts[FILE][ACTIVE] or counts[FILE][INACTIVE]:
        for type_ in TYPES:
            for which in (INACTIVE, ACTIVE):
                batch = min(counts[type_][which], SWAP_CLUSTER_MAX)
                if not batch:
                    continue
                counts[type_][which] -= batch
                if which == INACTIVE:
                    reclaimed += yield from shrink_inactive_list(lruvec, sc, type_, batch)
                elif balance.may_deactivate[type_]:
                    yield from shrink_active_list(lruvec, sc, type_, batch)
                else:
                    balance.skipped_deactivate = True
        if reclaimed >= sc.nr_to_reclaim and not proportional:
            if not _finish_in_proportion(counts, targets):
                break
            proportional = True
        yield Again("shrink_lruvec", lruvec.label, str(counts), reclaimed, sc.priority)
    sc.nr_reclaimed += reclaimed
    if (yield from inactive_is_low(lruvec, ANON)) and balance.may_deactivate[ANON]:
        yield from shrink_active_list(lruvec, sc, ANON, SWAP_CLUSTER_MAX)


def _finish_in_proportion(counts: list[list[int]], targets: list[list[int]]) -> bool:
    """Stop the type with less left to scan, cut the other to the same share of its target. False: one has nothing left."""
    left = [sum(row) for row in counts]
    if not all(left):
        return False
    small, large = (FILE, ANON) if left[ANON] > left[FILE] else (ANON, FILE)
    percentage = left[small] * 100 // (sum(targets[small]) + 1)
    counts[small] = [0, 0]
    for which in (INACTIVE, ACTIVE):
        scanned = targets[large][which] - counts[large][which]
        goal = targets[large][which] * (100 - percentage) // 100
        counts[large][which] = goal - min(goal, scanned)
    return True


def do_try_to_free_pages(lruvec: TwoListLruvec, sc: ScanControl) -> Step[int]:
    """do_try_to_free_pages(): pages reclaimed. Active lists that were spared are opened if nothing else could be had."""
    initial = sc.priority
    force_deactivate = False
    while True:
        skipped = False
        while sc.priority >= 0:
            balance = yield from prepare_scan_control(lruvec, sc, force_deactivate=force_deactivate)
            before = sc.nr_reclaimed
            yield from shrink_lruvec(lruvec, sc, balance)
            skipped |= balance.skipped_deactivate
            if sc.nr_reclaimed >= sc.nr_to_reclaim:
                break
            sc.priority -= 1
            yield Again("do_try_to_free_pages", lruvec.label, sc.priority, sc.nr_reclaimed, before)
        for type_ in TYPES:  # snapshot_refaults()
            yield Store(lruvec.refaults[type_], (yield Load(lruvec.activations[type_])))
        if sc.nr_reclaimed or force_deactivate or not skipped:
            return sc.nr_reclaimed
        sc.priority = initial
        force_deactivate = True
