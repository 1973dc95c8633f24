"""What reclaim decides from sizes, priorities and watermarks, asked of both readings about lruvecs of any size.

A story of a few hundred pages never gets where a share of 1/4096 is more than a batch; here the numbers are drawn. Run without
the compiler, for which each of these functions would have to be compiled on its own:

    NUMBA_DISABLE_JIT=1 python -m tests.engine.decisions
"""

import random
from typing import Any

import numpy as np
from tests.engine.conformance import features_of
from tests.model.mglru.minihost import MiniHost

from agewalk.engine.aging.tiers import ctrl_pos, reset_ctrl_pos, tier_idx, type_to_scan
from agewalk.engine.classic_lru import reclaim as two_list_reclaim
from agewalk.engine.engine import build
from agewalk.engine.eviction import reclaim
from agewalk.engine.state import layout as at
from agewalk.engine.state.arrays import State
from agewalk.engine.state.config import Host, Space
from agewalk.model.classic_lru import reclaim as lists
from agewalk.model.mglru.aging import tiers as pid
from agewalk.model.mglru.eviction import nr_to_scan as shrink
from agewalk.model.mglru.eviction import protect
from agewalk.model.mglru.eviction import reclaim as memcg_reclaim
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.profiles import profile

KERNELS = ("6.1", "6.9", "6.12", "6.15", "6.18", "7.3")
EARLY = ("6.1", "6.9", "6.12")  # up to 6.13


def lruvec_of(dice: random.Random) -> dict[str, Any]:
    """A lruvec, and who asks with what behind it."""
    kernel, max_seq = dice.choice(KERNELS), dice.randrange(4, 12)
    anon, file = dice.randrange(1, 4), dice.randrange(1, 4)
    files = dice.random() < 0.5

    def size() -> int:
        return dice.choice((0, dice.randrange(-5, 200), dice.randrange(1 << 24)))

    def count() -> int:
        return dice.choice((0, dice.randrange(300), dice.randrange(1 << 20)))

    return {
        "kernel": kernel,
        "files": files,
        "max_seq": max_seq,
        "min_seq": (max_seq - anon, max_seq - (min(anon, file) if kernel in EARLY else file)),  # seq_is_valid()
        "sizes": [size() if files or not i % 2 else 0 for i in range(8)],
        "tiers": [count() for _ in range(40)],
        "swappiness": dice.choice((0, 1, 2, 60, 100, 199, 200)),
        "priority": dice.choice((12, 12, 11, 10, 9, 2, 0)),
        "goal": dice.choice((32, 63, 64, 65, 100, 1000, 65536)),
        "kswapd": dice.random() < 0.5,
        "target_memcg": dice.random() < 0.5,
        "earlier": dice.randrange(100),
        "now": dice.choice((0, dice.randrange(1100))),
        "marks": (dice.randrange(200), dice.randrange(200, 400)),
        "free": dice.randrange(600),
        "seq": max_seq - dice.randrange(4),
    }


def ours(drawn: dict[str, Any]) -> State:
    """It in the engine."""
    host = Host([Space("p", 8)], 1000, features_of(profile(drawn["kernel"])))
    s = build(host, np.zeros((at.N_ASKS, 512), np.uint8))
    word = s.word
    word[at.MAX_SEQ] = drawn["max_seq"]
    word[at.MIN_SEQ : at.MIN_SEQ + 2] = drawn["min_seq"]
    word[at.NR_PAGES : at.NR_PAGES + 8] = drawn["sizes"]
    for i, first in enumerate((at.AVG_REFAULTED, at.AVG_TOTAL, at.EVICTED_IN, at.REFAULTED_IN, at.PROTECTED_IN)):
        word[first : first + 8] = drawn["tiers"][i * 8 : i * 8 + 8]
    if drawn["kernel"] in EARLY:
        word[[at.PROTECTED_IN, at.PROTECTED_IN + 4]] = 0  # the first tier is not protected
    word[at.SWAPPINESS], word[at.PRIORITY] = drawn["swappiness"], drawn["priority"]
    word[at.KSWAPD], word[at.TARGET_MEMCG] = drawn["kswapd"], drawn["target_memcg"] and not drawn["kswapd"]
    word[at.LAST_RECLAIMED] = drawn["earlier"] if drawn["kswapd"] else 0
    word[at.RECLAIMED] = word[at.LAST_RECLAIMED] + drawn["now"]
    word[at.LOW], word[at.HIGH] = drawn["marks"]
    word[at.FRAMES], word[at.HELD] = 1000, 1000 - drawn["free"]
    word[at.WALK_SEQ] = drawn["max_seq"] - 1
    return s


