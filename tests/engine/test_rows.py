"""Rows on their way into a host: long ticks and short ones, rows that a host cannot take, columns of any kind."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.engine.conformance import features_of, table_of

from agewalk.core.errors import UsageError
from agewalk.engine.access.batch import BLOCK, CHUNK, EncodedAccesses, end_of_tick, plain
from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.state import layout as at
from agewalk.engine.state.config import Host, Space
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol

PAGES = 700


def engine_of(policy: str = "mglru", *, tick_ns: int = 1000, age_every_ns: int = 0) -> Engine:
    """Two VMs with too little memory."""
    host = Host(
        [Space("a", PAGES), Space("b", PAGES)], 900, features_of(profile("6.18")),
        tick_ns=tick_ns, age_every_ns=age_every_ns, cold_after_ns=2000, hot_after_ns=2000, policy=policy, folio_batch_size=31,
    )  # fmt: skip
    return Engine(host, table_of(get_protocol("linux-6.18")))


def stream(rows: int, *, turn: int = 1) -> HostAccesses:
    """The spaces take turns of `turn` rows; time goes on by 1 a row."""
    dice = np.random.default_rng(rows)
    space = (np.arange(rows) // turn % 2).astype(np.uint16)
    pages = dice.integers(0, PAGES, rows).astype(np.uint32)
    return HostAccesses(np.arange(rows), space, pages, dice.random(rows) < 0.6, np.zeros(rows, np.uint8))


def told(engine: Engine) -> dict[str, Any]:
    """All that the host knows, but for the place in its last batch."""
    found = {name: array.tolist() for name, array in engine.state._asdict().items()}
    for place in at.SCRATCH:
        found["word"][place] = 0
    return {**found, "samples": engine.samples}


def cut(batch: HostAccesses, start: int, end: int) -> HostAccesses:
    """Some of its rows."""
    columns: tuple[Any, ...] = (batch.time_ns, batch.space, batch.page, batch.write, batch.context)
    return HostAccesses(*(column[start:end] for column in columns))


@pytest.mark.parametrize("policy", ["mglru", "two-list"])
@pytest.mark.parametrize("turn", [1, 100, 10**6])
@pytest.mark.parametrize("tick_ns", [7, 300, 5 * CHUNK])
def test_ticks_of_every_length(policy: str, turn: int, tick_ns: int) -> None:
    """A tick of a few rows, of a good part of a chunk, and of more rows than there are pages, which are noted page by page."""
    batch = stream(2 * CHUNK + 100, turn=turn)
    whole, parts = (engine_of(policy, tick_ns=tick_ns, age_every_ns=3000) for _ in range(2))
    whole.feed(batch)
    for start in range(0, len(batch.page), 50):
        parts.feed(cut(batch, start, start + 50))
    assert told(whole) == told(parts)
    last = {(space, page): row for row, (space, page) in enumerate(zip(batch.space, batch.page, strict=True))}
    for (space, page), row in last.items():
        assert whole.state.used_at[whole.state.space[space, at.S_FIRST] + page] == row // tick_ns
    assert not (whole.state.pte_bits & at.USED_NOW).any()


@pytest.mark.parametrize("row", [0, 1, BLOCK + 5, CHUNK - 1, CHUNK, CHUNK + 700])
@pytest.mark.parametrize("what", ["page", "space"])
def test_a_bad_row_is_named_and_those_before_it_are_taken(row: int, what: str) -> None:
    good = stream(2 * CHUNK, turn=200)
    bad = replace(good, space=good.space.copy(), page=good.page.copy())
    column: Any = {"page": bad.page, "space": bad.space}[what]
    column[row] = {"page": PAGES, "space": 2}[what]
    engine, other = engine_of(), engine_of()
    with pytest.raises(UsageError, match=rf"row {row}: page .* does not exist"):
        engine.feed(bad)
    other.feed(cut(good, 0, row))
    assert {**told(engine), "word": 0} == {**told(other), "word": 0}  # where time stands: at the bad row
    assert engine.result() == other.result()
    for each in (engine, other):
        each.feed(cut(good, row, 2 * CHUNK))
    assert told(engine) == told(other)


def test_another_tick_would_show() -> None:
    """A seeded fault: ticks that are a little longer."""
    usual, longer = engine_of(tick_ns=300), engine_of(tick_ns=301)
    for engine in (usual, longer):
        engine.feed(stream(CHUNK))
    assert told(usual)["used_at"] != told(longer)["used_at"]


def test_a_batch_that_runs_back_changes_nothing() -> None:
    engine = engine_of()
    engine.feed(stream(100))
    before = told(engine)
    with pytest.raises(UsageError, match="back in time"):
        engine.feed(stream(100))
    assert told(engine) == before


def test_columns_of_any_kind() -> None:
    """Other widths, views with gaps, arrays that may not be written."""
    batch = stream(1000)
    usual, other = engine_of(), engine_of()
    usual.feed(batch)
    sparse = np.zeros((1000, 2), np.int64)
    sparse[:, 0] = batch.page
    fixed = batch.write.copy()
    fixed.flags.writeable = False
    other.feed(
        HostAccesses(batch.time_ns.astype(np.uint64), batch.space.astype(np.int32), sparse[:, 0], fixed, batch.context)  # type: ignore[arg-type]
    )
    assert told(usual) == told(other)


def test_the_end_of_a_tick() -> None:
    dice = np.random.default_rng(1)
    times = np.sort(dice.integers(0, 300, 2 * CHUNK))
    rows = plain(np.zeros(1, np.uint32), np.zeros(1, np.uint8))._replace(time_ns=times)
    assert isinstance(rows, EncodedAccesses)
    for start in range(0, 2 * CHUNK, 37):
        for end in (start + 1, start + 40, 2 * CHUNK):
            until = int(times[start]) + 1
            wanted = min(int(np.searchsorted(times, until)), start + CHUNK, end)
            assert end_of_tick(rows, start, min(end, 2 * CHUNK), until) == wanted, (start, end)
