"""mm/swapfile.c and mm/swap_state.c: slots, the swap cache, and reclaim's way through them. The device is synchronous (zram):
when a write or read returns, it is done. An anonymous page is never shared here (no fork), so an entry has one user.
"""

from __future__ import annotations

from agewalk.core.effects import Alloc, FetchAdd, FetchAnd, FetchOr, Free, Load, Step, Store, Work
from agewalk.model.mm.folio import ANON, PG_DIRTY, PG_RECLAIM, PG_SWAPCACHE
from agewalk.model.mm.mm_types import Folio, Memory, SwapSlot
from agewalk.model.mm.swap import folio_put, release_folio


def get_nr_swap_pages(memory: Memory) -> Step[int]:
    """get_nr_swap_pages(): free slots."""
    used: int = yield Load(memory.swap_used)
    return memory.swap_slots - used


def add_to_swap(memory: Memory, folio: Folio) -> Step[bool]:
    """add_to_swap() (folio_alloc_swap() from 6.16 on): a slot for each page and a place in the swap cache; the folio is
    dirty then, so that it will be written. False: swap is full."""
    if (yield from get_nr_swap_pages(memory)) < folio.pages:
        return False
    slots: list[SwapSlot] = []
    for _ in range(folio.pages):
        slot: SwapSlot = yield Alloc(memory.swap_slab)
        yield Store(slot.count, 0)
        yield Store(slot.shadow, None)
        yield Store(slot.folio, folio)
        slots.append(slot)
    for slot in slots:
        slot.run = tuple(slots) if folio.order else ()
    yield FetchAdd(memory.swap_used, folio.pages)
    yield FetchAdd(folio.refcount, 1)
    yield Store(folio.backing, tuple(slots))
    yield FetchOr(folio.flags, PG_SWAPCACHE | PG_DIRTY)
    return True


def put_slot(memory: Memory, slot: SwapSlot) -> Step[None]:
    """Free a slot that neither an entry nor the swap cache uses (swap_entry_free())."""
    if not (yield Load(slot.count)) and (yield Load(slot.folio)) is None:
        yield FetchAdd(memory.swap_used, -1)
        yield Free(slot)


def swap_free(memory: Memory, slot: SwapSlot) -> Step[None]:
    """swap_free(): an entry is gone."""
    yield FetchAdd(slot.count, -1)
    yield from put_slot(memory, slot)


def delete_from_swap_cache(memory: Memory, folio: Folio, shadow: int | None = None) -> Step[None]:
    """__delete_from_swap_cache(): the folio gives its slots back, `shadow` stays where entries still name them. The caller
    drops the cache's reference."""
    slots: tuple[SwapSlot, ...] = yield Load(folio.backing)
    yield FetchAnd(folio.flags, ~PG_SWAPCACHE)
    yield Store(folio.backing, ())
    for slot in slots:
        yield Store(slot.folio, None)
        yield Store(slot.shadow, shadow)
        yield from put_slot(memory, slot)


def folio_free_swap(memory: Memory, folio: Folio) -> Step[bool]:
    """folio_free_swap(): out of the swap cache if no entry names its slots; nothing on the device holds its contents any
    more, so it is dirty."""
    if not (yield Load(folio.flags)) & PG_SWAPCACHE:
        return False
    for slot in (yield Load(folio.backing)):
        if (yield Load(slot.count)):
            return False
    yield from delete_from_swap_cache(memory, folio)
    yield FetchOr(folio.flags, PG_DIRTY)
    yield from folio_put(memory, folio)
    return True


def pageout(folio: Folio) -> Step[bool]:
    """pageout() of an anonymous folio: written when it returns, so clean."""
    yield FetchAnd(folio.flags, ~(PG_DIRTY | PG_RECLAIM))
    yield Work("swap_write", folio.pages)
    return True


def remove_mapping(memory: Memory, folio: Folio) -> Step[bool]:
    """__remove_mapping() of an isolated folio and what shrink_folio_list() does then: out of its cache, leaving a shadow, and
    free. False if it is still in use (a reference beyond reclaim's and the cache's, or dirty again)."""
    if (yield Load(folio.mappings)) or (yield Load(folio.refcount)) != 2 or (yield Load(folio.flags)) & PG_DIRTY:
        return False
    shadow = yield from folio.lruvec.eviction_shadow(folio)
    if folio.type == ANON:
        yield from delete_from_swap_cache(memory, folio, shadow)
    else:
        yield from _filemap_remove(folio, shadow)
    yield Store(folio.refcount, 0)
    yield from release_folio(memory, folio)
    return True


def _filemap_remove(folio: Folio, shadow: int) -> Step[None]:
    """__filemap_remove_folio(): the page cache keeps the shadow in its place."""
    for slot in (yield Load(folio.backing)):
        yield Store(slot, shadow)
