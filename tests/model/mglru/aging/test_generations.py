"""Pure rules, against cases worked by hand from the kernel's text."""

import pytest

from agewalk.core.units import Hva
from agewalk.model.mglru.aging import generations
from agewalk.model.mglru.aging.generations import CtrlPos, look_around_window
from agewalk.model.mm.folio import PG_REFERENCED, PG_WORKINGSET, with_refs

TABLE = 0x4000_0000


@pytest.mark.parametrize(("n", "want"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_order_base_2(n: int, want: int) -> None:
    assert generations.order_base_2(n) == want


@pytest.mark.parametrize(
    ("page", "want"),
    [(0, (0, 64)), (31, (0, 64)), (32, (0, 64)), (33, (1, 65)), (64, (32, 96)), (480, (448, 512)), (511, (448, 512))],
)
def test_window_is_64_pages_with_the_target_inside(page: int, want: tuple[int, int]) -> None:
    """witness SUMMARY 16: page 0 -> [0,64), 64 -> [32,96), clipped to the table."""
    start, end = look_around_window(Hva(TABLE + page * 4096), Hva(TABLE), Hva(TABLE + (8 << 21)))
    assert ((start - TABLE) // 4096, (end - TABLE) // 4096) == want


def test_window_stays_in_a_small_vma() -> None:
    start, end = look_around_window(Hva(TABLE + 5 * 4096), Hva(TABLE + 4 * 4096), Hva(TABLE + 20 * 4096))
    assert (start, end) == (TABLE + 4 * 4096, TABLE + 20 * 4096)


@pytest.mark.parametrize(("young", "want"), [(0, False), (63, False), (64, True), (512, True)])
def test_a_table_is_suitable_from_64_young_of_512(young: int, want: bool) -> None:
    """witness SUMMARY 7."""
    assert generations.suitable_to_scan(512, young) is want


def test_tiers_of_both_generations_of_code() -> None:
    old = [PG_WORKINGSET | PG_REFERENCED, with_refs(PG_WORKINGSET, 1), with_refs(PG_WORKINGSET, 3)]
    refs = [generations.folio_lru_refs(f, workingset_protection=False) for f in old]
    assert refs == [1, 2, 4]
    assert [generations.lru_tier_from_refs(r, True, workingset_protection=False) for r in refs] == [1, 2, 3]
    new = [PG_REFERENCED, with_refs(PG_REFERENCED, 1), with_refs(PG_REFERENCED, 3)]
    refs = [generations.folio_lru_refs(f, workingset_protection=True) for f in new]
    assert refs == [1, 2, 4]
    assert [generations.lru_tier_from_refs(r, False, workingset_protection=True) for r in refs] == [0, 1, 2]
    assert generations.lru_tier_from_refs(0, True, workingset_protection=True) == 3
    assert (
        generations.folio_lru_refs(with_refs(0, 3), workingset_protection=True) == 0
    )  # refs count only with PG_referenced


def test_controller_needs_64_refaults_to_protect() -> None:
    few = CtrlPos(refaulted=63, total=63, gain=1)
    many = CtrlPos(refaulted=64, total=64, gain=1)
    nothing = CtrlPos(refaulted=0, total=0, gain=1)
    assert generations.positive_ctrl_err(nothing, few)
    assert not generations.positive_ctrl_err(nothing, many)  # 64 * 64 > 1 * 64
    assert generations.positive_ctrl_err(CtrlPos(100, 36, 1), many)  # 64 * 100 <= 101 * 64


def test_file_may_not_have_more_generations_than_anon_up_to_613() -> None:
    assert generations.seq_is_valid(5, (2, 3), by_evictable_type=False)
    assert not generations.seq_is_valid(5, (3, 2), by_evictable_type=False)
    assert generations.seq_is_valid(5, (3, 2), by_evictable_type=True)
    assert not generations.seq_is_valid(5, (5, 4), by_evictable_type=True)


def test_where_folios_enter() -> None:
    """witness SUMMARY 11: new anon pages enter at max_seq up to 6.13 (PG_active), at max_seq - 1 from 6.14 on."""
    assert (
        generations.folio_seq_without_workingset_protection(3, 0, active=True, reclaiming=False, second_youngest=True)
        == 3
    )
    new = {"workingset": False, "referenced": False, "reclaiming": False, "second_youngest": True}
    assert generations.folio_seq(3, 0, active=True, **new) == 2
    assert generations.folio_seq(3, 0, active=False, **new) == 2
    assert generations.folio_seq(3, 0, active=True, **(new | {"workingset": True})) == 3
    cold = {"workingset": False, "referenced": False, "reclaiming": False, "second_youngest": False}
    assert generations.folio_seq(7, 4, active=False, **cold) == 4
    assert generations.folio_seq(7, 4, active=False, **(cold | {"referenced": True})) == 5