def theirs(drawn: dict[str, Any]) -> tuple[MiniHost, ScanControl]:
    """It in the direct reading."""
    host = MiniHost(drawn["kernel"], 8)
    lruvec = host.lruvec
    lruvec.max_seq.value = drawn["max_seq"]
    lruvec.mm_seq.value = drawn["max_seq"] - 1
    early = drawn["kernel"] in EARLY
    kinds = (lruvec.avg_refaulted, lruvec.avg_total, lruvec.evicted, lruvec.refaulted, lruvec.protected)
    for type_ in range(2):
        lruvec.min_seq[type_].value = drawn["min_seq"][type_]
        for gen in range(4):
            lruvec.nr_pages[gen][type_].value = drawn["sizes"][gen * 2 + type_]
        for i, cells in enumerate(kinds):
            for tier in range(4):
                slot = tier - 1 if cells is lruvec.protected and early else tier
                if slot >= 0:
                    cells[type_][slot].value = drawn["tiers"][i * 8 + type_ * 4 + tier]
    host.marks = (drawn["free"], *drawn["marks"])
    resets = lruvec.features.shrink_loop != "need_aging"  # nr_reclaimed, in each pass of kswapd
    sc = ScanControl(
        host, swappiness=drawn["swappiness"], nr_to_reclaim=drawn["goal"], priority=drawn["priority"],
        kswapd=drawn["kswapd"], target_memcg=drawn["target_memcg"] and not drawn["kswapd"],
    )  # fmt: skip
    sc.last_reclaimed = drawn["earlier"] if drawn["kswapd"] and not resets else 0
    sc.nr_reclaimed = sc.last_reclaimed + drawn["now"]
    return host, sc


def ask(drawn: dict[str, Any]) -> None:
    """Every question, to both."""
    swappiness, goal = drawn["swappiness"], drawn["goal"]
    host, sc = theirs(drawn)
    lruvec, s = host.lruvec, ours(drawn)
    word = s.word
    assert host.run(shrink.should_run_aging(lruvec, sc, swappiness)) == reclaim.should_run_aging(word), "aging"
    assert host.run(pid.get_tier_idx(lruvec, 0)) == tier_idx(word, 0), "tier of anon"
    assert host.run(pid.get_tier_idx(lruvec, 1)) == tier_idx(word, 1), "tier of file"
    if 1 < swappiness < 200:
        word[at.MIN_SEQ + 1] = word[at.MIN_SEQ]  # past the choice by generations
        kind, tier = host.run(pid.get_type_to_scan(lruvec, swappiness))
        assert (kind, -1 if tier is None else tier) == type_to_scan(word), "type"
        word[at.MIN_SEQ + 1] = drawn["min_seq"][1]
    seq = drawn["seq"]
    before = sc.nr_reclaimed
    counted = int(word[at.RECLAIMED])
    assert host.run(memcg_reclaim.should_abort_scan(lruvec, sc, seq)) == reclaim.should_abort(word, goal, seq), "abort"
    assert sc.nr_reclaimed - before == word[at.RECLAIMED] - counted, "counted"
    share = host.run(shrink.get_nr_to_scan(lruvec, sc, swappiness))
    assert share == reclaim.nr_to_scan(s), "share"
    assert lruvec.max_seq.value == word[at.MAX_SEQ], "aged"
    host.run(protect.set_initial_priority(lruvec, sc))
    if not drawn["files"] and swappiness:  # the engine has anonymous pages only; with swappiness 0 it takes none
        reclaim.set_initial_priority(word, goal)
        assert sc.priority == word[at.PRIORITY], "priority"
    for type_ in range(2):
        host.run(pid.reset_ctrl_pos(lruvec, type_))
        reset_ctrl_pos(word, type_)
        sums = host.run(pid.read_ctrl_pos(lruvec, type_, 4, 1))
        assert ctrl_pos(word, type_, 4) == (sums.refaulted, sums.total), "averages"


def ask_lists(dice: random.Random) -> None:
    """The same about the classic lists, of which there may be terabytes."""
    drawn = {**lruvec_of(dice), "kernel": "6.12"}
    word = ours(drawn).word
    total, cost = (dice.choice((0, dice.randrange(5000), dice.randrange(1 << 28))) for _ in range(2))
    inactive = max(
        0, total // (lists.inactive_ratio(total) + 1) + dice.choice((-1, 0, 1, total // 3))
    )  # near the border
    active = max(0, total - inactive)
    word[at.NR_INACTIVE], word[at.NR_ACTIVE], word[at.T_COST] = inactive, active, cost
    ratio = lists.inactive_ratio(inactive + active)
    assert two_list_reclaim.inactive_is_low(word) == (inactive * ratio < active), "inactive is low"
    fractions = lists.scan_fractions(drawn["swappiness"], (cost, 0))
    share = inactive >> drawn["priority"]
    if drawn["priority"] or not drawn["swappiness"]:
        share = share * fractions[0] // sum(fractions)
    assert two_list_reclaim.share_of(word, inactive) == share, "share of a list"


def alike() -> None:
    """Raise AssertionError if the readings decide differently."""
    for seed in range(1500):
        ask(lruvec_of(random.Random(seed)))
        ask_lists(random.Random(seed))


if __name__ == "__main__":
    alike()
