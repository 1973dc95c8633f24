"""Two guests on one page, each through an SPTE of its own in the shadow MMU, by hand: a nested guest in a VM that KVM runs on
shadow page tables, too. The direct reading is asked as well."""

import random
from typing import Any

import pytest
from tests.engine.conformance import Twin
from tests.engine.test_conformance import KERNELS, MMUS, tell
from tests.engine.test_huge import MMUS as HUGE_MMUS

from agewalk.engine.state import layout as at
from agewalk.engine.state.truth_table import M_RMAPS, M_SHADOW_PAGES
from agewalk.model.profiles import profile

pytestmark = pytest.mark.slow

GUEST, NESTED, HOST = 0, 1, 2


def both_of(seed: int, pages: int) -> list[tuple[Any, ...]]:
    """By the dice: a guest and its nested guest read and write the same few pages in turns, the first of a 2 MiB folio among
    them, between agings; sometimes a nested guest ends; at last, since 2 MiB do not come back, memory is taken, too."""
    dice = random.Random(seed)
    used = [*range(6), *dice.sample(range(pages), 10)]
    events: list[tuple[Any, ...]] = [("sweep", first, True) for first in range(0, pages, 64)]
    for turn in range(25):
        rows = [
            (0, dice.choice(used), dice.random() < 0.3, dice.choice((GUEST, NESTED, NESTED, HOST))) for _ in range(12)
        ]
        events.append(("touch", rows))
        at = dice.random()
        if at < 0.6:
            events.append(("age", at < 0.4))
        elif at < 0.7:
            events.append(("nested", False))
        elif turn > 14:
            events.append(("reclaim", dice.choice((20, pages))) if at < 0.9 else ("evict", dice.randrange(1, 3), pages))
    return events


@pytest.mark.parametrize("mmu", [*MMUS, *HUGE_MMUS[:-1]])
def test_two_guests_on_the_same_pages(mmu: str) -> None:
    number = (*MMUS, *HUGE_MMUS).index(mmu)
    kernel, pages = KERNELS[number % len(KERNELS)], 1100 if "huge" in mmu else 130
    host = {"kernel": kernel, "protocol": profile(kernel).protocol, "spaces": [(pages, mmu)], "memory": 2 * pages}
    tell(host, both_of(number, pages))


class Watched(Twin):
    """Compares after each event; and says what the engine keeps of a page of the first space."""

    def do(self, *rows: tuple[int, bool, int]) -> int:
        """Accesses (page, write, context); how many faults of SPTEs they took."""
        before = self.engine.result().counts["spte_faults"]
        self.touch([(0, *row) for row in rows])
        self.check(str(rows))
        return self.engine.result().counts["spte_faults"] - before

    def end_nested(self) -> None:
        """The nested guest is gone."""
        self.nested(0, alive=False)
        self.check("the nested guest is gone")

    def bits(self, page: int) -> int:
        """Its byte of `touch`."""
        s = self.engine.state
        return int(s.pte_bits[int(s.space[0, at.S_FIRST]) + page])

    def meta(self, page: int) -> int:
        """Its META."""
        s = self.engine.state
        return int(s.folios[int(s.space[0, at.S_FIRST]) + page, at.META])

    @property
    def mode(self) -> int:
        """Which MMUs the VM has."""
        return int(self.engine.state.space[0, at.S_MODE])


def watched(mmu: str = "shadow", pages: int = 40, **options: Any) -> Watched:
    return Watched(
        options.pop("kernel", "6.18"), options.pop("protocol", "linux-6.18"), [(pages, mmu)], 4000, **options
    )


def test_one_aging_pass_reads_and_clears_both_sptes() -> None:
    twin = watched()
    twin.do(*((page, True, HOST) for page in range(7, 39)))  # they fill a batch: what is on no list is passed over
    assert twin.do((7, True, GUEST), (7, True, NESTED)) == 2
    assert twin.bits(7) & (at.A_ANY | at.P_ANY) == at.A_ANY | at.P_TDP | at.P_SHADOW
    asked = twin.engine.costs()
    twin.age(force_scan=True)
    twin.check("one pass")
    assert not twin.bits(7) & at.A_ANY
    costs = twin.engine.costs()
    listed = int(twin.engine.state.word[at.NR_PAGES : at.NR_PAGES + 8].sum())
    assert costs["rmap_walks"] - asked["rmap_walks"] == listed  # one walk a page, whatever the length of its chain
    assert costs["age_gfn"] - asked["age_gfn"] == listed
    assert twin.do((7, True, NESTED), (7, False, GUEST)) == 0  # both still map it
    assert twin.bits(7) & at.A_ANY == at.A_TDP | at.A_SHADOW


