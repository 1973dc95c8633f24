"""Faults in page_idle, in DAMON, and in what reclaim does with their flags."""

from __future__ import annotations

from typing import Any

from tests.checker.faults.base import Fault

from agewalk.checker.systems.trackers import RECLAIM_TOLD, TRACKER_TOLD
from agewalk.core.effects import Effect, FetchAnd, FetchOr, Load, Step
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import PG_IDLE, PG_YOUNG


def no_pg_young(effect: Effect) -> Effect | None:
    """folio_set_young() left out."""
    return None if isinstance(effect, FetchOr) and effect.operand == PG_YOUNG else effect


def pg_idle_stays(effect: Effect) -> Effect | None:
    """folio_clear_idle() left out."""
    return None if isinstance(effect, FetchAnd) and effect.operand == ~PG_IDLE else effect


def no_folio_lock(_: Any) -> Step[bool]:
    """folio_trylock() that takes nothing."""
    yield from ()
    return True


def primary_alone(folio: Any, _mm: Any, entry: Any, _address: Any) -> Step[bool]:
    """DAMON as it was before it asked mmu notifiers."""
    return p.pte_young((yield Load(entry))) or not (yield Load(folio.flags)) & PG_IDLE


RECLAIM, TRACKER = "reclaim-vs-tracker/linux-7.3/tdp", "tracker-vs-reclaim/linux-7.3/tdp"
FAULTS = (
    Fault("a tracker leaves no PG_young", RECLAIM, RECLAIM_TOLD, changes=(("tracker", no_pg_young),)),
    Fault(
        "page_idle and eviction without the folio's lock",
        RECLAIM,
        RECLAIM_TOLD,
        (("mm.trackers.page_idle.folio_trylock", no_folio_lock),),
    ),
    Fault("eviction leaves PG_idle set", TRACKER, TRACKER_TOLD, changes=(("reclaim", pg_idle_stays),)),
    Fault("DAMON asks no secondary MMU", TRACKER, TRACKER_TOLD, (("mm.trackers.damon._is_young", primary_alone),)),
)
