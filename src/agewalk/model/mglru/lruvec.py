"""MGLRU behind the boundary that the rest of mm talks to."""

from __future__ import annotations

from typing import Any

from agewalk.core.effects import Count, FetchOr, Load, Step
from agewalk.model.mglru import lists
from agewalk.model.mglru.aging import look_around, promote
from agewalk.model.mglru.eviction import workingset
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm import swap
from agewalk.model.mm.folio import PG_ACTIVE, PG_REFERENCED, PG_UNEVICTABLE, PG_WORKINGSET
from agewalk.model.mm.mm_types import Folio, PageVmaMappedWalk


class MglruLruvec(LruGen):
    """A lruvec under MGLRU (lru_gen_enabled())."""

    __slots__ = ()

    def add_folio(self, folio: Folio, *, tail: bool = False) -> Step[None]:
        """lruvec_add_folio(), or lruvec_add_folio_tail(), under lru_lock. Unevictable folios are on no list."""
        yield from lists.lru_gen_add_folio(self, folio, reclaiming=tail)

    def del_folio(self, folio: Folio) -> Step[None]:
        """lruvec_del_folio(), under lru_lock."""
        yield from lists.lru_gen_del_folio(self, folio, reclaiming=False)

    def mark_accessed(self, folio: Folio) -> Step[None]:
        """lru_gen_inc_refs()."""
        yield from promote.lru_gen_inc_refs(self, folio)

    def add_lru_in_fault(self, folio: Folio) -> Step[None]:
        """folio_add_lru() inside a page fault."""
        flags: int = yield Load(folio.flags)
        if flags & PG_UNEVICTABLE:
            return
        if self.features.fault_adds == "active" or flags & PG_WORKINGSET:
            yield FetchOr(folio.flags, PG_ACTIVE)
        elif not flags & PG_REFERENCED:
            yield Count("folio_mark_accessed")
            yield from promote.lru_gen_inc_refs(self, folio)

    def eviction_shadow(self, folio: Folio) -> Step[int]:
        """lru_gen_eviction()."""
        return (yield from workingset.lru_gen_eviction(self, folio))

    def refault(self, folio: Folio, shadow: int, *, in_fault: bool) -> Step[None]:
        """lru_gen_refault()."""
        yield from workingset.lru_gen_refault(self, folio, shadow, in_fault=in_fault)

    def asks_about_folios(self) -> bool:
        """Since 7.1."""
        return self.features.asks_about_folios

    def referenced_one(self, pvmw: PageVmaMappedWalk, mm_walk: Any = None, nr: int = 1) -> Step[int]:
        """folio_referenced_one() at one mapping: PTEs with look-around, or a PMD entry."""
        walk = look_around.walk_of(mm_walk)
        if pvmw.table is None:
            return (yield from look_around.folio_referenced_pmd(self, pvmw.mm, pvmw.pmd, pvmw.address))
        return (
            yield from look_around.folio_referenced_pte(
                self, walk, pvmw.folio, pvmw.mm, pvmw.vma, pvmw.table, pvmw.table.ptl, pvmw.address, nr
            )
        )

    def activate(self, folio: Folio) -> Step[None]:
        """folio_activate(): by the CPU's batch, or at once where there is none (!CONFIG_SMP)."""
        if self.memory is not None:
            yield from swap.folio_activate(self.memory, folio)
        else:
            yield from swap.folio_activate_at_once(self, folio)
