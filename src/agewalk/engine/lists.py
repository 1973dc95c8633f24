"""Doubly linked lists inside `page[NEXT]` and `page[PREV]` (include/linux/list.h). NEXT of a sentinel is the head."""

from agewalk.engine.jit import Array, Int, i64, njit
from agewalk.engine.layout import NEXT, PREV


@njit
def list_init(page: Array, head: Int) -> None:
    """INIT_LIST_HEAD()."""
    page[head, NEXT] = head
    page[head, PREV] = head


@njit
def list_empty(page: Array, head: Int) -> bool:
    """Nothing on it."""
    return bool(page[head, NEXT] == head)


@njit
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


@njit
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
