"""Which type to evict, which tiers to spare: the refault feedback controller (mm/vmscan.c, "PID controller").

The P term is refaulted/(evicted + protected) of the generation being evicted, the I term its moving average with factor
1/2 over the generations before; there is no D term. LRU_GEN_STATS is off, as Debian and most distributions have it, so
there is one history slot (NR_HIST_GENS = 1).
"""

from __future__ import annotations

from agewalk.core.effects import Load, Step, Store
from agewalk.model.mglru.aging.generations import (
    MAX_NR_TIERS,
    MAX_SWAPPINESS,
    MIN_SWAPPINESS,
    CtrlPos,
    positive_ctrl_err,
)
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm.folio import ANON, FILE


def protected_slot(tier: int, *, workingset_protection: bool) -> int | None:
    """Index into lrugen->protected[] of a tier: up to 6.13 the first tier has none, since it is never protected."""
    if workingset_protection:
        return tier
    return tier - 1 if tier else None


def _tier_total(lruvec: LruGen, type_: int, tier: int) -> Step[int]:
    total: int = (yield Load(lruvec.avg_total[type_][tier])) + (yield Load(lruvec.evicted[type_][tier]))
    slot = protected_slot(tier, workingset_protection=lruvec.features.workingset_protection)
    if slot is not None:
        total += yield Load(lruvec.protected[type_][slot])
    return total


def read_ctrl_pos(lruvec: LruGen, type_: int, tier: int, gain: int) -> Step[CtrlPos]:
    """read_ctrl_pos(); tier MAX_NR_TIERS is the sum of all (6.14)."""
    refaulted = total = 0
    for i in range(tier % MAX_NR_TIERS, min(tier, MAX_NR_TIERS - 1) + 1):
        refaulted += (yield Load(lruvec.avg_refaulted[type_][i])) + (yield Load(lruvec.refaulted[type_][i]))
        total += yield from _tier_total(lruvec, type_, i)
    return CtrlPos(refaulted, total, gain)


def reset_ctrl_pos(lruvec: LruGen, type_: int) -> Step[None]:
    """reset_ctrl_pos(carryover = true), under lru_lock: the oldest generation is gone, fold its counts into the average.

    Without carryover it does nothing when there is one history slot.
    """
    for tier in range(MAX_NR_TIERS):
        refaulted: int = yield Load(lruvec.refaulted[type_][tier])
        average: int = yield Load(lruvec.avg_refaulted[type_][tier])
        yield Store(lruvec.avg_refaulted[type_][tier], (average + refaulted) // 2)
        total = yield from _tier_total(lruvec, type_, tier)
        yield Store(lruvec.avg_total[type_][tier], total // 2)
        yield Store(lruvec.refaulted[type_][tier], 0)
        yield Store(lruvec.evicted[type_][tier], 0)
        slot = protected_slot(tier, workingset_protection=lruvec.features.workingset_protection)
        if slot is not None:
            yield Store(lruvec.protected[type_][slot], 0)


def get_tier_idx(lruvec: LruGen, type_: int) -> Step[int]:
    """The last tier that may be evicted: those above refault at least twice as often (gains 1:2, from 6.14 2:3)."""
    sp_gain, pv_gain = (2, 3) if lruvec.features.sums_tiers else (1, 2)
    sp = yield from read_ctrl_pos(lruvec, type_, 0, sp_gain)
    tier = 1
    while tier < MAX_NR_TIERS:
        pv = yield from read_ctrl_pos(lruvec, type_, tier, pv_gain)
        if not positive_ctrl_err(sp, pv):
            break
        tier += 1
    return tier - 1


def get_type_to_scan(lruvec: LruGen, swappiness: int) -> Step[tuple[int, int | None]]:
    """(type to evict, its last tier to evict, or None where get_tier_idx() is to be asked)."""
    gain = (swappiness, MAX_SWAPPINESS - swappiness)
    if lruvec.features.sums_tiers:
        if swappiness <= MIN_SWAPPINESS + 1:
            return FILE, None
        if swappiness >= MAX_SWAPPINESS:
            return ANON, None
        sp = yield from read_ctrl_pos(lruvec, ANON, MAX_NR_TIERS, gain[ANON])
        pv = yield from read_ctrl_pos(lruvec, FILE, MAX_NR_TIERS, gain[FILE])
        return (FILE if positive_ctrl_err(sp, pv) else ANON), None
    sp = yield from read_ctrl_pos(lruvec, ANON, 0, gain[ANON])
    pv = yield from read_ctrl_pos(lruvec, FILE, 0, gain[FILE])
    type_ = FILE if positive_ctrl_err(sp, pv) else ANON
    other = FILE if type_ == ANON else ANON
    sp = yield from read_ctrl_pos(lruvec, other, 0, gain[other])
    tier = 1
    while tier < MAX_NR_TIERS:
        pv = yield from read_ctrl_pos(lruvec, type_, tier, gain[type_])
        if not positive_ctrl_err(sp, pv):
            break
        tier += 1
    return type_, tier - 1
