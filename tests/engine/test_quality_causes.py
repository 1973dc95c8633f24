"""Why pages are called old although used, or young although idle: each cause by hand (docs/quality-of-aging.md).

Time runs in ticks of one nanosecond; passes are at full thousands and a page is cold after T = 1000 unless a case says
otherwise. "o(s)" is the tick when generation s was opened: the first ones at 0, then one at each pass.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.engine.conformance import features_of

from agewalk.engine import quality
from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.eviction.reclaim import run_aging
from agewalk.engine.quality import FALSE_OLD, FALSE_YOUNG, Sample
from agewalk.engine.state.config import Host, Space
from agewalk.engine.state.counters import BY_EVICTIONS, BY_FAULTS, BY_REFAULTS
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol
from agewalk.model.protocols.tables.enumerate import protocol_table
from agewalk.model.protocols.tables.table import ProtocolTable

GUEST, NESTED, PROCESS = 0, 1, 2


class Story:
    """A host with one VM (or process) and what happens on it."""

    def __init__(
        self,
        kernel: str,
        protocol: str | ProtocolTable,
        pages: int,
        *,
        cold: int = 1000,
        batch: int = 1,
        kvm: bool = True,
        others: int = 0,
        huge: bool = False,
    ) -> None:
        spaces = [Space("vm", pages, kvm=kvm, huge=huge)] + ([Space("process", others, kvm=False)] if others else [])
        host = Host(
            spaces, 10_000, features_of(profile(kernel)), tick_ns=1, cold_after_ns=cold, hot_after_ns=cold,
            folio_batch_size=batch, regions=4,
        )  # fmt: skip
        table = protocol if isinstance(protocol, ProtocolTable) else protocol_table(get_protocol(protocol))
        self.engine = Engine(host, table)

    def use(self, time: int, *pages: int, context: int = GUEST, space: int = 0) -> None:
        """The guest writes to pages."""
        n = len(pages)
        columns = (
            np.full(n, space, np.uint16),
            np.array(pages, np.uint32),
            np.ones(n, np.bool_),
            np.full(n, context, np.uint8),
        )
        self.engine.feed(HostAccesses(np.full(n, time, np.int64), *columns))

    def age(self, time: int, *, force: bool = True) -> Sample:
        """A pass, and its sample."""
        self.engine.advance(time)
        self.engine.age(force_scan=force)
        sample = self.engine.samples[-1]
        assert sum(sample.old_causes) == sample.false_old
        assert sum(sample.young_causes) == sample.false_young
        return sample

    def unseen_pass(self, time: int) -> None:
        """A pass as pressure makes it: nobody compares it with the truth."""
        self.engine.advance(time)
        run_aging(self.engine.state, 1)

    def reclaim(self, time: int, pages: int) -> int:
        """memory.reclaim."""
        self.engine.advance(time)
        return self.engine.reclaim(pages)


def some(causes: dict[str, int]) -> dict[str, int]:
    """Those that occur."""
    return {name: n for name, n in causes.items() if n}


def sparse() -> Story:
    """512 pages of one page table. A forced pass at 1000 sees all young and enters the table into the Bloom filter; the one at
    2000 sees only page 300, used at 1500, which is too few: the filter of the next one says no. Page 300 is used at 2500."""
    story = Story("6.18", "linux-6.18", 512)
    story.use(500, *range(512))
    story.age(1000)
    story.use(1500, 300)
    story.age(2000, force=False)
    story.use(2500, 300)
    return story


def idle_story() -> Story:
    """6.9, where even a forced walk passes over an entry whose accessed bit is clear. The process populated all pages, so the
    pass at 1000 reads the table; the guest's use of page 300 at 2500 leaves no trace there."""
    story = Story("6.9", "linux-6.9", 512)
    story.use(500, *range(512), context=PROCESS)
    story.age(1000)
    story.age(2000)
    story.use(2500, 300)
    return story


# --- false old ----------------------------------------------------------------------------------------------------------


