"""Lists in segments, with holes, against Python's lists."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.conformance import members

from agewalk.engine.compiler.jit import Int, entry, i64
from agewalk.engine.engine import build
from agewalk.engine.state import layout as at
from agewalk.engine.state import lru_lists as lists
from agewalk.engine.state.arrays import State
from agewalk.engine.state.config import Host, Space
from agewalk.engine.state.truth_table import MODES

PAGES = 2048  # sixteen segments
NUMBERS = (0, 2, 9)


@entry
def add(s: State, number: Int, folio: Int, tail: Int) -> None:
    if tail:
        lists.list_add_tail(s, number, folio)
    else:
        lists.list_add(s, number, folio)


@entry
def delete(s: State, folio: Int) -> None:
    lists.list_del(s, folio)


@entry
def pop(s: State, number: Int) -> Int:
    place = lists.list_tail(s, number)
    if place == s.word[at.HEADS + number]:
        return i64(-1)
    folio, s.word[at.TAILS + number] = lists.take(s, place)
    return folio


def state_of(holes: int) -> State:
    state = build(Host([Space("vm", PAGES)], PAGES, {}), np.zeros((3, MODES * 8), np.uint8))
    state.word[at.MAX_HOLES] = holes
    return state


def segments_of(s: State) -> list[int]:
    """Of all lists, and those that wait for one."""
    found = []
    for number in range(at.N_LISTS):
        segment, last = (int(s.word[where + number]) // at.SEGMENT for where in (at.TAILS, at.HEADS))
        found.append(segment)
        while segment != last:
            segment = int(s.after[segment])
            found.append(segment)
            assert len(found) <= len(s.after), "segments in a ring"
    free = int(s.word[at.FREE])
    while free:
        found.append(free)
        free = int(s.after[free])
    return found


# (what, how often, which list or page): lists of hundreds of folios come of few steps
STEPS = st.lists(
    st.tuples(st.sampled_from("atdpm"), st.integers(1, 300), st.integers(0, PAGES - 1)), min_size=1, max_size=30
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([0, 3, PAGES // 8]))
def test_as_lists_of_python(steps: list[tuple[str, int, int]], holes: int) -> None:
    """Members, their order and places; no segment is lost, or on two lists; as many as there are suffice."""
    s = state_of(holes)
    told: dict[int, list[int]] = {number: [] for number in NUMBERS}  # the newest first
    free = list(range(PAGES))
    for what, times, which in steps:
        number = NUMBERS[which % len(NUMBERS)]
        mine = told[number]
        for turn in range(times):
            if what in "at" and free:
                folio = free.pop()
                add(s, number, folio, what == "t")
                mine.insert(len(mine) if what == "t" else 0, folio)
            elif what == "d" and mine:
                folio = mine.pop((which + 7 * turn) % len(mine))
                delete(s, folio)
                free.append(folio)
            elif what == "p":
                assert pop(s, number) == (mine[-1] if mine else -1)
                free += [mine.pop()] if mine else []
            elif what == "m" and mine:  # off the middle, and to the head of another
                folio = mine.pop((which + 7 * turn) % len(mine))
                delete(s, folio)
                add(s, NUMBERS[which % 2], folio, 0)
                told[NUMBERS[which % 2]].insert(0, folio)
    _same(s, told)


def _same(s: State, told: dict[int, list[int]]) -> None:
    for number, folios in told.items():
        assert members(s, number) == folios
    segments = segments_of(s)
    assert sorted(segments) == list(range(1, int(s.word[at.FRESH])))
    assert s.word[at.FRESH] <= len(s.after)
    held = [place for n in range(at.N_LISTS) for place in _places(s, n)]
    assert s.word[at.HOLES] == sum(int(s.queue[place]) == at.HOLE for place in held) <= s.word[at.MAX_HOLES]


def _places(s: State, number: int) -> list[int]:
    found, place = [], int(s.word[at.TAILS + number])
    while place != s.word[at.HEADS + number]:
        found.append(place)
        place += 1
        if place % at.SEGMENT == 0:
            place = int(s.after[place // at.SEGMENT - 1]) * at.SEGMENT
    return found


def test_most_folios_change_lists_again_and_again() -> None:
    alike()


def alike(holes: int = PAGES // 8) -> None:
    """The worst that segments must suffice for: every list begins and ends within one, holes are as many as may be."""
    s: Any = state_of(holes)
    told: dict[int, list[int]] = {number: [] for number in range(at.N_LISTS)}
    for folio in range(PAGES):
        add(s, folio % at.N_LISTS, folio, folio % 24 > 11)
        told[folio % at.N_LISTS].insert(0 if folio % 24 <= 11 else len(told[folio % at.N_LISTS]), folio)
    for turn in range(6):
        for folio in range(turn % 4, PAGES, 4):
            old = next(n for n, folios in told.items() if folio in folios)
            told[old].remove(folio)
            delete(s, folio)
            to = (old + folio) % at.N_LISTS
            add(s, to, folio, 0)
            told[to].insert(0, folio)
    _same(s, told)
    for number, folios in told.items():
        while folios:
            assert pop(s, number) == folios.pop()
        assert pop(s, number) == -1
    _same(s, told)
