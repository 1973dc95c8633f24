"""The memcg's list of mms, and how page-table walkers share one round over it (mm/vmscan.c, "mm_struct list")."""

from __future__ import annotations

from agewalk.core.effects import Acquire, Exchange, Load, Release, Step, Store, Warn
from agewalk.model.mglru.aging.bloom import reset_bloom_filter
from agewalk.model.mglru.aging.generations import MIN_LRU_BATCH
from agewalk.model.mglru.state import FIFO, NR_MM_STATS, LruGen, MmWalk
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm_types import Mm


def lru_gen_add_mm(lruvec: LruGen, mm: Mm) -> Step[None]:
    """lru_gen_add_mm(): an mm joins the memcg, by exec, fork or migration (lru_gen_migrate_mm())."""
    yield Acquire(lruvec.mm_list_lock)
    known: tuple[Mm, ...] = yield Load(lruvec.known_mms)
    if mm not in known:
        yield Store(lruvec.known_mms, (*known, mm))
    if (yield Load(lruvec.tail)) == FIFO:  # the first addition since the last iteration
        yield Store(lruvec.tail, mm)
    mms: tuple[Mm, ...] = yield Load(lruvec.fifo)
    yield Store(lruvec.fifo, (*mms, mm))
    yield Release(lruvec.mm_list_lock)


def lru_gen_del_mm(lruvec: LruGen, mm: Mm) -> Step[None]:
    """lru_gen_del_mm(): an mm leaves; a running iteration goes on behind it."""
    yield Acquire(lruvec.mm_list_lock)
    mms: tuple[Mm, ...] = yield Load(lruvec.fifo)
    at = mms.index(mm)
    if (yield Load(lruvec.head)) is mm:
        yield Store(lruvec.head, mms[at - 1] if at else FIFO)
    if (yield Load(lruvec.tail)) is mm:
        yield Store(lruvec.tail, mms[at + 1] if at + 1 < len(mms) else FIFO)
    yield Store(lruvec.fifo, mms[:at] + mms[at + 1 :])
    yield Release(lruvec.mm_list_lock)


def mm_number(lruvec: LruGen, mm: Mm) -> Step[int]:
    """A number in place of the address of an mm's PMD pages."""
    known: tuple[Mm, ...] = yield Load(lruvec.known_mms)
    return known.index(mm)


def _next(mms: tuple[Mm, ...], at: Mm | str) -> Mm | str:
    """list_head.next."""
    index = mms.index(at) if isinstance(at, Mm) else -1
    return mms[index + 1] if index + 1 < len(mms) else FIFO


def _worth_a_walk(lruvec: LruGen, mm: Mm, walk: MmWalk) -> Step[bool]:
    """get_next_mm(), should_skip_mm() in 6.1: an mm that was not switched to since the last walk is skipped."""
    if not walk.force_scan and not (yield Load(mm.used_since_walk)):
        return False
    yield Exchange(mm.used_since_walk, False)
    if lruvec.features.small_mm_skipped and walk.swappiness:
        return (yield from _anon_pages_at_least(mm, MIN_LRU_BATCH))
    return True


def _anon_pages_at_least(mm: Mm, pages: int) -> Step[bool]:
    """get_mm_counter(MM_ANONPAGES) >= pages, read off the page tables (the model keeps no such counter)."""
    found = mm.other_anon_pages
    if found >= pages:
        return True
    for index in sorted(mm.pmds):
        pmd: int = yield Load(mm.pmds[index])
        if not p.pte_present(pmd):
            continue
        if pmd & p.PSE:
            if not pmd & p.SPECIAL:
                return True
            continue
        for cell in mm.table_of(pmd).ptes.every():
            entry: int = yield Load(cell)
            found += p.pte_present(entry) and not entry & p.SPECIAL
            if found >= pages:
                return True
    return False


def iterate_mm_list(lruvec: LruGen, walk: MmWalk, had: Mm | None) -> Step[tuple[bool, Mm | None]]:
    """iterate_mm_list(): the next mm to walk, `had` being the one just walked.

    Answers (is this walker the one that reached the end and shall increment max_seq, the next mm or None).
    """
    first = last = False
    mm: Mm | None = None
    yield Acquire(lruvec.mm_list_lock)
    done: int = yield Load(lruvec.mm_seq)
    if done + 1 < walk.seq:
        yield Warn("iterate_mm_list(): mm_state->seq fell behind max_seq")
    if walk.seq > done:
        mms: tuple[Mm, ...] = yield Load(lruvec.fifo)
        head: Mm | str = (yield Load(lruvec.head)) or FIFO
        first = head == FIFO
        while mm is None:
            head = _next(mms, head)
            if head == FIFO:
                yield Store(lruvec.mm_seq, done + 1)
                last = True
                break
            tail: Mm | str | None = yield Load(lruvec.tail)
            if tail is None or tail is head:  # added after the last iteration: scan it by force, and all that follow
                yield Store(lruvec.tail, _next(mms, head))
                walk.force_scan = True
            if isinstance(head, Mm) and (yield from _worth_a_walk(lruvec, head, walk)):
                mm = head
        yield Store(lruvec.head, head)
    if had is not None or last:
        for i in range(NR_MM_STATS):
            if walk.mm_stats[i]:
                yield Store(lruvec.mm_stats[i], (yield Load(lruvec.mm_stats[i])) + walk.mm_stats[i])
                walk.mm_stats[i] = 0
    yield Release(lruvec.mm_list_lock)
    if mm is not None and first:
        yield from reset_bloom_filter(lruvec.filters, walk.seq + 1)
    return last, mm


def iterate_mm_list_nowalk(lruvec: LruGen, seq: int) -> Step[bool]:
    """iterate_mm_list_nowalk(): a new generation without looking at page tables."""
    yield Acquire(lruvec.mm_list_lock)
    done: int = yield Load(lruvec.mm_seq)
    success = seq > done
    if success:
        yield Store(lruvec.head, None)
        yield Store(lruvec.tail, None)
        yield Store(lruvec.mm_seq, done + 1)
    yield Release(lruvec.mm_list_lock)
    return success
