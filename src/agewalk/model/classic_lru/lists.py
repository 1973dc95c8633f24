"""The classic LRU: an active and an inactive list per type (mm/swap.c, mm/workingset.c, 6.12, lru_gen off).

A folio starts inactive; a second access moves it to the active list, lack of room there moves it back. What was evicted and
comes back within a distance smaller than the lists is put on the active list at once (refault distance).
"""

from __future__ import annotations

from typing import Any, Final

from agewalk.core.cells import Cell, ListHead
from agewalk.core.effects import Acquire, Count, FetchAdd, FetchAnd, FetchOr, Load, Release, Step, Store
from agewalk.core.units import PAGE_SIZE
from agewalk.model.mglru import lists
from agewalk.model.mglru.aging.generations import TYPES
from agewalk.model.mglru.eviction.workingset import EVICTION_MASK, pack_shadow, unpack_shadow
from agewalk.model.mm import swap
from agewalk.model.mm.aging import PrimaryMmuAging
from agewalk.model.mm.folio import ANON, FILE, PG_ACTIVE, PG_LRU, PG_REFERENCED, PG_UNEVICTABLE, PG_WORKINGSET
from agewalk.model.mm.mm_types import Folio, Lruvec, Memory, PageVmaMappedWalk
from agewalk.model.mm.pte_batch import entries

INACTIVE: Final = 0
ACTIVE: Final = 1
PMD_SIZE: Final = 1 << 21


