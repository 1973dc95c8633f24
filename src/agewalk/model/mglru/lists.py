"""Putting folios on the lists of generations and taking them off (include/linux/mm_inline.h)."""

from __future__ import annotations

from agewalk.core.cells import ListHead
from agewalk.core.effects import FetchAnd, ListAdd, ListDel, Load, Step, Store
from agewalk.model.mglru.aging.generations import folio_seq, folio_seq_without_workingset_protection, lru_gen_from_seq
from agewalk.model.mglru.aging.promote import lru_gen_update_size
from agewalk.model.mglru.flags import set_mask_bits
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm.folio import (
    ANON,
    LRU_GEN_MASK,
    LRU_GEN_PGOFF,
    LRU_REFS_FLAGS,
    PG_ACTIVE,
    PG_DIRTY,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPCACHE,
    PG_UNEVICTABLE,
    PG_WORKINGSET,
    PG_WRITEBACK,
    folio_lru_gen,
)
from agewalk.model.mm.mm_types import Folio


def list_add(head: ListHead, folio: Folio, *, tail: bool = False) -> Step[None]:
    """list_add() or list_add_tail() of folio->lru."""
    yield ListAdd(head, folio, tail=tail)
    yield Store(folio.lru, head)


def list_del(folio: Folio) -> Step[None]:
    """list_del() of folio->lru, wherever it is linked: lists are sorted lazily, so the flags do not tell."""
    head: ListHead = yield Load(folio.lru)
    yield ListDel(head, folio)
    yield Store(folio.lru, None)


def list_move(head: ListHead, folio: Folio, *, tail: bool = False) -> Step[None]:
    """list_move() or list_move_tail() of folio->lru."""
    yield from list_del(folio)
    yield from list_add(head, folio, tail=tail)


def lru_gen_folio_seq(lruvec: LruGen, folio: Folio, *, reclaiming: bool) -> Step[int]:
    """lru_gen_folio_seq() (6.14), the same part of lru_gen_add_folio() before: where `folio` would be added."""
    features = lruvec.features
    flags: int = yield Load(folio.flags)
    max_seq: int = yield Load(lruvec.max_seq)
    min_seq: int = yield Load(lruvec.min_seq[folio.type])
    active = bool(flags & PG_ACTIVE)
    second_youngest = (folio.type == ANON and not flags & PG_SWAPCACHE) or (
        bool(flags & PG_RECLAIM) and bool(flags & (PG_DIRTY | PG_WRITEBACK))
    )
    if not features.workingset_protection:
        return folio_seq_without_workingset_protection(
            max_seq, min_seq, active=active, reclaiming=reclaiming, second_youngest=second_youngest
        )
    return folio_seq(
        max_seq,
        min_seq,
        active=active,
        workingset=bool(flags & PG_WORKINGSET),
        referenced=features.referenced_enters_older and bool(flags & PG_REFERENCED),
        reclaiming=reclaiming,
        second_youngest=second_youngest,
    )


def lru_gen_add_folio(lruvec: LruGen, folio: Folio, *, reclaiming: bool) -> Step[bool]:
    """lru_gen_add_folio(), under lru_lock. False: unevictable, it stays off the lists."""
    flags: int = yield Load(folio.flags)
    if flags & PG_UNEVICTABLE:
        return False
    gen = lru_gen_from_seq((yield from lru_gen_folio_seq(lruvec, folio, reclaiming=reclaiming)))
    cleared = LRU_GEN_MASK | PG_ACTIVE
    if flags & PG_ACTIVE and lruvec.features.active_clears_refs:
        cleared |= LRU_REFS_FLAGS
    yield from set_mask_bits(folio.flags, cleared, (gen + 1) << LRU_GEN_PGOFF)
    yield from lru_gen_update_size(lruvec, folio, -1, gen)
    yield from list_add(lruvec.folios[gen][folio.type], folio, tail=reclaiming)
    return True


def lru_gen_del_folio(lruvec: LruGen, folio: Folio, *, reclaiming: bool) -> Step[bool]:
    """lru_gen_del_folio(), under lru_lock. A folio of the two youngest generations leaves as PG_active unless it is
    isolated for reclaim. False: it is on no list of ours."""
    gen = folio_lru_gen((yield Load(folio.flags)))
    if gen < 0:
        return False
    max_seq: int = yield Load(lruvec.max_seq)
    active = gen in {lru_gen_from_seq(max_seq), lru_gen_from_seq(max_seq - 1)}
    old = yield from set_mask_bits(folio.flags, LRU_GEN_MASK, PG_ACTIVE if active and not reclaiming else 0)
    yield from lru_gen_update_size(lruvec, folio, folio_lru_gen(old), -1)
    yield from list_del(folio)
    return True


def clear_flags(folio: Folio, bits: int) -> Step[int]:
    """Clear PG_* bits atomically; answers the word as it was."""
    found: int = yield FetchAnd(folio.flags, ~bits)
    return found
