"""How good aging is, against the truth: when each page was last used. Formulas: docs/quality-of-aging.md.

Everything is counted in integers over one population (the resident pages) at one moment (the end of an aging pass); ratios
are properties, so that samples can be added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from agewalk.engine import layout as at
from agewalk.engine.config import Host
from agewalk.engine.huge import folio_of
from agewalk.engine.jit import Array, Int, i64, njit
from agewalk.engine.state import State


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True)
class Sample:
    """One aging pass, or the sum of many.

    cold: pages idle for at least `cold_after` (truth); called: pages in the older half of the generations that exist
    (seq <= max_seq - 2, what eviction takes from); both: their intersection.
    concordant, discordant: pairs of pages of different generation and different true age, ordered alike or not;
    pairs_by_gen, pairs_by_age: pairs that differ in generation, in true age. working_set: pages not cold; estimate: pages
    not called cold. false_old_*: false old ones by the cause that their accessed bits show after the pass: set in a table
    that the walk does not ask (not_consulted), set only where fast_only does not look (fast_only), or set where the walk would
    have looked had it come by (not_walked: Bloom filter, idle PMD entry). The rest was seen, but too early or only once.
    """

    time_ns: int = 0
    passes: int = 1
    pages: int = 0
    cold: int = 0
    called: int = 0
    both: int = 0
    false_old: int = 0
    false_young: int = 0
    concordant: int = 0
    discordant: int = 0
    pairs_by_gen: int = 0
    pairs_by_age: int = 0
    working_set: int = 0
    estimate: int = 0
    false_old_not_consulted: int = 0
    false_old_fast_only: int = 0
    false_old_not_walked: int = 0

    @property
    def precision(self) -> float | None:
        """Of the pages called cold, how many are."""
        return _ratio(self.both, self.called)

    @property
    def recall(self) -> float | None:
        """Of the cold pages, how many are called so."""
        return _ratio(self.both, self.cold)

    @property
    def rank_correlation(self) -> float | None:
        """Kendall's tau-b of generation age and true age."""
        scale = (self.pairs_by_gen * self.pairs_by_age) ** 0.5
        return (self.concordant - self.discordant) / scale if scale else None


def total(samples: list[Sample]) -> Sample | None:
    """The sum of all samples; None of none."""
    if not samples:
        return None
    sums = {x.name: sum(getattr(s, x.name) for s in samples) for x in fields(Sample)}
    return Sample(**{**sums, "time_ns": samples[-1].time_ns})


@njit
def _cross(ages: Array, gens: Array, table: Array) -> None:
    """Count pages by (generations below the youngest, true age)."""
    for i in range(ages.shape[0]):
        table[gens[i], ages[i]] += 1


@njit
def _pairs(table: Array, out: Array) -> None:
    """Concordant and discordant pairs, and those that differ in row, in column, of a contingency table."""
    rows, columns = table.shape
    before = out[4 : 4 + rows]  # pages of smaller age, by generation
    total = i64(0)
    squares_row = squares_column = i64(0)
    for row in range(rows):
        size = i64(0)
        for column in range(columns):
            size += table[row, column]
        squares_row += size * size
        total += size
    for column in range(columns):
        size = i64(0)
        for row in range(rows):
            here = table[row, column]
            if here:
                size += here
                for other in range(rows):
                    if other < row:
                        out[0] += here * before[other]
                    elif other > row:
                        out[1] += here * before[other]
        squares_column += size * size
        for row in range(rows):
            before[row] += table[row, column]
    out[2] = (total * total - squares_row) // 2
    out[3] = (total * total - squares_column) // 2


