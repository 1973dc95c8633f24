"""Doubly linked lists inside `page[NEXT]` and `page[PREV]` (include/linux/list.h). NEXT of a sentinel is the head.

A walk over a list of pages in no order waits for memory at every step, and cannot know the next page before it has read this one.
So a page also remembers, in `page[AHEAD]`, which one was put on the list RING additions after it: a walk asks for that one as
it comes by, and many loads are under way at a time. The hint may be stale; nothing but speed depends on it.
"""

from typing import Final

from agewalk.engine.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.layout import AHEAD, N_PAGES, NEXT, PREV, RECENT, RECENT_STEP, S_FIRST, S_REGION, S_REGION_SHIFT


@njit
def list_init(page: Array, head: Int) -> None:
    """INIT_LIST_HEAD()."""
    page[head, NEXT] = head
    page[head, PREV] = head


@njit
def list_empty(page: Array, head: Int) -> bool:
    """Nothing on it."""
    return bool(page[head, NEXT] == head)


@njit_merge
def list_add(page: Array, head: Int, member: Int) -> None:
    """To the head."""
    first = i64(page[head, NEXT])
    page[member, NEXT] = first
    page[member, PREV] = head
    page[first, PREV] = member
    page[head, NEXT] = member


@njit
def list_add_tail(page: Array, head: Int, member: Int) -> None:
    """To the tail."""
    last = i64(page[head, PREV])
    page[member, PREV] = last
    page[member, NEXT] = head
    page[last, NEXT] = member
    page[head, PREV] = member


@njit_merge
def list_del(page: Array, member: Int) -> None:
    """Off whatever list it is on; its own links are stale afterwards."""
    after = i64(page[member, NEXT])
    before = i64(page[member, PREV])
    page[before, NEXT] = after
    page[after, PREV] = before


@njit
def list_tail(page: Array, head: Int) -> Int:
    """lru_to_folio(): the member at the tail; the sentinel itself if the list is empty."""
    return i64(page[head, PREV])


RING: Final = RECENT_STEP - 1


@njit_merge
def gen_add(word: Array, page: Array, number: Int, member: Int) -> None:
    """list_add() to list `number` (generation index * 2 + type), with the hint of the page put there RING additions ago."""
    slot = RECENT + number * RECENT_STEP
    turn = i64(word[slot + RING])
    page[i64(word[slot + turn]), AHEAD] = member
    word[slot + turn] = member
    word[slot + RING] = (turn + 1) % RING
    list_add(page, word[N_PAGES] + number, member)


@njit_merge
def gen_open(word: Array, page: Array, number: Int) -> tuple[Int, Int]:
    """Before some gen_push() to one list: its newest member, and the turn of its ring."""
    return i64(page[word[N_PAGES] + number, NEXT]), i64(word[RECENT + number * RECENT_STEP + RING])


@njit_merge
def gen_push(word: Array, page: Array, number: Int, newest: Int, turn: Int, member: Int) -> Int:
    """gen_add() to an open list, in front of `newest`; the next turn. The list is whole again after gen_close()."""
    slot = RECENT + number * RECENT_STEP + turn
    page[i64(word[slot]), AHEAD] = member
    word[slot] = member
    page[member, NEXT] = newest
    page[newest, PREV] = member
    return (turn + 1) % RING


@njit_merge
def gen_close(word: Array, page: Array, number: Int, newest: Int, turn: Int) -> None:
    """After the last gen_push()."""
    head = word[N_PAGES] + number
    page[newest, PREV] = head
    page[head, NEXT] = newest
    word[RECENT + number * RECENT_STEP + RING] = turn


@njit
def gen_add_tail(word: Array, page: Array, number: Int, member: Int) -> None:
    """list_add_tail(): a walk meets this page before those that were put there earlier."""
    slot = RECENT + number * RECENT_STEP
    turn = i64(word[slot + RING])
    page[member, AHEAD] = word[slot + turn]
    word[slot + turn] = member
    word[slot + RING] = (turn + 1) % RING
    list_add_tail(page, word[N_PAGES] + number, member)


@njit
def region_of(spaces: Array, space: Int, folio: Int) -> Int:
    """Row of by_region[] that a page belongs to."""
    return spaces[space, S_REGION] + (folio - spaces[space, S_FIRST] >> spaces[space, S_REGION_SHIFT])
