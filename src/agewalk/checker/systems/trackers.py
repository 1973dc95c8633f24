"""page_idle and DAMON beside MGLRU: they clear bits that it wants, and it clears bits that they want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agewalk.checker.ghost import Ghost
from agewalk.checker.system import Result, System, Thread, at_end, sometimes, tolerated
from agewalk.checker.systems import hosts
from agewalk.checker.systems.mglru import START, Lru, lag
from agewalk.checker.systems.mglru import build as build_lru
from agewalk.checker.systems.monitors import word_rules
from agewalk.core.cells import Cell, Object
from agewalk.core.effects import Choose, Load, Step, Store
from agewalk.model.mglru.aging.inc_max_seq import try_to_inc_max_seq
from agewalk.model.mglru.state import MmWalk
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm_types import Vma
from agewalk.model.mm.rmap import folio_referenced
from agewalk.model.mm.trackers import damon, page_idle
from agewalk.model.protocols.base import AgingProtocol

RECLAIM_TOLD: Final = "a walk or the eviction behind it is told of an access, also if a tracker cleared the bit first"
WALK_TOLD: Final = "the walk is told"
LIST_TOLD: Final = "shrink_active_list() is told"
TRACKER_TOLD: Final = "a tracker finds a page that was used since it made it old, if eviction alone asked before"
WALK_TAKES: Final = "a tracker finds it even if a walk asked"
RACE: Final = "a tracker finds it even while eviction asks"
WALK, EVICT, LIST = "walk", "evict", "active list"
TRACKERS: Final = ("page_idle", "damon vaddr", "damon paddr")


@dataclass
class World:
    """A page of a process that a guest uses, on an LRU list of MGLRU, mapped in the process and in KVM."""

    lru: Lru
    host: hosts.Host

    def mkold(self, tracker: int) -> Step[None]:
        """One of the trackers makes the page old."""
        folio = self.lru.folios[0]
        if TRACKERS[tracker] == "page_idle":
            return page_idle.page_idle_bitmap_write(folio)
        if TRACKERS[tracker] == "damon vaddr":
            return damon.damon_va_mkold(folio, self.lru.mm, hosts.BASE)
        return damon.damon_folio_mkold(folio)

    def used(self, tracker: int) -> Step[bool]:
        """The same tracker asks whether the page was used since."""
        folio = self.lru.folios[0]
        if TRACKERS[tracker] == "page_idle":
            idle = yield from page_idle.page_idle_bitmap_read(folio)
            return not idle
        if TRACKERS[tracker] == "damon vaddr":
            return (yield from damon.damon_va_young(folio, self.lru.mm, hosts.BASE))
        return (yield from damon.damon_folio_young(folio))

    def walk(self) -> Step[bool]:
        """Aging: was the page found used, and moved to the generation that was the youngest?"""
        seq: int = yield Load(self.lru.lruvec.max_seq)
        yield from try_to_inc_max_seq(self.lru.lruvec, seq, 1, MmWalk(), force_scan=True)
        return lag(seq, (yield Load(self.lru.folios[0].flags))) == 0

    def evict(self) -> Step[bool]:
        """shrink_folio_list(): does the page stay? It does if its lock is taken."""
        folio = self.lru.folios[0]
        if not (yield from page_idle.folio_trylock(folio)):
            return True
        referenced, _ = yield from folio_referenced(folio)
        yield from page_idle.folio_unlock(folio)
        return bool(referenced)

    def active_list(self) -> Step[bool]:
        """shrink_active_list() asks about an anonymous page: without the folio's lock."""
        referenced, _ = yield from folio_referenced(self.lru.folios[0])
        return bool(referenced)


def world(protocol: AgingProtocol, mmu: str, *, young: bool) -> World:
    """young: the guest has used the page, and nothing has asked since. The process itself has not."""
    lru = build_lru(protocol, 1, young=False)
    host = hosts.build(protocol, mmu, write=True)
    if not young:
        host.age()
    lru.mm.notifier_subscriptions.value = host.subscriptions()  # the VM maps the memory of this process
    lru.mm.vmas.value = (Vma(hosts.BASE, host.end),)
    table = lru.mm.new_table(hosts.BASE)
    lru.mm.pmd_cell(hosts.BASE).value = p.make_pte(table.pfn, writable=True)
    folio = lru.folios[0]
    table.ptes[(hosts.BASE >> 12) & 511].value = p.make_pte(folio.pfn, writable=True, young=False)
    folio.mappings.value = ((lru.mm, hosts.BASE),)
    lru.mm.pmd_cell(START).value = p.NONE
    return World(lru, host)