def test_old_not_consulted() -> None:
    """linux-6.9 asks no secondary MMU: four pages used in each second look idle from the second pass on."""
    story = Story("6.12", "linux-6.9", 4)
    for second in range(3):
        story.use(1000 * second + 500, 0, 1, 2, 3)
        sample = story.age(1000 * second + 1000)
    assert (sample.false_old, some(sample.false_old_by)) == (4, {"not_consulted": 4})


def test_old_fast_only() -> None:
    """houghton's walk asks with fast_only: of pages 0 .. 3 (TDP MMU) and 4 .. 6 (nested) it sees the first alone."""
    story = Story("6.12", "houghton", 7)
    for second in range(3):
        story.use(1000 * second + 500, 0, 1, 2, 3)
        story.use(1000 * second + 600, 4, 5, 6, context=NESTED)
        sample = story.age(1000 * second + 1000)
    assert (sample.false_old, some(sample.false_old_by)) == (3, {"fast_only": 3})


def test_old_bloom() -> None:
    """At 3000 the filter says no. Page 300 came into its generation at the pass of 2000, is two below the youngest, idle 500."""
    sample = sparse().age(3000, force=False)
    assert some(sample.false_old_by) == {"bloom": 1}


def test_old_look_around() -> None:
    """As before, but at 2600 page 0 is used, and at 2700 eviction asks it and looks around: pages 0 .. 63. It missed 300."""
    story = sparse()
    story.use(2600, 0)
    assert story.reclaim(2700, 40) >= 40
    assert story.engine.result().counts["look_around_ptes"] == 64
    assert some(story.age(3000, force=False).false_old_by) == {"look_around": 1}


def test_old_idle_entry() -> None:
    sample = idle_story().age(3000)
    assert some(sample.false_old_by) == {"idle_entry": 1}


def test_old_not_walked() -> None:
    """6.1 passes over an mm with fewer than 64 pages (MIN_LRU_BATCH): all three were used 500 before the pass."""
    story = Story("6.1", "linux-6.9", 3)
    for second in range(3):
        story.use(1000 * second + 500, 0, 1, 2)
        sample = story.age(1000 * second + 1000)
    assert some(sample.false_old_by) == {"not_walked": 3}


def test_old_sank() -> None:
    """T = 3000. Used at 500, seen at 1000, and at 2000 two generations below the youngest already: idle 1500."""
    story = Story("6.12", "linux-6.13", 2, cold=3000)
    story.use(500, 0, 1)
    story.age(1000)
    assert some(story.age(2000).false_old_by) == {"sank": 2}


def test_old_first_sight() -> None:
    """6.18, a process: a new page enters below the youngest generation, and the pass that sees it first only marks it."""
    story = Story("6.18", "linux-6.18", 2, kvm=False)
    story.use(500, 0, 1)
    sample = story.age(1000)
    assert (sample.pages, some(sample.false_old_by)) == (2, {"first_sight": 2})


def test_old_batch() -> None:
    """A process on 6.1, whose look-around puts what it finds into its CPU's batch of 15. All idle since 500; at 3500 pages 0, 1
    and 2 are used. Eviction isolates the 64 pages that came first: 0 and 66 .. 128. It asks page 0, looks at 0 .. 63, and pages
    1 and 2 wait, their bits cleared, three generations below the youngest at the pass."""
    story = Story("6.1", "linux-6.9", 130, batch=15, kvm=False)
    story.use(500, 0, *range(66, 130), *range(1, 66))
    for time in (1000, 2000, 3000):
        story.age(time)
    story.use(3500, 0, 1, 2)
    assert story.reclaim(3600, 32) == 63
    assert some(story.age(4000).false_old_by) == {"batch": 2}


def test_old_lost() -> None:
    """6.13 no longer carries accessed bits over to the page when SPTEs go: what the nested guest used is lost with it."""
    story = Story("6.13", "linux-6.13", 3)
    story.use(500, 0, 1, 2)
    story.age(1000)
    story.age(2000)
    story.use(2500, 0, 1, context=NESTED)
    story.engine.nested(0, alive=False)
    assert some(story.age(3000).false_old_by) == {"lost": 2}


# --- false young --------------------------------------------------------------------------------------------------------


