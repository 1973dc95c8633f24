"""A state machine of touches, agings and reclaims against the invariants of MGLRU (reference 4.1 and 7.15), and seeded faults
that it must catch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.model.mglru.minihost import MiniHost

from agewalk.core.effects import Load, Step, Store
from agewalk.model.mglru.aging import bloom, inc_max_seq, look_around, page_table_walk, promote
from agewalk.model.mglru.aging.generations import seq_is_valid
from agewalk.model.mglru.eviction import evict_folios
from agewalk.model.mglru.features import MGLRU
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm.folio import PG_ACTIVE, PG_LRU, folio_lru_gen
from agewalk.model.mm.mm_types import Folio

PAGES = 600  # a full page table and a piece of another
SETTINGS = settings(
    max_examples=15, stateful_step_count=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


class Recorder(MiniHost):
    """A host that knows what was ever touched, and what was touched since its accessed bit was last read."""

    def __init__(self, kernel: str, pages: int) -> None:
        super().__init__(kernel, pages)
        self.seen: set[int] = set()

    def touch(self, *pages: int) -> None:
        self.seen.update(pages)
        super().touch(*pages)

    def young(self) -> set[int]:
        return {page for page in self.seen if (entry := self.pte(page).value) & 1 and entry & 1 << 5}


def check(host: Recorder) -> None:
    """What must hold between any two events."""
    lru = host.lruvec
    max_seq = lru.max_seq.value
    min_seq = (lru.min_seq[0].value, lru.min_seq[1].value)
    assert seq_is_valid(max_seq, min_seq, by_evictable_type=lru.features.by_evictable_type)
    linked: Counter[Folio] = Counter()
    sizes: Counter[int] = Counter()
    for gen in range(4):
        for member in lru.folios[gen][0].items:
            assert isinstance(member, Folio)
            linked[member] += 1
            flags = member.flags.value
            assert flags & PG_LRU
            assert not flags & PG_ACTIVE
            assert member.lru.value is lru.folios[gen][0]
            own = folio_lru_gen(flags)
            seq = max_seq - (max_seq - own) % 4
            assert min_seq[0] <= seq <= max_seq
            sizes[own] += member.pages
    assert set(linked.values()) <= {1}
    assert set(linked) == set(host.mem_map.values())
    assert sum(f.pages for f in linked) + len(host.shadows) == len(host.seen)
    assert {g: lru.nr_pages[g][0].value for g in range(4)} == {g: sizes[g] for g in range(4)}
    assert lru.mm_seq.value == max_seq - 1


class Machine(RuleBasedStateMachine):
    """Random events on a random kernel."""

    host: Recorder

    @initialize(kernel=st.sampled_from(sorted(MGLRU)))
    def start(self, kernel: str) -> None:
        self.host = Recorder(kernel, PAGES)

    @rule(first=st.integers(0, PAGES - 1), count=st.integers(1, 300), step=st.sampled_from([1, 2, 8, 64]))
    def touch(self, first: int, count: int, step: int) -> None:
        self.host.touch(*range(first, min(PAGES, first + count), step))

    @rule(force=st.booleans())
    def age(self, force: bool) -> None:
        before = self.host.lruvec.max_seq.value
        young = self.host.young()
        answer = self.host.age(force_scan=force)
        assert self.host.lruvec.max_seq.value - before == (0 if answer else 1)
        if force and not self.host.lruvec.features.workingset_protection:
            self.promoted(young)

    def promoted(self, young: set[int]) -> None:
        """A forced walk leaves no accessed bit behind, and what it found is in the two youngest generations."""
        assert not self.host.young()
        max_seq = self.host.lruvec.max_seq.value
        for page in young:
            folio = self.host.folio(page)
            assert folio is not None
            assert (max_seq - folio_lru_gen(folio.flags.value)) % 4 <= 1

    @rule(size=st.sampled_from([4096, 1 << 17, 1 << 20]), scheduled=st.booleans())
    def reclaim(self, size: int, scheduled: bool) -> None:
        young = self.host.young()
        before = self.host.lruvec.max_seq.value
        taken = self.host.reclaim(size, scheduled=scheduled)
        assert len(set(taken)) == len(taken)
        if self.host.lruvec.max_seq.value == before:  # no walk cleared bits on the way
            assert not set(taken) & young

    @rule(back=st.integers(2, 3), nr=st.sampled_from([1, 64, 200]), swappiness=st.sampled_from([1, 60, 200]))
    def evict(self, back: int, nr: int, swappiness: int) -> None:
        young = self.host.young()
        taken = self.host.evict(self.host.lruvec.max_seq.value - back, nr, swappiness)
        assert not set(taken) & young
        if self.host.lruvec.features.scan_limit:
            assert len(taken) <= nr

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "host"):
            check(self.host)


def test_invariants() -> None:
    run_state_machine_as_test(Machine, settings=SETTINGS)


# --- seeded faults: each breaks one line of the kernel's logic --------------------------------------------------------


def forgets_sizes(lruvec: LruGen, folio: Folio, old_gen: int, new_gen: int) -> Step[None]:
    """lru_gen_update_size() that only subtracts."""
    size = lruvec.nr_pages[old_gen][folio.type]
    yield Store(size, (yield Load(size)) - folio.pages)


def forgets_the_target(*_: Any, **__: Any) -> Step[int]:
    """folio_referenced_one() that never looks."""
    return 0
    yield


def moves_min_seq_alone(lruvec: LruGen, type_: int, swappiness: int) -> Step[bool]:
    """inc_min_seq() that leaves the folios of the oldest generation behind."""
    yield Store(lruvec.min_seq[type_], (yield Load(lruvec.min_seq[type_])) + 1)
    return True


def never_increments(*_: Any) -> Step[bool]:
    """inc_max_seq() that lost the race with nobody."""
    return True
    yield


def promotes_to_the_oldest(lruvec: LruGen, walk_: Any, folio: Folio, gen: int, **_: Any) -> Step[None]:
    """walk_update_folio() that leaves the generation as it is."""
    yield Load(folio.flags)


def loses_rejected(lruvec: LruGen, folios: list[Folio]) -> Step[int]:
    """move_folios_to_lru() that drops what it was given."""
    yield from ()
    return 0


FAULTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "sizes": (promote, "lru_gen_update_size", forgets_sizes),
    "target": (look_around, "folio_referenced_pte", forgets_the_target),
    "min_seq": (inc_max_seq, "inc_min_seq", moves_min_seq_alone),
    "max_seq": (inc_max_seq, "inc_max_seq", never_increments),
    "promotion": (page_table_walk, "walk_update_folio", promotes_to_the_oldest),
    "putback": (evict_folios, "move_folios_to_lru", loses_rejected),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_seeded_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, broken = FAULTS[fault]
    monkeypatch.setattr(module, name, broken)
    if fault == "target":
        monkeypatch.setattr("tests.model.mglru.minihost.folio_referenced_pte", broken)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - hypothesis groups what it finds
        run_state_machine_as_test(
            # many: what hypothesis draws depends on the modules that other tests have loaded
            Machine,
            settings=settings(SETTINGS, max_examples=400, phases=[Phase.generate], report_multiple_bugs=False),
        )
    assert isinstance(caught.value, AssertionError | ExceptionGroup | RuntimeError | KeyError | IndexError)


def test_a_filter_has_no_false_negatives() -> None:
    """What was added tests true until the filter is reset, whatever else was added; an absent filter says yes to all."""
    host = MiniHost("6.12", 1)
    lru = host.lruvec
    items = [bloom.pmd_entry_address(0, i << 21) for i in range(3000)]  # type: ignore[arg-type]
    assert host.run(bloom.test_bloom_filter(lru.filters, 4, items[0]))
    host.run(bloom.reset_bloom_filter(lru.filters, 4))
    for item in items[:1500]:
        host.run(bloom.update_bloom_filter(lru.filters, 4, item))
    assert all(host.run(bloom.test_bloom_filter(lru.filters, 4, i)) for i in items[:1500])
    false = sum(host.run(bloom.test_bloom_filter(lru.filters, 4, i)) for i in items[1500:])
    assert false < 150  # k=2, m=32768, n=1500: (1 - e^-(2n/m))^2 = 0.8 %
    host.run(bloom.reset_bloom_filter(lru.filters, 4))
    assert not any(host.run(bloom.test_bloom_filter(lru.filters, 4, i)) for i in items)
