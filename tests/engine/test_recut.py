"""How a stream is cut into batches changes nothing: every array of a host, every counter and sample, every baseline."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.conformance import features_of, table_of

from agewalk.engine.baselines.curve import LruCurve, Shards
from agewalk.engine.baselines.queues import POLICIES, Queue
from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.state import layout as at
from agewalk.engine.state.config import Host, Space
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol

pytestmark = pytest.mark.slow

HOSTS = (
    ("6.1", "linux-6.9", "mglru"), ("6.12", "linux-6.13", "mglru"), ("6.15", "linux-6.15", "mglru"),
    ("6.18", "linux-6.18", "mglru"), ("7.3", "linux-7.3", "mglru"), ("6.18", "v5", "mglru"), ("6.18", "v7", "mglru"),
    ("6.18", "houghton", "mglru"),
    ("6.18", "christopherson", "mglru"), ("6.12", "linux-6.13", "two-list"), ("6.18", "linux-6.18", "two-list"),
)  # fmt: skip
ROWS = 500
SPACES = (160, 90)


def stream(seed: int) -> HostAccesses:
    """Bursts and pauses, hot and cold pages, two VMs with a nested guest each."""
    dice = np.random.default_rng(seed)
    times = np.cumsum(dice.choice([0, 0, 0, 1, 40], ROWS)).astype(np.int64)
    space = dice.integers(0, 2, ROWS).astype(np.uint16)
    hot = dice.integers(0, 12, ROWS)
    pages = np.where(dice.random(ROWS) < 0.5, hot, dice.integers(0, 90, ROWS) + 70 * (space == 0)).astype(np.uint32)
    context = dice.choice([0, 0, 1, 2], ROWS).astype(np.uint8)
    return HostAccesses(times, space, pages, dice.random(ROWS) < 0.8, context)


def parts(whole: HostAccesses, cuts: list[int]) -> list[HostAccesses]:
    """The same rows in several batches; some may be empty."""
    places = [0, *sorted(cuts), ROWS]
    columns: tuple[Any, ...] = (whole.time_ns, whole.space, whole.page, whole.write, whole.context)
    return [HostAccesses(*(column[a:b] for column in columns)) for a, b in pairwise(places)]


def told(kernel: str, protocol: str, policy: str, batches: list[HostAccesses]) -> dict[str, Any]:
    """Everything that a host knows after its batches."""
    host = Host(
        [Space("a", SPACES[0]), Space("b", SPACES[1], tdp=False, shadow=True)], 80, features_of(profile(kernel)),
        age_every_ns=250, hot_after_ns=300, cold_after_ns=250, tick_ns=10, regions=4, folio_batch_size=15, policy=policy,
    )  # fmt: skip
    engine = Engine(host, table_of(get_protocol(protocol)))
    for batch in batches:
        engine.feed(batch)
    found: dict[str, Any] = {name: array.tolist() for name, array in engine.state._asdict().items()}
    for place in at.SCRATCH:
        found["word"][place] = 0
    return {**found, "samples": engine.samples, "result": engine.result()}


cuts = st.lists(st.integers(0, ROWS), min_size=1, max_size=12)


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1000), where=cuts)
@pytest.mark.parametrize(("kernel", "protocol", "policy"), HOSTS)
def test_hosts(kernel: str, protocol: str, policy: str, seed: int, where: list[int]) -> None:
    batch = stream(seed)
    whole, cut = (told(kernel, protocol, policy, batches) for batches in ([batch], parts(batch, where)))
    for name, value in whole.items():
        assert value == cut[name], name


def every_row(kernel: str = "6.18", protocol: str = "linux-6.18") -> tuple[dict[str, Any], dict[str, Any]]:
    batch = stream(5)
    return told(kernel, protocol, "mglru", [batch]), told(kernel, protocol, "mglru", parts(batch, list(range(1, ROWS))))


def test_row_by_row() -> None:
    whole, rows = every_row()
    assert whole == rows
    assert whole["result"].evictions > 0
    assert whole["samples"]


def test_a_difference_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seeded fault: time is rounded down to the start of the batch."""
    feed = Engine.feed

    def late(self: Engine, batch: HostAccesses) -> None:
        if len(batch.page):
            times = np.full(len(batch.page), max(int(batch.time_ns[0]), self._now_ns), np.int64)
            feed(self, HostAccesses(times, batch.space, batch.page, batch.write, batch.context))

    monkeypatch.setattr(Engine, "feed", late)
    whole, rows = every_row()
    assert whole["used_at"] != rows["used_at"]


def baselines(batches: list[tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]]) -> list[Any]:
    """What every streamed baseline says."""
    owner = np.repeat(np.arange(2, dtype=np.uint16), 80)
    queues = [Queue(policy, 50, 160, owner=owner, hot_after_ns=100, seed=3) for policy in POLICIES]
    curve, sample = LruCurve(160), Shards(160, rate=0.5)
    for pages, times in batches:
        for queue in queues:
            queue.feed(pages, times)
        curve.feed(pages)
        sample.feed(pages)
    estimates = [sample.estimate(n, 160) for n in (10, 50, 150)]
    return [[queue.tallies() for queue in queues], curve.misses().tolist(), estimates]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), where=cuts)
def test_baselines(seed: int, where: list[int]) -> None:
    batch = stream(seed)
    places = [0, *sorted(where), ROWS]
    cut = [(batch.page[a:b] % 160, batch.time_ns[a:b]) for a, b in pairwise(places)]
    whole = baselines([(batch.page % 160, batch.time_ns)])
    assert whole == baselines(cut)
