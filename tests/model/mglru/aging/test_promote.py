"""What one more access means, bit by bit, in both generations of code."""

from __future__ import annotations

import pytest
from tests.model.mglru.minihost import MiniHost

from agewalk.model.mglru.aging import promote
from agewalk.model.mm.folio import (
    PG_REFERENCED,
    PG_WORKINGSET,
    folio_lru_gen,
    folio_lru_refs_field,
    with_gen,
    with_refs,
)
from agewalk.model.mm.mm_types import Folio


def one(kernel: str) -> tuple[MiniHost, Folio]:
    host = MiniHost(kernel, 1)
    host.touch(0)
    folio = host.folio(0)
    assert folio is not None
    folio.flags.value = with_refs(folio.flags.value & ~(PG_REFERENCED | PG_WORKINGSET), 0)
    return host, folio


def bits(folio: Folio) -> tuple[bool, bool, int]:
    """(PG_referenced, PG_workingset, refs)."""
    flags = folio.flags.value
    return bool(flags & PG_REFERENCED), bool(flags & PG_WORKINGSET), folio_lru_refs_field(flags)


def test_marks_fill_up_in_another_order_since_614() -> None:
    """SUMMARY 12."""
    up_to_613 = [(True, False, 0), (True, True, 0), (True, True, 1), (True, True, 2), (True, True, 3), (True, True, 3)]
    since_614 = [
        (True, False, 0),
        (True, False, 1),
        (True, False, 2),
        (True, False, 3),
        (True, True, 3),
        (True, True, 3),
    ]
    for kernel, expected in (("6.12", up_to_613), ("6.18", since_614)):
        host, folio = one(kernel)
        for want in expected:
            host.run(host.lruvec.mark_accessed(folio))
            assert bits(folio) == want


def test_the_second_access_promotes_since_614() -> None:
    host, folio = one("6.18")
    before = folio_lru_gen(folio.flags.value)
    assert host.run(promote.folio_update_gen(host.lruvec, folio, 3)) == -1
    assert bits(folio) == (True, False, 0)
    assert host.run(promote.folio_update_gen(host.lruvec, folio, 3)) == before
    assert bits(folio) == (False, True, 0)
    assert folio_lru_gen(folio.flags.value) == 3


def test_the_first_access_promotes_up_to_613_and_clears_everything() -> None:
    host, folio = one("6.12")
    folio.flags.value = with_refs(folio.flags.value | PG_REFERENCED | PG_WORKINGSET, 2)
    host.run(promote.folio_update_gen(host.lruvec, folio, 1))
    assert bits(folio) == (False, False, 0)
    assert folio_lru_gen(folio.flags.value) == 1


def test_an_isolated_folio_is_marked_up_to_613_and_left_alone_since() -> None:
    for kernel, marked in (("6.12", True), ("6.18", False)):
        host, folio = one(kernel)
        folio.flags.value = with_gen(folio.flags.value, -1) | (PG_WORKINGSET if kernel == "6.18" else 0)
        assert host.run(promote.folio_update_gen(host.lruvec, folio, 1)) == -1
        assert bits(folio)[0] is marked
        assert folio_lru_gen(folio.flags.value) == -1


@pytest.mark.parametrize(("kernel", "after"), [("6.18", (False, True, 0)), ("7.3", (True, False, 1))])
def test_rmap_finds_a_second_access(kernel: str, after: tuple[bool, bool, int]) -> None:
    """7.3 marks once more before PG_workingset."""
    host, folio = one(kernel)
    assert not host.run(promote.lru_gen_set_refs(host.lruvec, folio))
    assert host.run(promote.lru_gen_set_refs(host.lruvec, folio))
    assert bits(folio) == after


def test_programs_are_promoted_at_once() -> None:
    host, folio = one("7.3")
    host.run(promote.folio_update_gen(host.lruvec, folio, 3, executable=True))
    assert bits(folio) == (False, True, 0)
    host, folio = one("7.3")
    assert host.run(promote.lru_gen_set_refs(host.lruvec, folio, executable=True))
    assert bits(folio) == (False, True, 0)


def test_inc_gen_leaves_what_a_walk_promoted() -> None:
    host, folio = one("6.12")
    lru = host.lruvec
    lru.min_seq[0].value = lru.max_seq.value - 2
    promoted = lru.max_seq.value % 4
    folio.flags.value = with_gen(folio.flags.value, promoted)
    assert host.run(promote.folio_inc_gen(lru, folio)) == promoted
    oldest = lru.min_seq[0].value % 4
    folio.flags.value = with_gen(folio.flags.value, oldest)
    assert host.run(promote.folio_inc_gen(lru, folio)) == (oldest + 1) % 4