def reclaim_vs_tracker(protocol: AgingProtocol, mmu: str) -> System:
    """A page that a guest used is made old by page_idle or DAMON while MGLRU walks and then evicts: is MGLRU told of the use?"""
    small = world(protocol, mmu, young=True)

    def tracker() -> Step[None]:
        yield from small.mkold((yield Choose(len(TRACKERS), "tracker")))

    def reclaim() -> Step[tuple[str, bool]]:
        which = yield Choose(3, "question")
        if which == 2:
            return LIST, (yield from small.active_list())
        if which == 1:
            return EVICT, (yield from small.evict())
        walked = yield from small.walk()
        return (WALK, True) if walked else (EVICT, (yield from small.evict()))

    def told(r: tuple[str, bool] | None) -> bool:
        return r is None or r[0] != EVICT or r[1]

    return System(
        "reclaim-vs-tracker",
        (Thread("reclaim", reclaim), Thread("tracker", tracker)),
        (
            at_end(RECLAIM_TOLD, told, Result("reclaim")),
            tolerated(LIST_TOLD, lambda r: r is None or r[0] != LIST or r[1], Result("reclaim")),
            *word_rules(protocol),
            sometimes("an eviction is told", lambda r: r == (EVICT, True), Result("reclaim")),
        ),
        about=(reclaim_vs_tracker.__doc__ or "").strip(),
    )


def walk_vs_tracker(protocol: AgingProtocol, mmu: str) -> System:
    """A page that a guest used is made old by page_idle or DAMON while MGLRU walks the page tables, once."""
    small = world(protocol, mmu, young=True)

    def tracker() -> Step[None]:
        yield from small.mkold((yield Choose(len(TRACKERS), "tracker")))

    asks = protocol.mglru_changes().get("walk_notifies", True)
    seen = (sometimes("the walk sees the guest", bool, Result("walk")),) if asks else ()
    return System(
        "walk-vs-tracker",
        (Thread("walk", small.walk), Thread("tracker", tracker)),
        (
            tolerated(WALK_TOLD, lambda r: r is None or r, Result("walk")),
            *word_rules(protocol), *seen,
            sometimes("the walk does not see the guest", lambda r: r is False, Result("walk")),
        ),
        about=(walk_vs_tracker.__doc__ or "").strip(),
    )  # fmt: skip


def tracker_vs_reclaim(protocol: AgingProtocol, mmu: str) -> System:
    """page_idle or DAMON makes a page old, a guest uses it, the tracker asks: is it told, with MGLRU asking in between?"""
    small = world(protocol, mmu, young=False)
    ended = Cell(Object("ghost"), "reclaim_ended", value=False)

    def tracker() -> Step[tuple[bool, bool]]:
        which = yield Choose(len(TRACKERS), "tracker")
        yield from small.mkold(which)
        yield from small.host.touch(write=False)
        before: bool = yield Load(ended)
        return before, (yield from small.used(which))

    def reclaim() -> Step[str]:
        which = yield Choose(3, "question")
        if which == 0:
            return ""  # not at all
        if which == 1:
            yield from small.evict()
        else:
            yield from small.walk()
        yield Ghost(Store(ended, True))
        return EVICT if which == 1 else WALK

    def finds(asked: str, *, ended_before: bool) -> Callable[[Any, Any], bool]:
        def found(t: tuple[bool, bool] | None, r: str | None) -> bool:
            if t is None or t[1]:
                return True
            if asked == WALK:
                return r != WALK
            return r == WALK or (r == EVICT and ended_before != t[0])

        return found

    results = Result("tracker"), Result("reclaim")
    return System(
        "tracker-vs-reclaim",
        (Thread("tracker", tracker), Thread("reclaim", reclaim)),
        (
            at_end(TRACKER_TOLD, finds(EVICT, ended_before=True), *results),
            tolerated(RACE, finds(EVICT, ended_before=False), *results),
            tolerated(WALK_TAKES, finds(WALK, ended_before=False), *results),
            *word_rules(protocol),
            sometimes("the tracker finds it", lambda t: t is not None and t[1], Result("tracker")),
        ),
        about=(tracker_vs_reclaim.__doc__ or "").strip(),
    )
