"""mm/swap.c (mm/folio.c in 7.3): how folios get onto LRU lists, what one more access to them means, and their last reference.

Folios go to their lists through per-CPU batches. Until its batch is drained a folio is on no list and has no PG_lru, and
what happens to its flags meanwhile decides where it lands: a page that a guest has just faulted in carries PG_active from
the fault and PG_referenced from KVM, and 6.12 takes the latter off when it drains the former (witness SUMMARY 12).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from agewalk.core.cells import Cell
from agewalk.core.effects import Acquire, Count, Effect, FetchAdd, FetchAnd, FetchOr, Load, Release, Step, Store
from agewalk.model.mm.folio import PG_ACTIVE, PG_DIRTY, PG_LOCKED, PG_LRU, PG_MLOCKED, PG_UNEVICTABLE
from agewalk.model.mm.memory import free_folio
from agewalk.model.mm.mm_types import Folio, FolioBatches, Lruvec, Memory

Move = Callable[[Lruvec, Folio], Generator["Effect", Any, None]]


def lru_add(lruvec: Lruvec, folio: Folio) -> Step[None]:
    """lru_add(), lru_add_fn() in 6.1: a new folio meets its list. Mlocked ones become unevictable."""
    if (yield Load(folio.flags)) & PG_MLOCKED:
        yield FetchAnd(folio.flags, ~PG_ACTIVE)
        yield FetchOr(folio.flags, PG_UNEVICTABLE)
    else:
        yield FetchAnd(folio.flags, ~PG_UNEVICTABLE)
    yield from lruvec.add_folio(folio)


def lru_activate(lruvec: Lruvec, folio: Folio) -> Step[None]:
    """lru_activate(), folio_activate_fn() in 6.1: off its list, and back as active."""
    if (yield Load(folio.flags)) & (PG_ACTIVE | PG_UNEVICTABLE):
        return
    yield from lruvec.del_folio(folio)
    yield FetchOr(folio.flags, PG_ACTIVE)
    yield from lruvec.add_folio(folio)


def lru_move_tail(lruvec: Lruvec, folio: Folio) -> Step[None]:
    """lru_move_tail(): to be reclaimed next."""
    if (yield Load(folio.flags)) & PG_UNEVICTABLE:
        return
    yield from lruvec.del_folio(folio)
    yield FetchAnd(folio.flags, ~PG_ACTIVE)
    yield from lruvec.add_folio(folio, tail=True)


def folio_batch_move_lru(memory: Memory, batch: Cell, move: Move) -> Step[None]:
    """folio_batch_move_lru(): the whole batch to its lists, under one hold of lru_lock, then its references are dropped."""
    folios: tuple[Folio, ...] = yield Load(batch)
    if not folios:
        return
    held: Lruvec | None = None
    for folio in folios:
        if move is not lru_add and not (yield FetchAnd(folio.flags, ~PG_LRU)) & PG_LRU:
            continue  # isolated meanwhile
        if folio.lruvec is not held:
            if held is not None:
                yield Release(held.lru_lock)
            held = folio.lruvec
            yield Acquire(held.lru_lock)
        yield from move(held, folio)
        yield FetchOr(folio.flags, PG_LRU)
    if held is not None:
        yield Release(held.lru_lock)
    yield Store(batch, ())
    for folio in folios:
        yield from folio_put(memory, folio)


def _batch_add(memory: Memory, batch: Cell, folio: Folio, move: Move) -> Step[None]:
    """folio_batch_add_and_move(). Large folios are not kept waiting (folio_may_be_lru_cached())."""
    yield FetchAdd(folio.refcount, 1)
    folios: tuple[Folio, ...] = yield Load(batch)
    yield Store(batch, (*folios, folio))
    if len(folios) + 1 >= memory.features.folio_batch_size or folio.order:
        yield from folio_batch_move_lru(memory, batch, move)


def folio_add_lru(memory: Memory, folio: Folio, *, in_fault: bool = False) -> Step[None]:
    """folio_add_lru(). `in_fault`: lru_gen_in_fault(), a page fault in a VMA that has recency."""
    yield Count("folio_add_lru")
    if in_fault and not (yield Load(folio.flags)) & PG_UNEVICTABLE:
        yield from folio.lruvec.add_lru_in_fault(folio)
    yield from _batch_add(memory, memory.batches.lru_add, folio, lru_add)


def folio_activate(memory: Memory, folio: Folio) -> Step[None]:
    """folio_activate(): queue it for the active list, or the active generations."""
    yield Count("folio_activate")
    flags: int = yield Load(folio.flags)
    if flags & (PG_ACTIVE | PG_UNEVICTABLE) or not flags & PG_LRU:
        return
    yield from _batch_add(memory, memory.batches.lru_activate, folio, lru_activate)


def folio_activate_at_once(lruvec: Lruvec, folio: Folio) -> Step[None]:
    """folio_activate() where CPUs have no batches (!CONFIG_SMP)."""
    yield Count("folio_activate")
    if not (yield FetchAnd(folio.flags, ~PG_LRU)) & PG_LRU:
        return
    yield Acquire(lruvec.lru_lock)
    yield from lru_activate(lruvec, folio)
    yield Release(lruvec.lru_lock)
    yield FetchOr(folio.flags, PG_LRU)


def activate_in_batch(memory: Memory, folio: Folio) -> Step[None]:
    """__lru_cache_activate_folio(): not on a list yet; if it waits in this CPU's batch it will go there as active."""
    folios: tuple[Folio, ...] = yield Load(memory.batches.lru_add)
    if folio in folios:
        yield FetchOr(folio.flags, PG_ACTIVE)


