"""Lists of folios as queues of numbers, where the kernel links folios (include/linux/list.h).

A list is a run of places in `queue`, from word[TAILS + number] to before word[HEADS + number], in segments of SEGMENT places;
`after` says which segment follows, towards the head. The head's segment has a place left. A walk from the tail knows early
which pages it will meet, and asks memory for their rows: one that follows links would wait for each.

`folios[folio, SLOT]` is the folio's place while it is on a list. Off the middle of one, it leaves a HOLE, which walks pass over;
if there get to be too many, all lists are closed up. Segments that no list needs wait in a list of their own, which ends with 0.
"""

from typing import Final

from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.compiler.state_types import fetch_row, rarely
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    FREE,
    FRESH,
    HEADS,
    HOLE,
    HOLES,
    MAX_HOLES,
    N_LISTS,
    S_FIRST,
    S_REGION,
    S_REGION_SHIFT,
    SEGMENT,
    SLOT,
    TAILS,
)

AHEAD: Final = 16  # places: how far a walk sees


@njit
def take_segment(s: State) -> Int:
    """A segment that no list has."""
    word = s.word
    free = i64(word[FREE])
    if free:
        word[FREE] = s.after[free]
        return free
    word[FRESH] += 1
    return word[FRESH] - 1


@njit
def lengthen(s: State, place: Int) -> Int:
    """push() has filled the segment before `place`: the first place of the next one."""
    rarely()
    segment = take_segment(s)
    s.after[place // SEGMENT - 1] = segment
    return segment * SEGMENT


@njit
def give_back(s: State, segment: Int) -> Int:
    """A list needs a segment no more: the one that followed it."""
    rarely()
    then = i64(s.after[segment])
    s.after[segment] = s.word[FREE]
    s.word[FREE] = segment
    return then


@njit_merge
def push(s: State, place: Int, folio: Int) -> Int:
    """list_add(): the folio gets the place at the head of a list; returns the next one, which is to become the list's head."""
    s.queue[place] = folio
    s.folios[folio, SLOT] = place
    place += 1
    return place if place % SEGMENT else lengthen(s, place)


@njit_merge
def step(s: State, place: Int) -> Int:
    """The place before that at the tail of a list, which its folio leaves; it is to become the list's tail."""
    place += 1
    return place if place % SEGMENT else give_back(s, place // SEGMENT - 1) * SEGMENT


@njit_merge
def fetch_ahead(s: State, place: Int) -> None:
    """Ask memory for the row of the page that a walk meets AHEAD places later; of any page, if the list ends before."""
    then = place + AHEAD
    if place % SEGMENT >= SEGMENT - AHEAD:
        then = i64(s.after[place // SEGMENT]) * SEGMENT + then % SEGMENT
    fetch_row(s.folios, i64(s.queue[then]))


@njit_merge
def take(s: State, place: Int) -> tuple[Int, Int]:
    """What leaves a list from the place at its tail: a folio, or a HOLE; and the next place, which is to become the tail."""
    folio = i64(s.queue[place])
    fetch_ahead(s, place)
    if folio == HOLE:
        s.word[HOLES] -= 1
    return folio, step(s, place)


@njit
def list_tail(s: State, number: Int) -> Int:
    """The place at the tail, past holes; that at the head, which is unused, if the list is empty."""
    word = s.word
    place = i64(word[TAILS + number])
    while place != word[HEADS + number] and s.queue[place] == HOLE:
        _, place = take(s, place)
    word[TAILS + number] = place
    return place


@njit
def list_empty(s: State, number: Int) -> bool:
    """Nothing on it."""
    return bool(list_tail(s, number) == s.word[HEADS + number])


@njit
def list_add(s: State, number: Int, folio: Int) -> None:
    """To the head."""
    s.word[HEADS + number] = push(s, i64(s.word[HEADS + number]), folio)


@njit
def list_add_tail(s: State, number: Int, folio: Int) -> None:
    """To the tail."""
    place = i64(s.word[TAILS + number])
    if place % SEGMENT == 0:
        segment = take_segment(s)
        s.after[segment] = place // SEGMENT
        place = (segment + 1) * SEGMENT
    place -= 1
    s.queue[place] = folio
    s.folios[folio, SLOT] = place
    s.word[TAILS + number] = place


@njit
def list_del(s: State, folio: Int) -> None:
    """Off whatever list it is on."""
    s.queue[i64(s.folios[folio, SLOT])] = HOLE
    s.word[HOLES] += 1
    if s.word[HOLES] > s.word[MAX_HOLES]:
        for number in range(N_LISTS):
            close_up(s, i64(number))
        s.word[HOLES] = 0


@njit
def close_up(s: State, number: Int) -> None:
    """The folios of a list move up to its tail, and close its holes."""
    rarely()
    place = to = i64(s.word[TAILS + number])
    head = s.word[HEADS + number]
    while place != head:
        folio = i64(s.queue[place])
        if folio != HOLE:
            s.queue[to] = folio
            s.folios[folio, SLOT] = to
            to = following(s, to)
        place = following(s, place)
    s.word[HEADS + number] = to
    last = head // SEGMENT
    if to // SEGMENT != last:
        segment = i64(s.after[to // SEGMENT])
        while segment != last:
            segment = give_back(s, segment)
        give_back(s, last)


@njit
def following(s: State, place: Int) -> Int:
    """The place after this one, towards the head."""
    place += 1
    return place if place % SEGMENT else i64(s.after[place // SEGMENT - 1]) * SEGMENT


@njit
def region_of(spaces: Array, space: Int, page: Int) -> Int:
    """Row of by_region[] that a page belongs to."""
    return spaces[space, S_REGION] + (page - spaces[space, S_FIRST] >> spaces[space, S_REGION_SHIFT])
