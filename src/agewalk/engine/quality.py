"""How good aging is, against the truth: when each page was last used. Formulas: docs/quality-of-aging.md.

Everything is counted in integers over one population (the pages on lists) at one moment (the end of an aging pass); ratios
are properties, so that samples can be added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agewalk.engine.compiler.jit import Array, Int, entry, i64, njit
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state import layout as at
from agewalk.engine.state.arrays import State
from agewalk.engine.state.config import Host
from agewalk.engine.state.huge import folio_of, is_huge
from agewalk.engine.state.lru_lists import region_of


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


#: Why a page that was used is called old, in the order in which `_old_cause` asks.
FALSE_OLD: Final = (
    "not_consulted",  # its accessed bit is in a table that the walk does not ask
    "fast_only",  # the walk asked, and the answer left the bit out
    "look_around",  # the walk did not come by; a look-around did, and missed it
    "bloom",  # the Bloom filter ruled its page table out
    "idle_entry",  # the accessed bit above its page table was clear
    "not_walked",  # its address space was not walked since
    "sank",  # seen in time, and two generations were opened since
    "first_sight",  # seen once, which since 6.14 only marks it
    "batch",  # seen, and waits in a CPU's batch
    "lost",  # its bit went away unseen, with its mapping or by a protocol that clears without asking
)
#: Why a page that was idle is called young, in the order in which `_young_cause` asks.
FALSE_YOUNG: Final = (
    "window",  # used since its generation opened: it had no time to sink
    "huge",  # another page of its 2 MiB mapping was
    "not_consulted",  # an old bit, which an earlier pass left standing for one of these causes, was read late
    "fast_only",
    "look_around",
    "bloom",
    "idle_entry",
    "not_walked",
    "not_cleared",  # an earlier pass read it and left it
    "stale_bit",  # an old bit, set and left since the last assessed pass
    "kept",  # eviction put it back, or passed it over for its tier
    "batch",  # it came with its CPU's batch, later than its use
)
(_NOT_CONSULTED, _FAST_ONLY, _LOOK, _BLOOM, _IDLE, _NOT_WALKED, _SANK, _FIRST_SIGHT, _BATCH, _LOST) = range(
    len(FALSE_OLD)
)
(_WINDOW, _HUGE) = range(2)
_LEFT: Final = 2  # + cause of FALSE_OLD up to _NOT_WALKED
_NOT_CLEARED, _STALE, _KEPT, _BATCHED = range(8, 12)


@dataclass(frozen=True)
class Sample:
    """One aging pass, or the sum of many.

    cold: pages idle for at least `cold_after` (truth); called: pages in the older half of the generations that exist
    (seq <= max_seq - 2, what eviction takes from); both: their intersection.
    concordant, discordant: pairs of pages of different generation and different true age, ordered alike or not;
    pairs_by_gen, pairs_by_age: pairs that differ in generation, in true age. working_set: pages not cold; estimate: pages
    not called cold. old_causes, young_causes: false old and false young ones by FALSE_OLD and FALSE_YOUNG, which they sum up
    to; empty where only generations and ages are known (`assess`).
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
    old_causes: tuple[int, ...] = ()
    young_causes: tuple[int, ...] = ()

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

    @property
    def false_old_by(self) -> dict[str, int]:
        """False old pages by cause."""
        return dict(zip(FALSE_OLD, self.old_causes, strict=False))

    @property
    def false_young_by(self) -> dict[str, int]:
        """False young pages by cause."""
        return dict(zip(FALSE_YOUNG, self.young_causes, strict=False))


def total(samples: list[Sample]) -> Sample | None:
    """The sum of all samples; None of none."""
    if not samples:
        return None
    sums: dict[str, Any] = {}
    for one in fields(Sample):
        values = [getattr(s, one.name) for s in samples]
        if isinstance(values[0], tuple):
            sums[one.name] = tuple(sum(parts) for parts in zip(*values, strict=True))
        else:
            sums[one.name] = sum(values)
    return Sample(**{**sums, "time_ns": samples[-1].time_ns})


@entry
def _cross(ages: Array, gens: Array, table: Array) -> None:
    """Count pages by (generations below the youngest, true age)."""
    for i in range(ages.shape[0]):
        table[gens[i], ages[i]] += 1


@entry
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
def _unread(s: State, pmd: Int, space: Int, bits: Int, used: Int) -> Int:
    """Why the last pass left accessed bits of a page standing; -1 if it read them as young. bits: those of its tables."""
    word, where = s.word, s.pmd[pmd, at.M_WALK]
    if where // 4 == word[at.WALK_SEQ] and where % 4 == at.WALK_READ:
        if not bits & at.A_PRIMARY and not s.space[space, at.S_ASKED]:
            return i64(_NOT_CONSULTED)
        question = at.ASK_HUGE_WALK if s.pmd[pmd, at.M_STATE] == at.HUGE_ENTRY else at.ASK_WALK
        young = s.ask[question, s.space[space, at.S_MODE] * 8 + bits] & at.YOUNG
        return i64(-1) if young else i64(_FAST_ONLY)
    if s.pmd[pmd, at.M_LOOK] > used:
        return i64(_LOOK)
    if where // 4 != word[at.WALK_SEQ]:
        return i64(_NOT_WALKED)
    return i64(_BLOOM) if where % 4 == at.WALK_BLOOM else i64(_IDLE)