def assess(gens: npt.NDArray[Any], ages: npt.NDArray[Any], cold_after: int, *, time_ns: int = 0) -> Sample:
    """Compare generations with the truth.

    gens: int[pages], generations below the youngest (0 .. 3), one a resident page. ages: int[pages], time since its last
    use in any unit, not negative; cold_after in the same unit.
    """
    n_gens = int(gens.max(initial=0)) + 1
    longest = int(ages.max(initial=0))
    table = np.zeros((max(n_gens, 4), longest + 1), np.int64)
    _cross(ages.astype(np.int64, copy=False), gens.astype(np.int64, copy=False), table)
    return _of_table(table, cold_after, time_ns)


def _of_table(table: npt.NDArray[np.int64], cold_after: int, time_ns: int) -> Sample:
    pairs = np.zeros(4 + len(table), np.int64)
    _pairs(table, pairs)
    pages = int(table.sum())
    cold = int(table[:, cold_after:].sum())
    called = int(table[2:].sum())
    both = int(table[2:, cold_after:].sum())
    return Sample(
        time_ns=time_ns,
        pages=pages,
        cold=cold,
        called=called,
        both=both,
        false_old=called - both,
        false_young=cold - both,
        concordant=int(pairs[0]),
        discordant=int(pairs[1]),
        pairs_by_gen=int(pairs[2]),
        pairs_by_age=int(pairs[3]),
        working_set=pages - cold,
        estimate=pages - called,
    )


@njit
def _survey(s: State, table: Array, cold_after: Int, causes: Array) -> None:
    """The contingency table of a host: resident pages on a list, by generations below max_seq and by ticks of idleness; and
    causes[not consulted, fast_only, not walked] of false old ones."""
    touch, page, word = s.touch, s.page, s.word
    ask = s.ask[at.ASK_WALK]
    youngest = word[at.MAX_SEQ] % at.N_GENS
    longest = table.shape[1] - 1
    for folio in range(word[at.N_PAGES]):
        meta = i64(page[folio_of(s.pmd, i64(folio)), at.META])
        if not meta & at.GEN_MASK:
            continue
        bits = i64(touch[folio])
        below = (youngest - (((meta & at.GEN_MASK) >> at.GEN_SHIFT) - 1)) % at.N_GENS
        idle = i64(0) if bits & at.USED_NOW else word[at.NOW] - s.used[folio]
        table[below, min(idle, longest)] += 1
        if below < 2 or idle >= cold_after:
            continue
        space = i64(s.pmd[folio // at.PTES, at.M_SPACE])
        seen = bits & (at.A_ANY if s.space[space, at.S_NOTIFIERS] else at.A_PRIMARY)
        if not seen:
            continue
        row = s.space[space, at.S_MODE] * 8
        if ask[row + seen] & at.YOUNG:
            causes[2] += 1
        elif seen == at.A_SHADOW and ask[row + at.A_TDP] & at.YOUNG:
            causes[1] += 1
        else:
            causes[0] += 1


def assess_state(s: State, time_ns: int, host: Host) -> Sample:
    """Compare a host's generations with the truth; a page is cold if it was idle for `host.cold_after_ns` or longer."""
    cold_after = max(1, -(-host.cold_after_ns // host.tick_ns))
    longest = min(int(s.word[at.NOW]) + 1, 8 * cold_after)
    table = np.zeros((4, max(longest, cold_after) + 1), np.int64)
    causes = np.zeros(3, np.int64)
    _survey(s, table, cold_after, causes)
    not_consulted, fast_only, not_walked = (int(n) for n in causes)
    return replace(
        _of_table(table, cold_after, time_ns),
        false_old_not_consulted=not_consulted,
        false_old_fast_only=fast_only,
        false_old_not_walked=not_walked,
    )


def skew(evictions: Sequence[int], bound: Sequence[int]) -> list[float | None]:
    """Share of each space in all evictions, minus its share under a bound (OPT): above 0, it pays for others. None where
    nothing was evicted."""
    ours, theirs = sum(evictions), sum(bound)
    if not ours or not theirs:
        return [None] * len(evictions)
    return [own / ours - best / theirs for own, best in zip(evictions, bound, strict=True)]
