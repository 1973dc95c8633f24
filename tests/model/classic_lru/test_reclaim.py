"""The classic two lists, against cases worked by hand."""

from __future__ import annotations

from tests.model.mglru.minihost import MiniHost

from agewalk.core.effects import Step
from agewalk.model.classic_lru import reclaim
from agewalk.model.classic_lru.lists import ACTIVE, INACTIVE, TwoListLruvec
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mm.folio import ANON, PG_ACTIVE, PG_REFERENCED, PG_WORKINGSET
from agewalk.model.mm.mm_types import Folio
from agewalk.model.mm.rmap import folio_referenced


class ClassicHost(MiniHost):
    """MiniHost with lru_gen off."""

    def __init__(self, pages: int) -> None:
        super().__init__("6.12", pages)
        self.lruvec = TwoListLruvec("lruvec", protocol=self.lruvec.protocol)  # type: ignore[assignment]

    def sizes(self) -> tuple[int, int]:
        """(inactive, active) anonymous pages."""
        inactive, active = self.lruvec.sizes[ANON]  # type: ignore[attr-defined]
        return inactive.value, active.value

    def shrink(self, pages: int) -> list[int]:
        sc = ScanControl(self, nr_to_reclaim=pages)
        self.run(reclaim.do_try_to_free_pages(self.lruvec, sc))  # type: ignore[arg-type]
        return self._taken(sc)

    def folio_referenced(self, folio: Folio, mm_walk: object) -> Step[tuple[int, bool]]:
        return (yield from folio_referenced(folio, mm_walk))


def cool(host: ClassicHost) -> None:
    """Take the accessed bits of the faults away."""
    for page in range(host.pages):
        host.pte(page).value &= ~(1 << 5)


def test_new_pages_are_inactive_and_go_in_the_order_they_came() -> None:
    host = ClassicHost(256)
    host.touch(*range(256))
    assert host.sizes() == (256, 0)
    cool(host)
    taken = host.shrink(32)
    assert taken == list(range(len(taken)))
    assert len(taken) >= 32


def test_a_page_used_once_stays_a_page_used_twice_is_activated() -> None:
    host = ClassicHost(64)
    host.touch(*range(64))
    cool(host)
    host.touch(0)
    host.shrink(32)
    folio = host.folio(0)
    assert folio is not None
    assert folio.flags.value & PG_REFERENCED
    assert not folio.flags.value & PG_ACTIVE
    host.touch(0)
    host.shrink(32)
    assert folio.flags.value & PG_ACTIVE
    assert host.sizes()[1] == 1


def test_mark_accessed_twice_activates() -> None:
    host = ClassicHost(2)
    host.touch(0)
    folio = host.folio(0)
    assert folio is not None
    host.run(host.lruvec.mark_accessed(folio))
    assert host.sizes() == (1, 0)
    host.run(host.lruvec.mark_accessed(folio))
    assert host.sizes() == (0, 1)


def test_a_refault_within_the_lists_is_activated_and_a_late_one_is_not() -> None:
    host = ClassicHost(512)
    host.touch(*range(512))
    cool(host)
    for page in range(256, 512):  # half is active: room for 256
        folio = host.folio(page)
        assert folio is not None
        host.run(host.lruvec.activate(folio))
    first = host.shrink(32)
    early, late = first[-1], first[0]
    active = host.sizes()[ACTIVE]
    host.touch(early)
    assert host.sizes()[ACTIVE] == active + 1
    host.lruvec.nonresident_age.value += 1000  # type: ignore[attr-defined]
    host.touch(late)
    assert host.sizes()[ACTIVE] == active + 1


def test_deactivation_marks_the_working_set() -> None:
    host = ClassicHost(512)
    host.touch(*range(512))
    cool(host)
    for page in range(512):
        folio = host.folio(page)
        assert folio is not None
        host.run(host.lruvec.activate(folio))
    assert host.sizes() == (0, 512)
    assert host.shrink(32)
    marked = [f for f in host.mem_map.values() if f.flags.value & PG_WORKINGSET]
    assert marked
    inactive = host.lruvec.lists[ANON][INACTIVE].items  # type: ignore[attr-defined]
    assert all(f.flags.value & PG_WORKINGSET for f in inactive)
    assert host.sizes()[ACTIVE] + host.sizes()[INACTIVE] == len(host.mem_map)


def test_pure_rules() -> None:
    assert reclaim.inactive_ratio(1000) == 1
    assert reclaim.inactive_ratio(10 << 18) == 10  # 10 GiB
    assert reclaim.scan_fractions(60, (0, 0)) == (60, 140)
    anon, file = reclaim.scan_fractions(100, (1000, 0))
    assert anon < file  # anon was costly