@njit
def _old_cause(s: State, page: Int, meta: Int, seq: Int, used: Int, unread: Int, bits: Int) -> Int:
    """Which of FALSE_OLD. unread: what `_unread` says of the accessed bits, if `bits` are set."""
    word = s.word
    if bits and unread >= 0:
        return unread
    if used <= word[at.OPENED + (seq + 1) % at.N_GENS]:  # no bit is left: within one tick, the use came first
        return i64(_SANK)
    if word[at.FEATURES] & f.WORKINGSET_PROTECTION and meta & at.REFERENCED:
        return i64(_FIRST_SIGHT)
    for i in range(word[at.Q_ACTIVATE]):
        if word[at.Q_ACTIVATE + 1 + i] == page:
            return i64(_BATCH)
    return i64(_LOST)


@njit
def _young_cause(s: State, meta: Int, seq: Int, used: Int, latest: Int, survived: Int) -> Int:
    """Which of FALSE_YOUNG. latest: tick of the last use of any page that one entry maps; left: cause + 1 for which an accessed
    bit survived the pass before, 0 for none."""
    opened, by = s.word[at.OPENED + seq % at.N_GENS], meta & at.BY_MASK
    if used >= opened:
        return i64(_WINDOW)
    if latest >= opened:
        return i64(_HUGE)
    if by == at.BY_FAULT:
        return i64(_BATCHED)
    if survived:
        return _LEFT + survived - 1
    if by in (at.BY_KEPT, at.BY_CARRY):
        return i64(_KEPT)
    return i64(_BATCHED) if by == at.BY_BATCH else i64(_STALE)


@njit
def _last_use(s: State, page: Int) -> Int:
    """Tick of the last use of a page: the truth."""
    return s.word[at.NOW] if s.pte_bits[page] & at.USED_NOW else i64(s.used_at[page])


@entry
def _survey(s: State, regions: Int, table: Array, cold_after: Int, survived: Array, old: Array, young: Array) -> None:
    """The contingency table of a host: resident 4 KiB pages on a list, by generations below max_seq and by ticks of idleness;
    false old and false young ones by cause; columns LISTED, YOUNG and USED of by_region[].

    left: uint8[pages], kept from pass to pass: 1 + why an accessed bit survived it, 0 for no bit.
    """
    word, longest = s.word, table.shape[1] - 1
    for row in range(regions):
        for column in range(c.LISTED, c.USED + 1):
            s.by_region[row, column] = 0
    for pmd in range(word[at.N_PAGES] // at.PTES):
        first = i64(pmd * at.PTES)
        space = i64(s.pmd[pmd, at.M_SPACE])
        seen = i64(at.A_ANY if s.space[space, at.S_NOTIFIERS] else at.A_PRIMARY)
        latest = i64(-1)
        if is_huge(s.pmd, first):
            for page in range(first, first + at.PTES):
                latest = max(latest, _last_use(s, i64(page)))
        for page in range(first, first + at.PTES):
            meta = i64(s.folios[folio_of(s.pmd, i64(page)), at.META])
            if not meta & at.GEN_MASK:
                survived[page] = 0
                continue
            used = _last_use(s, i64(page))
            idle = word[at.NOW] - used
            below = (word[at.MAX_SEQ] - (((meta & at.GEN_MASK) >> at.GEN_SHIFT) - 1)) % at.N_GENS
            seq = word[at.MAX_SEQ] - below
            table[below, min(idle, longest)] += 1
            region = region_of(s.space, space, i64(page))
            s.by_region[region, c.LISTED] += 1
            if below < at.MIN_GENS:
                s.by_region[region, c.YOUNG] += 1
            if idle < cold_after:
                s.by_region[region, c.USED] += 1
            bits = i64(s.pte_bits[page]) & seen
            unread = _unread(s, i64(pmd), space, bits, used) if bits else i64(-1)
            if below < at.MIN_GENS and idle >= cold_after:
                young[_young_cause(s, meta, seq, used, latest, i64(survived[page]))] += 1
            elif below >= at.MIN_GENS and idle < cold_after:
                old[_old_cause(s, i64(page), meta, seq, used, unread, bits)] += 1
            survived[page] = (unread + 1 if unread >= 0 else _NOT_CLEARED - _LEFT + 1) if bits else 0


class Assessor:
    """Compares a host's generations with the truth after each pass; it remembers which bits each pass left standing."""

    def __init__(self, host: Host, s: State) -> None:
        self._cold_after = max(1, -(-host.cold_after_ns // host.tick_ns))
        self._left = np.zeros(len(s.pte_bits), np.uint8)

    def __call__(self, s: State, time_ns: int) -> Sample:
        """A page is cold if it was idle for `host.cold_after_ns` or longer; idle times beyond 8 times that count as equal."""
        longest = min(int(s.word[at.NOW]) + 1, 8 * self._cold_after)
        table = np.zeros((at.N_GENS, max(longest, self._cold_after) + 1), np.int64)
        old, young = np.zeros(len(FALSE_OLD), np.int64), np.zeros(len(FALSE_YOUNG), np.int64)
        _survey(s, len(s.by_region), table, self._cold_after, self._left, old, young)
        return replace(
            _of_table(table, self._cold_after, time_ns),
            old_causes=tuple(int(n) for n in old),
            young_causes=tuple(int(n) for n in young),
        )


def skew(evictions: Sequence[int], bound: Sequence[int]) -> list[float | None]:
    """Share of each space in all evictions, minus its share under a bound (OPT): above 0, it pays for others. None where
    nothing was evicted."""
    ours, theirs = sum(evictions), sum(bound)
    if not ours or not theirs:
        return [None] * len(evictions)
    return [own / ours - best / theirs for own, best in zip(evictions, bound, strict=True)]
