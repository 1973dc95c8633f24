"""Quality of aging on cases worked by hand (docs/quality-of-aging.md)."""

import numpy as np
import pytest
from tests.engine.conformance import features_of

from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.quality import Sample, assess, skew, total
from agewalk.engine.state.config import Host, Space
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol
from agewalk.model.protocols.tables.enumerate import protocol_table


def test_four_pages_by_hand() -> None:
    """Generations 0 1 2 3 below the youngest, idle 0 5 1 9; cold from 5 on.

    Called cold: the pages of generation 2 and 3. Cold: those idle 5 and 9. Both: the last one. Pairs: (0,5) (0,9) (5,9) (0,1)
    (1,9) ordered alike, (5 in gen 1, 1 in gen 2) not: tau-b = (5 - 1) / 6.
    """
    sample = assess(np.array([0, 1, 2, 3]), np.array([0, 5, 1, 9]), 5)
    assert (sample.pages, sample.cold, sample.called, sample.both) == (4, 2, 2, 1)
    assert (sample.false_old, sample.false_young) == (1, 1)
    assert (sample.precision, sample.recall) == (0.5, 0.5)
    assert (sample.concordant, sample.discordant) == (5, 1)
    assert sample.rank_correlation == pytest.approx(4 / 6)
    assert (sample.working_set, sample.estimate) == (2, 2)


def test_ties_by_hand() -> None:
    """Kendall's tau-b with ties (Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945).

    Generations 0 0 3, ages 0 4 4: of three pairs one differs in both (alike), one in age alone, one in generation alone:
    1 / sqrt(2 * 2) = 0.5.
    """
    sample = assess(np.array([0, 0, 3]), np.array([0, 4, 4]), 1)
    assert (sample.concordant, sample.discordant, sample.pairs_by_gen, sample.pairs_by_age) == (1, 0, 2, 2)
    assert sample.rank_correlation == 0.5


def test_extremes() -> None:
    perfect = assess(np.array([0, 0, 1, 3]), np.array([1, 1, 2, 9]), 9)
    assert perfect.rank_correlation == 1
    assert assess(np.array([3, 0]), np.array([0, 7]), 7).rank_correlation == -1
    nobody = assess(np.array([], np.int64), np.array([], np.int64), 3)
    assert (nobody.precision, nobody.recall, nobody.rank_correlation) == (None, None, None)


def test_pairs_are_counted_as_one_by_one() -> None:
    rng = np.random.default_rng(4)
    gens, ages = rng.integers(0, 4, 80), rng.integers(0, 12, 80)
    sample = assess(gens, ages, 6)
    signs = [np.sign(gens[i] - gens[j]) * np.sign(ages[i] - ages[j]) for i in range(80) for j in range(i)]
    assert (sample.concordant, sample.discordant) == (signs.count(1), signs.count(-1))


def test_samples_add_up() -> None:
    both = total([assess(np.array([0, 3]), np.array([0, 9]), 5), assess(np.array([3]), np.array([0]), 5, time_ns=7)])
    assert both is not None
    assert (both.passes, both.time_ns, both.called, both.both, both.false_old) == (2, 7, 2, 1, 1)
    assert both.precision == 0.5
    assert total([]) is None


def test_skew_by_hand() -> None:
    """Evictions 30 and 10 where OPT evicts 10 and 10: shares 3/4 against 1/2, so half of a half too much: 0.25 either way."""
    assert skew([30, 10], [10, 10]) == [0.25, -0.25]
    assert skew([0, 0], [1, 1]) == [None, None]


def test_a_host_knows_the_truth() -> None:
    """Eight pages, four of them touched in each second. 6.12 with its own protocol sees them; under linux-6.9 the guest is
    invisible: every page is called old, and the four are false old for the cause "not consulted"."""
    seen = {}
    for protocol in ("linux-6.13", "linux-6.9"):
        host = Host(
            [Space("vm", 8)],
            1000,
            features_of(profile("6.12")),
            age_every_ns=1_000,
            tick_ns=100,
            cold_after_ns=2_000,
            folio_batch_size=1,  # else they would wait in a CPU's batch, on no list
        )
        engine = Engine(host, protocol_table(get_protocol(protocol)))
        for second in range(6):
            pages = np.arange(8 if second == 0 else 4, dtype=np.uint32)
            n = len(pages)
            columns = np.zeros(n, np.uint16), pages, np.ones(n, np.bool_), np.zeros(n, np.uint8)
            engine.feed(HostAccesses(np.full(n, 1_000 * second + 500, np.int64), *columns))
        engine.advance(6_000)
        seen[protocol] = engine.samples[-1]
    good, bad = seen["linux-6.13"], seen["linux-6.9"]
    assert (good.pages, good.cold, good.called, good.both) == (8, 4, 4, 4)
    assert (good.false_old, good.false_young) == (0, 0)
    assert (bad.cold, bad.called, bad.both, bad.false_old) == (4, 8, 4, 4)
    assert bad.false_old_by["not_consulted"] == 4
    assert isinstance(good, Sample)