def test_a_nested_guest_that_ends_takes_its_spte_and_leaves_the_guests() -> None:
    twin = watched()
    twin.do((7, True, GUEST), (7, True, NESTED), (8, True, NESTED))
    assert twin.mode & (M_RMAPS | M_SHADOW_PAGES) == M_RMAPS | M_SHADOW_PAGES
    twin.end_nested()
    assert twin.bits(7) & (at.A_ANY | at.P_ANY) == at.A_PRIMARY | at.A_SHADOW | at.P_SHADOW
    assert twin.meta(7) & (at.W_TDP | at.W_SHADOW | at.GUEST_BITS) == at.W_SHADOW | at.GA_SHADOW | at.GD_SHADOW
    assert not twin.bits(8) & (at.A_TDP | at.P_ANY)
    assert not twin.meta(8) & at.GUEST_BITS
    assert twin.mode & M_SHADOW_PAGES  # the guest's own tables are shadowed still
    assert twin.do((7, True, GUEST)) == 0


def test_shadow_pages_are_gone_with_a_nested_guest_if_the_guest_itself_never_ran() -> None:
    twin = watched()
    twin.do((7, True, HOST), (8, True, NESTED))
    twin.end_nested()
    assert twin.mode & (M_RMAPS | M_SHADOW_PAGES) == M_RMAPS
    twin.do((8, False, GUEST))
    assert twin.mode & M_SHADOW_PAGES


@pytest.mark.parametrize(("first", "second"), [(GUEST, NESTED), (NESTED, GUEST)])
def test_each_guest_has_a_dirty_bit_of_its_own(first: int, second: int) -> None:
    """A clean entry of a guest's table is mapped read-only (FNAME(protect_clean_gpte)), whatever the other guest wrote."""
    twin = watched()
    twin.do((7, True, HOST))
    assert twin.do((7, False, first), (7, True, second)) == 2
    assert twin.do((7, True, second), (7, False, first)) == 0
    assert twin.do((7, True, first)) == 1
    assert twin.do((7, True, first), (7, True, second)) == 0
    twin.end_nested()
    assert twin.do((7, False, NESTED)) == 1  # the next nested guest begins with clean tables
    assert twin.do((7, True, NESTED)) == 1


def test_neighbours_are_prefetched_for_the_guest_that_used_them() -> None:
    """FNAME(pte_prefetch) goes by the accessed bits of the tables that it shadows, and stops at the first entry without."""
    twin = watched()
    twin.do((0, True, GUEST), (2, True, NESTED), (3, True, NESTED))
    twin.reclaim(4)  # both guests lose what they had, and their tables remember
    twin.check("reclaim")
    twin.do((0, True, HOST), (2, True, HOST), (3, True, HOST))
    twin.do((1, True, GUEST))  # maps 0, which comes before it, and stops at 2
    assert [twin.bits(page) & (at.P_TDP | at.P_SHADOW) for page in range(4)] == [at.P_SHADOW, at.P_SHADOW, 0, 0]
    assert not twin.bits(0) & at.A_SHADOW  # prefetched SPTEs are old
    twin.do((1, True, NESTED))  # stops at 0
    assert [bool(twin.bits(page) & at.P_TDP) for page in range(4)] == [False, True, False, False]


@pytest.mark.parametrize("mmu", ["tdp", "legacy", "shadow"])
def test_a_clean_neighbour_is_prefetched_read_only_though_the_guest_wrote_it(mmu: str) -> None:
    twin = watched(mmu)
    twin.do((0, True, HOST), (0, False, NESTED))
    twin.reclaim(1)
    twin.do((0, True, GUEST), (0, True, GUEST))
    assert twin.bits(0) & at.WRITTEN
    twin.do((1, True, NESTED))
    assert not twin.bits(0) & at.WRITTEN
    assert twin.do((0, True, GUEST), (0, False, NESTED)) == 0
    assert twin.do((0, True, NESTED)) == 1
    assert twin.bits(0) & at.WRITTEN


@pytest.mark.parametrize("kernel", ["6.12", "6.18"])
def test_of_2_mib_both_guests_map_4_kib_each(kernel: str) -> None:
    """Without A/D bits: aging takes the permissions of two SPTEs that map one page each, and none of the folio's."""
    protocol = {"6.12": "linux-6.13", "6.18": "linux-6.18"}[kernel]
    twin = watched("shadow-noad-huge", 1024, kernel=kernel, protocol=protocol)
    twin.do((3, True, GUEST), (5, True, NESTED))
    assert [twin.bits(page) & (at.P_TDP | at.P_SHADOW) for page in (0, 3, 5)] == [0, at.P_SHADOW, at.P_TDP]
    twin.age(force_scan=True)
    twin.check("one pass")
    assert not any(twin.bits(page) & at.P_ANY for page in range(512))
    assert twin.meta(3) & at.SPTE_BITS == at.W_SHADOW | at.TRACKED_SHADOW | at.LOST_W_SHADOW
    assert twin.meta(5) & at.SPTE_BITS == at.W_TDP | at.TRACKED_TDP | at.LOST_W_TDP
    assert not twin.meta(0) & at.SPTE_BITS
    assert twin.do((3, False, GUEST), (5, False, NESTED)) == 2
    for _ in range(3):
        twin.age(force_scan=True)
    twin.evict(2, 512)
    twin.check("evicted")
    assert not any(twin.bits(page) for page in range(512))
    assert [twin.meta(page) & at.GUEST_BITS for page in (3, 5)] == [at.GA_SHADOW | at.GD_SHADOW, at.GA_TDP | at.GD_TDP]