class TwoListLruvec(Lruvec):
    """lists, sizes (pages): by [type][INACTIVE or ACTIVE]. nonresident_age: evictions and activations so far, the clock of
    refault distances. cost: what reclaim of each type cost lately (anon_cost, file_cost). activations: refaults that were
    activated, by type; refaults: their number when reclaim last ended (snapshot_refaults())."""

    __slots__ = ("activations", "cost", "lists", "memory", "nonresident_age", "protocol", "refaults", "sizes")

    def __init__(self, label: str, *, protocol: PrimaryMmuAging) -> None:
        super().__init__(label)
        self.protocol = protocol
        self.memory: Memory | None = None
        names = ("inactive", "active")
        self.lists = tuple(tuple(ListHead(f"{label}.{n}[{t}]") for n in names) for t in TYPES)
        self.sizes = tuple(tuple(Cell(self, f"nr_{n}[{t}]", 0) for n in names) for t in TYPES)
        self.nonresident_age = Cell(self, "nonresident_age", 0)
        self.cost = tuple(Cell(self, f"cost[{t}]", 0) for t in TYPES)
        self.activations = tuple(Cell(self, f"activations[{t}]", 0) for t in TYPES)
        self.refaults = tuple(Cell(self, f"refaults[{t}]", 0) for t in TYPES)

    # --- lists --------------------------------------------------------------------------------------------------------

    def add_folio(self, folio: Folio, *, tail: bool = False) -> Step[None]:
        """lruvec_add_folio(), under lru_lock."""
        flags: int = yield Load(folio.flags)
        if flags & PG_UNEVICTABLE:
            return
        which = ACTIVE if flags & PG_ACTIVE else INACTIVE
        yield from self.resize(folio.type, which, folio.pages)
        yield from lists.list_add(self.lists[folio.type][which], folio, tail=tail)

    def del_folio(self, folio: Folio) -> Step[None]:
        """lruvec_del_folio(), under lru_lock."""
        flags: int = yield Load(folio.flags)
        if flags & PG_UNEVICTABLE:
            return
        yield from lists.list_del(folio)
        yield from self.resize(folio.type, ACTIVE if flags & PG_ACTIVE else INACTIVE, -folio.pages)

    def resize(self, type_: int, which: int, pages: int) -> Step[None]:
        """update_lru_size()."""
        size = self.sizes[type_][which]
        yield Store(size, (yield Load(size)) + pages)

    # --- accesses -----------------------------------------------------------------------------------------------------

    def mark_accessed(self, folio: Folio) -> Step[None]:
        """folio_mark_accessed(): the first access marks an inactive folio, the second activates it."""
        flags: int = yield Load(folio.flags)
        if not flags & PG_REFERENCED:
            yield FetchOr(folio.flags, PG_REFERENCED)
        elif not flags & (PG_UNEVICTABLE | PG_ACTIVE):
            if flags & PG_LRU:
                yield from self.activate(folio)
            elif self.memory is not None:
                yield from swap.activate_in_batch(self.memory, folio)
            yield FetchAnd(folio.flags, ~PG_REFERENCED)
            if self.memory is None or folio is not self.memory.zero:  # the shared zero page is charged to no memcg
                yield FetchAdd(self.nonresident_age, folio.pages)  # workingset_activation()

    def add_lru_in_fault(self, folio: Folio) -> Step[None]:
        """Nothing: lru_gen_in_fault() is MGLRU's."""
        yield from ()

    def activate(self, folio: Folio) -> Step[None]:
        """folio_activate()."""
        if self.memory is not None:
            yield from swap.folio_activate(self.memory, folio)
        else:
            yield from swap.folio_activate_at_once(self, folio)

    def asks_about_folios(self) -> bool:
        """Since 7.0."""
        return self.memory is not None and self.memory.features.referenced_asks_about_folios

    def referenced_one(self, pvmw: PageVmaMappedWalk, mm_walk: Any = None, nr: int = 1) -> Step[int]:
        """folio_referenced_one(): clear_flush_young_ptes_notify(), whatever the protocol makes of it; no look-around."""
        if pvmw.table is None:
            verdict = yield from self.protocol.target(pvmw.mm, pvmw.pmd, pvmw.address, PMD_SIZE)
        else:
            verdict = yield from self.protocol.target(
                pvmw.mm, entries(pvmw.table, pvmw.address, nr), pvmw.address, nr * PAGE_SIZE
            )
        return int(verdict.referenced)

    # --- coming back --------------------------------------------------------------------------------------------------

    def eviction_shadow(self, folio: Folio) -> Step[int]:
        """workingset_eviction(): the clock at eviction, and was it active before?"""
        yield Count("workingset_eviction")
        age: int = yield FetchAdd(self.nonresident_age, folio.pages)
        return pack_shadow(age, workingset=bool((yield Load(folio.flags)) & PG_WORKINGSET))

    def refault(self, folio: Folio, shadow: int, *, in_fault: bool) -> Step[None]:
        """workingset_refault(): had there been room for it if the other lists had given way?"""
        yield Count("workingset_refault")
        eviction, workingset = unpack_shadow(shadow)
        distance = ((yield Load(self.nonresident_age)) - eviction) & EVICTION_MASK
        room = (yield Load(self.sizes[FILE][ACTIVE])) + (yield Load(self.sizes[ANON][ACTIVE]))
        other = FILE if folio.type == ANON else ANON
        room += yield Load(self.sizes[other][INACTIVE])
        if distance > room:
            return
        yield FetchOr(folio.flags, PG_ACTIVE)
        yield FetchAdd(self.nonresident_age, folio.pages)
        yield FetchAdd(self.activations[folio.type], folio.pages)
        if workingset:
            yield FetchOr(folio.flags, PG_WORKINGSET)
            yield from self.note_cost(folio.type, folio.pages * 32)

    def note_cost(self, type_: int, cost: int) -> Step[None]:
        """lru_note_cost(): halved when it outgrows a quarter of the lists, so that old costs are forgotten."""
        yield Acquire(self.lru_lock)
        yield Store(self.cost[type_], (yield Load(self.cost[type_])) + cost)
        total = 0
        for sizes in self.sizes:
            for size in sizes:
                total += yield Load(size)
        costs = ((yield Load(self.cost[ANON])), (yield Load(self.cost[FILE])))
        if sum(costs) > total // 4:
            for cell, value in zip(self.cost, costs, strict=True):
                yield Store(cell, value // 2)
        yield Release(self.lru_lock)