def folio_rotate_reclaimable(memory: Memory, folio: Folio) -> Step[None]:
    """folio_rotate_reclaimable(): its writeback ended, and reclaim waits for it."""
    flags: int = yield Load(folio.flags)
    if flags & PG_LRU and not flags & (PG_LOCKED | PG_DIRTY | PG_UNEVICTABLE):
        yield from _batch_add(memory, memory.batches.lru_move_tail, folio, lru_move_tail)


def folio_mark_accessed(folio: Folio) -> Step[None]:
    """folio_mark_accessed(): an access that no accessed bit records. What it means is the LRU's business."""
    yield Count("folio_mark_accessed")
    yield from folio.lruvec.mark_accessed(folio)


def cpu_needs_drain(memory: Memory) -> bool:
    """cpu_needs_drain(): does a batch hold anything? Reads values from outside, for the host."""
    batches = memory.batches
    return any(cell.value for cell in (batches.lru_add, batches.lru_activate, batches.lru_move_tail))


def lru_add_drain(memory: Memory) -> Step[None]:
    """lru_add_drain(): this CPU's batches go to their lists (lru_add_drain_cpu(), in its order)."""
    batches: FolioBatches = memory.batches
    yield from folio_batch_move_lru(memory, batches.lru_add, lru_add)
    yield from folio_batch_move_lru(memory, batches.lru_move_tail, lru_move_tail)
    yield from folio_batch_move_lru(memory, batches.lru_activate, lru_activate)


def folio_put(memory: Memory, folio: Folio) -> Step[None]:
    """folio_put(): drop a reference; the last one, of an unmapped folio, frees it."""
    if (yield FetchAdd(folio.refcount, -1)) == 1 and not (yield Load(folio.mappings)):
        yield from release_folio(memory, folio)


def release_folio(memory: Memory, folio: Folio) -> Step[None]:
    """__folio_put(): off its list (__page_cache_release()), then free."""
    if (yield FetchAnd(folio.flags, ~PG_LRU)) & PG_LRU:
        yield Acquire(folio.lruvec.lru_lock)
        yield from folio.lruvec.del_folio(folio)
        yield Release(folio.lruvec.lru_lock)
    yield from free_folio(memory, folio)