def test_young_window() -> None:
    """T = 500: a bit says "since the last pass" and no more. Used at 300, seen at 1000."""
    story = Story("6.12", "linux-6.13", 2, cold=500)
    story.use(300, 0, 1)
    assert some(story.age(1000).false_young_by) == {"window": 2}


def late(story: Story, first: int) -> Sample:
    """40 pages whose bits every walk reads; idle passes; eviction asks all pages, and is content with these; a pass."""
    story.use(first - 400, *range(2, 42), context=PROCESS)
    for time in range(first, first + 2001, 1000):
        story.age(time)
    story.reclaim(first + 2500, 8)
    return story.age(first + 3000)


def test_young_not_consulted() -> None:
    """linux-6.9: used at 500, the SPTE's bit stays through passes that do not ask, and eviction at 3500 takes it for fresh."""
    story = Story("6.12", "linux-6.9", 42)
    story.use(500, 0, 1)
    assert some(late(story, 1000).false_young_by) == {"not_consulted": 2}


def test_young_fast_only() -> None:
    story = Story("6.12", "houghton", 42)
    story.use(500, 0, 1, context=NESTED)
    assert some(late(story, 1000).false_young_by) == {"fast_only": 2}


def test_young_bloom() -> None:
    """The bit that the filter hid at 3000 is read by force at 4000: idle 1500, and o(its generation) = 3000."""
    story = sparse()
    story.age(3000, force=False)
    assert some(story.age(4000).false_young_by) == {"bloom": 1}


def test_young_look_around() -> None:
    story = sparse()
    story.use(2600, 0)
    story.reclaim(2700, 40)
    story.age(3000, force=False)
    assert some(story.age(4000).false_young_by) == {"look_around": 1}


def test_young_idle_entry() -> None:
    """The bit that no pass came by to read keeps page 300 when eviction takes nearly all others, long after."""
    story = idle_story()
    story.age(3000)
    assert 480 <= story.reclaim(3500, 480) < 512
    assert some(story.age(4000).false_young_by) == {"idle_entry": 1}


def test_young_not_walked() -> None:
    """Three pages in an mm that 6.1 passes over, and 80 in one that it walks: eviction isolates 64, these three first, keeps
    them for their old bits, and takes the other 61."""
    story = Story("6.1", "linux-6.9", 3, others=80)
    story.use(500, 0, 1, 2)
    story.use(600, *range(80), space=1)
    for time in (1000, 2000, 3000):
        story.age(time)
    assert story.reclaim(3500, 32) == 61
    assert some(story.age(4000).false_young_by) == {"not_walked": 3}


def test_young_not_cleared() -> None:
    """A protocol of one's own whose walk says young and leaves the bit: read at 1000, and again at 2000."""
    table = protocol_table(get_protocol("linux-6.13"))
    rows = tuple(replace(row, fast_cleared=False) if row.question == "walk" else row for row in table.rows)
    story = Story("6.12", replace(table, rows=rows), 2)
    story.use(500, 0, 1)
    story.age(1000)
    assert some(story.age(2000).false_young_by) == {"not_cleared": 2}


def test_young_stale_bit() -> None:
    """6.18 passes over a page that waits in a CPU's batch for its list: used at 500, unread at 1000, on a list from 1500 on
    (15 make a batch), read at 2000."""
    story = Story("6.18", "linux-6.18", 15, batch=15)
    story.use(500, 0)
    assert story.age(1000).pages == 0
    story.use(1500, *range(1, 15))
    assert some(story.age(2000).false_young_by) == {"stale_bit": 1}


def test_young_huge() -> None:
    """A 2 MiB folio, faulted in by page 0 at 500. At 1500 page 7 is used: at 2000 the folio is young, and 511 of its pages have
    not been used since its generation opened at 1000. At 1000 it was young for the fault of page 0."""
    story = Story("6.12", "linux-6.13", 512, huge=True)
    story.use(500, 0)
    first = story.age(1000)
    assert (first.pages, some(first.false_young_by)) == (512, {"huge": 511})
    story.use(1500, 7)
    sample = story.age(2000)
    assert (sample.pages, sample.working_set, some(sample.false_young_by)) == (512, 1, {"huge": 511})


