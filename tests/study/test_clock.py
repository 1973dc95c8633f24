"""The clock begins at the first access, whatever a trace counts time from; what lies too far apart is refused at once."""

from typing import Any

import numpy as np
import pytest
from tests.study.test_metrics import S, job

from agewalk.core.errors import ScenarioError, UsageError
from agewalk.core.units import Ns
from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.state.config import Host, Space
from agewalk.model.protocols.tables.table import ProtocolTable
from agewalk.study.heatmap import heat_maps
from agewalk.study.job import MOST_TICKS, TICK, Executor
from agewalk.study.replay import replay

WALL = 1_764_370_000 * S  # a moment of 2025
ROWS = 900


@pytest.mark.parametrize("engine", ["direct", "compiled"])
def test_a_trace_with_wall_clock_times_is_like_one_from_0(write: Any, engine: Executor) -> None:
    times, pages = [i * S // 100 for i in range(ROWS)], [i * 7 % 40 if i % 3 else i % 60 for i in range(ROWS)]
    runs = []
    for name, zero in (("from-0", 0), ("wall", WALL)):
        trace = write(name, [zero + time for time in times], pages)
        runs.append(replay(job(trace, "linux-6.18", baseline=False, engine=engine, every="500 ms", frames=40)))
    assert runs[0].measured == runs[1].measured
    assert runs[0].maps == runs[1].maps
    assert runs[0].timeline == runs[1].timeline
    assert runs[0].measured.refaults > 0


def test_a_late_start_of_all_is_none(write: Any) -> None:
    the_job = job(write("t", [0, S], [0, 1]), "linux-6.18", baseline=False, engine="compiled", every="1 ms")
    late = the_job.scenario.vm[0].model_copy(update={"start": Ns(11_000 * 3600 * S)})
    moved = the_job.scenario.model_copy(update={"vm": [late]})
    assert replay(job_of(the_job, moved)).measured == replay(the_job).measured
    (heat,) = heat_maps(moved)
    assert np.flatnonzero(heat.counts.sum(axis=0)).tolist() == [0, S // heat.bin_ns]


def job_of(one: Any, scenario: Any) -> Any:
    from dataclasses import replace

    return replace(one, scenario=scenario)


@pytest.mark.parametrize("engine", ["direct", "compiled"])
def test_more_ticks_than_a_word_holds_are_refused(write: Any, engine: Executor) -> None:
    trace = write("t", [WALL, WALL + (MOST_TICKS + 1) * TICK], [0, 1])
    with pytest.raises(ScenarioError, match=r"the accesses of a span 1193\d\.. h; at most") as caught:
        replay(job(trace, "linux-6.18", baseline=False, engine=engine))
    assert "gap" in caught.value.hint
    replay(job(write("u", [WALL, WALL + MOST_TICKS * TICK], [0, 1]), "linux-6.18", baseline=False, engine=engine))


@pytest.mark.parametrize("engine", ["direct", "compiled"])
def test_a_million_agings_of_nothing_are_refused(write: Any, engine: Executor) -> None:
    trace = write("t", [0, 2_000_000 * S], [0, 1])
    with pytest.raises(ScenarioError, match="is 2,000,000 agings, one every 1 s; at most 1,000,000") as caught:
        replay(job(trace, "linux-6.18", baseline=False, engine=engine, every="1 s"))
    assert "raise aging.every to 2.00 s or more" in caught.value.hint
    assert replay(job(trace, "lru", baseline=True, every="1 s")).measured.accesses == 2  # which ages nothing


def test_the_engine_takes_no_time_that_its_words_do_not_hold() -> None:
    engine = Engine(Host([Space("a", 16)], 16, {}, tick_ns=10), ProtocolTable("none", (), ()))

    def at(time: int) -> HostAccesses:
        one = np.zeros(1, np.uint16)
        return HostAccesses(np.array([time]), one, one.astype(np.uint32), one == 0, one.astype(np.uint8))

    engine.feed(at(10 * (1 << 31) - 1))
    with pytest.raises(UsageError, match="past 2\\^31 - 1 ticks"):
        engine.feed(at(10 << 31))
    with pytest.raises(UsageError, match="past 2\\^31 - 1 ticks"):
        engine.advance(10 << 31)
    assert engine.result().accesses == 1
