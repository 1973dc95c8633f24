"""struct mem_cgroup and its page counter (include/linux/memcontrol.h, page_counter.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agewalk.core.cells import Cell, Object
from agewalk.core.effects import Step

NO_LIMIT: Final = 1 << 51  # PAGE_COUNTER_MAX on 64 bits, about


class Memcg(Object):
    """A memory cgroup, in pages.

    max: memory.max. usage: the page counter `memory`, which includes `stock`. stock: pages that the one CPU has charged and not
    handed out (struct memcg_stock_pcp). reclaim: what a task calls that finds no room, with the pages it wants; answers the
    pages reclaimed (try_to_free_mem_cgroup_pages()). Set when the host is assembled.
    """

    __slots__ = ("max", "reclaim", "stock", "usage")

    def __init__(self, label: str, *, limit: int = NO_LIMIT) -> None:
        super().__init__(label)
        self.max = limit
        self.usage = Cell(self, "usage", 0)
        self.stock = Cell(self, "stock", 0)
        self.reclaim: Callable[[int], Step[int]] | None = None