def test_young_kept() -> None:
    """As in "not consulted", but the passes that left the bit were not compared with the truth."""
    story = Story("6.12", "linux-6.9", 42)
    story.use(500, 0, 1)
    story.use(600, *range(2, 42), context=PROCESS)
    for time in (1000, 2000, 3000):
        story.unseen_pass(time)
    story.reclaim(3500, 8)
    assert some(story.age(4000).false_young_by) == {"kept": 2}


def test_young_batch() -> None:
    """6.12 puts a new page into the generation that is the youngest when its batch is full: used at 500, listed at 1500."""
    story = Story("6.12", "linux-6.13", 15, batch=15)
    story.use(500, 0)
    story.age(1000)
    story.use(1500, *range(1, 15))
    assert some(story.age(2000).false_young_by) == {"batch": 1}


# --- all of them ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
@pytest.mark.parametrize("protocol", ["linux-6.9", "linux-6.13", "v5", "houghton"])
def test_causes_are_exhaustive_and_sum_up(kernel: str, protocol: str) -> None:
    """Uses, passes and pressure by the dice, on two sizes of T; `age` checks the sums."""
    for cold in (700, 2500):
        dice = np.random.default_rng(cold)
        story = Story(kernel, protocol, 900, cold=cold, batch=31)
        story.use(10, *range(900))
        for second in range(1, 14):
            hot = dice.integers(0, 40, 30) + 20 * dice.integers(0, 40)
            story.use(1000 * second, *hot.tolist(), context=int(dice.integers(0, 2)))
            if second % 3 == 0:
                story.reclaim(1000 * second + 300, 60)
            story.age(1000 * second + 500, force=bool(second % 2))
        by_space = story.engine.by_space()
        assert by_space[0, 2] == story.engine.result().evictions
        assert by_space[0, 4] == story.engine.samples[-1].pages
        assert by_space[0, 5] == story.engine.samples[-1].estimate
        assert by_space[0, 6] == story.engine.samples[-1].working_set


def test_events_by_region() -> None:
    """1000 pages in at most four regions: 256 pages each. Eviction takes the 64 pages that came first; two of them come back."""
    story = Story("6.12", "linux-6.13", 1000)
    story.use(500, *range(250, 1000), *range(250))
    for time in (1000, 2000, 3000):
        story.age(time)
    assert story.reclaim(3500, 32) == 64
    story.use(3600, 250, 300)
    regions = story.engine.state.by_region
    assert regions[:, BY_EVICTIONS].tolist() == [6, 58, 0, 0]  # 250 .. 255 and 256 .. 313
    assert regions[:, BY_REFAULTS].tolist() == [1, 1, 0, 0]
    assert regions[:, BY_FAULTS].tolist() == [257, 257, 256, 232]
    assert sum(story.engine.result().refault_intervals) == 2
    assert story.engine.result().refault_intervals[7] == 2  # away for 100 ticks: 64 <= 100 < 128


def test_an_eviction_is_hot_within_t() -> None:
    """T = 1000. 64 pages used at 2600, their bits lost with the nested guest. Evicted at 3500: hot. At 3600: not."""
    for time, hot in ((3500, 64), (3600, 0)):
        story = Story("6.13", "linux-6.13", 200)
        story.use(500, *range(200))
        story.age(1000)
        story.age(2000)
        story.use(2600, *range(64), context=NESTED)
        story.engine.nested(0, alive=False)
        story.age(3000)
        assert story.reclaim(time, 32) == 64
        assert story.engine.result().hot_evictions == hot


def test_every_cause_has_a_case() -> None:
    cases = {name for name in globals() if name.startswith("test_")}
    assert {f"test_old_{cause}" for cause in FALSE_OLD} <= cases
    assert {f"test_young_{cause}" for cause in FALSE_YOUNG} <= cases
    assert quality.FALSE_OLD is FALSE_OLD


@pytest.mark.slow
def test_seeded_faults_are_caught() -> None:
    """tests/engine/quality_faults.py, in a process of its own."""
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "tests.engine.quality_faults"]
    done = subprocess.run(
        command, check=False, env=env, cwd=Path(__file__).parents[2], timeout=600, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
