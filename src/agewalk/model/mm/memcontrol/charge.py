"""mm/memcontrol.c: pages are charged to a memcg before they are used, and a task that finds no room reclaims from it."""

from __future__ import annotations

from typing import Final

from agewalk.core.effects import Again, Count, FetchAdd, Load, Step, Store
from agewalk.core.errors import ModelError
from agewalk.model.mm.memcontrol.memcg import Memcg

MEMCG_CHARGE_BATCH: Final = 64
MAX_RECLAIM_RETRIES: Final = 16  # mm/internal.h
COSTLY_PAGES: Final = 1 << 3  # 1 << PAGE_ALLOC_COSTLY_ORDER


def try_charge_memcg(memcg: Memcg, nr_pages: int = 1) -> Step[None]:
    """try_charge_memcg() (read in 6.12 and 7.3): `nr_pages` more are used.

    The CPU's stock serves if it can (consume_stock()). Otherwise MEMCG_CHARGE_BATCH pages are charged, or `nr_pages` alone where
    the limit leaves no more; the rest of a batch becomes the stock. At the limit the task reclaims, then charges exactly what it
    wants. Raises ModelError when nothing can be reclaimed: the kernel would kill a task of the memcg.
    """
    stock: int = yield Load(memcg.stock)
    if stock >= nr_pages:
        yield Store(memcg.stock, stock - nr_pages)
        return
    batch = max(MEMCG_CHARGE_BATCH, nr_pages)
    retries = MAX_RECLAIM_RETRIES
    drained = False
    while not (yield from page_counter_try_charge(memcg, batch)):
        if batch > nr_pages:
            batch = nr_pages
            continue
        reclaimed = yield from _reclaim(memcg, nr_pages)
        if memcg.max - (yield Load(memcg.usage)) >= nr_pages:  # mem_cgroup_margin()
            continue
        if not drained:
            yield from drain_stock(memcg)
            drained = True
            continue
        if reclaimed and nr_pages <= COSTLY_PAGES:
            continue
        retries -= 1
        if retries < 0:
            raise ModelError(
                f"out of memory in {memcg.label}: all of its {memcg.max} pages are in use, none can be reclaimed",
                hint="give it more memory, or the host more swap",
            )
        yield Again("try_charge_memcg", memcg.label, retries)
    if batch > nr_pages:  # refill_stock()
        yield FetchAdd(memcg.stock, batch - nr_pages)


def _reclaim(memcg: Memcg, nr_pages: int) -> Step[int]:
    """The part of try_charge_memcg() that counts MEMCG_MAX and reclaims. Pages reclaimed."""
    yield Count("MEMCG_MAX")
    if memcg.reclaim is None:
        return 0
    return (yield from memcg.reclaim(nr_pages))


def page_counter_try_charge(memcg: Memcg, nr_pages: int) -> Step[bool]:
    """page_counter_try_charge(): False, and nothing charged, if that would exceed the limit."""
    if (yield Load(memcg.usage)) + nr_pages > memcg.max:
        return False
    yield FetchAdd(memcg.usage, nr_pages)
    return True


def drain_stock(memcg: Memcg) -> Step[None]:
    """drain_stock(): the CPU gives back what it has not handed out."""
    stock: int = yield Load(memcg.stock)
    yield Store(memcg.stock, 0)
    yield FetchAdd(memcg.usage, -stock)


def uncharge(memcg: Memcg, nr_pages: int) -> Step[None]:
    """uncharge_batch(): the pages of a freed folio go back to the counter at once, not to the stock."""
    yield FetchAdd(memcg.usage, -nr_pages)
