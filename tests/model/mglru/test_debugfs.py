"""lru_gen's text and commands, byte for byte. The expected texts and exit codes were printed by Debian kernels in the lab."""

from __future__ import annotations

import pytest
from tests.model.mglru.minihost import MiniHost

from agewalk.core.units import Ns
from agewalk.model.mglru import debugfs
from agewalk.model.mglru.aging.generations import EINVAL
from agewalk.model.mglru.debugfs import Command
from agewalk.model.mglru.features import MGLRU

MS = 1_000_000

# "+ 1 0 3", "+ 1 0 4", "+ 1 0 5" with 0.1 s between them, then cat lru_gen
LRU_GEN = {
    "6.1": """\
memcg     1 /
 node     0
          3       2668        434           0 
          4        348          2           0 
          5        232          4           0 
          6        116       1020           0 
""",  # noqa: W291
    "7.3": """\
memcg 1 /
 node     0
          3       4164         15           0 
          4        360          0           0 
          5        236          0           0 
          6        120       1722           0 
""",  # noqa: W291
}
# the oldest and the youngest generation of lru_gen_full
OLDEST = {
    "6.1": """\
          3       2668        434           0 
                     0          0r          0e          0p          0r          0e          0p
                     1          0r          0e          0p          0r          0e          0p
                     2          0r          0e          0p          0r          0e          0p
                     3          0r          0e          0p          0r          0e          0p
                                0           0           0           0           0           0 
""",  # noqa: W291
    "7.3": """\
          3       4164         15           0 
                     0          0r          0e          0p          0r          0e          0p
                     1          0r          0e          0p          0r          0e          0p
                     2          0r          0e          0p          0r          0e          0p
                     3          0r          0e          0p          0r          0e          0p
                                0x          0x          0x          0x
""",  # noqa: W291
}
YOUNGEST = {
    "6.1": """\
                     3          0R          0T          0           0R          0T          0 
                                0L          0O          0Y          0N          0F          0A
""",  # noqa: W291
    "7.3": """\
                     3          0R          0T          0x          0R          0T          0x
                                0T          0Y          0F          0A
""",
}


def recorded(kernel: str) -> MiniHost:
    """A host in the state that the recorded text tells."""
    host = MiniHost(kernel, 1)
    lru = host.lruvec
    lru.max_seq.value = 6
    for cell in lru.min_seq:
        cell.value = 3
    for line in LRU_GEN[kernel].splitlines()[2:]:
        seq, age, anon, file = (int(x) for x in line.split())
        lru.timestamps[seq % 4].value = Ns((5000 - age) * MS)
        lru.nr_pages[seq % 4][0].value, lru.nr_pages[seq % 4][1].value = anon, file
    return host


@pytest.mark.parametrize("kernel", ["6.1", "7.3"])
def test_lru_gen(kernel: str) -> None:
    host = recorded(kernel)
    text = host.run(debugfs.show(host.lruvec, memcg=1, path="/", now=Ns(5000 * MS), full=False))
    assert text == LRU_GEN[kernel]


@pytest.mark.parametrize("kernel", ["6.1", "7.3"])
def test_lru_gen_full(kernel: str) -> None:
    host = recorded(kernel)
    text = host.run(debugfs.show(host.lruvec, memcg=1, path="/", now=Ns(5000 * MS), full=True))
    assert text.startswith(debugfs.header(MGLRU[kernel], 1, "/") + OLDEST[kernel])
    assert text.endswith(YOUNGEST[kernel])
    assert len(text.splitlines()) == 2 + 4 * 6


def test_a_generation_behind_its_type_is_marked() -> None:
    host = recorded("7.3")
    host.lruvec.min_seq[1].value = 5
    text = host.run(debugfs.show(host.lruvec, memcg=1, path="/", now=Ns(5000 * MS), full=True))
    assert text.splitlines()[2] == "          3       4164         15           0x"


REFUSED = ["+", "+ 1 0 3 1 1 x", "+ 1 0 0x3", "* 1 0 1", "+ 1 0 3 500", "+ 1 0 3 x"]


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
@pytest.mark.parametrize("text", REFUSED)
def test_refused(kernel: str, text: str) -> None:
    assert debugfs.parse_command(text, MGLRU[kernel]) == EINVAL


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("+ 1 0 3", Command("+", 1, 0, 3), Command("+", 1, 0, 3)),
        ("+1 0 3", Command("+", 1, 0, 3), Command("+", 1, 0, 3)),
        ("  + 12 0 3 1 0 ", Command("+", 12, 0, 3, 1, 0), Command("+", 12, 0, 3, 1, 0)),
        ("- 1 0 1 max", EINVAL, Command("-", 1, 0, 1, 201)),
        ("- 1 0 1 201", EINVAL, Command("-", 1, 0, 1, 201)),
        ("- 1 0 3 0x3c 1", EINVAL, Command("-", 1, 0, 3, 60, 1)),
        ("- 1 0 0 010", Command("-", 1, 0, 0, 10), Command("-", 1, 0, 0, 8)),
        ("- 1 0 0 12345", EINVAL, EINVAL),
        ("- 1 0 3 60 0x10", EINVAL, EINVAL),
    ],
)
def test_the_fifth_field_became_a_string(text: str, old: Command | int, new: Command | int) -> None:
    assert debugfs.parse_command(text, MGLRU["6.12"]) == old
    assert debugfs.parse_command(text, MGLRU["6.18"]) == new


def test_a_write_of_several_commands_ends_at_the_first_error() -> None:
    got = debugfs.parse_commands("+ 1 0 3; - 1 0 1 60 64,\n bad \n + 1 0 4", MGLRU["6.12"])
    assert got == [Command("+", 1, 0, 3), Command("-", 1, 0, 1, 60, 64), EINVAL]
    assert got[1] == debugfs.parse_command(got[1].text(), MGLRU["6.12"])  # type: ignore[union-attr]


def test_what_was_left_out() -> None:
    assert Command("+", 1, 0, 3).force_scan
    assert not Command("+", 1, 0, 3, 1, 0).force_scan
    assert Command("-", 1, 0, 3).nr_to_reclaim == (1 << 64) - 1


def test_enabled() -> None:
    assert debugfs.enabled_show() == "0x0007\n"
    assert debugfs.enabled_show(nonleaf_young=False) == "0x0003\n"
    assert [debugfs.enabled_store(t) for t in ("y\n", "N", "0x5\n", "3", "foo")] == [7, 0, 5, 3, EINVAL]


# what the lab's kernels answered (0: accepted), and max_seq after it, each script starting at max_seq 3
SCRIPTS = {
    "6.12": [("+ 1 0 3", 0, 4), ("+ 1 0 2", 0, 4), ("+ 1 0 9", -22, 4), ("- 99 0 1", -22, 4), ("+ 1 7 4", -22, 4)],
    "6.18": [("+ 1 0 3", 0, 4), ("+ 1 0 2", 0, 5), ("+ 1 0 3", 0, 6), ("+ 1 0 99", -22, 6), ("- 1 0 0 010", 0, 6)],
    "7.3": [("+ 1 0 3", 0, 4), ("+ 1 0 2", 0, 5), ("- 1 0 0 202", -22, 5), ("+ 1 0 4 1 0;+ 1 0 4 1 0", 0, 7)],
}


@pytest.mark.parametrize("kernel", sorted(SCRIPTS))
def test_commands_answer_as_kernels_do(kernel: str) -> None:
    host = MiniHost(kernel, 64)
    host.touch(*range(64))
    for text, answer, max_seq in SCRIPTS[kernel]:
        assert host.run(debugfs.lru_gen_seq_write(host.lruvec, host, text)) == answer
        assert host.lruvec.max_seq.value == max_seq


def test_a_write_evicts() -> None:
    host = MiniHost("6.18", 256)
    host.touch(*range(256))
    assert host.run(debugfs.lru_gen_seq_write(host.lruvec, host, "+ 1 0 3\n+ 1 0 4\n+ 1 0 5")) == 0
    assert host.run(debugfs.lru_gen_seq_write(host.lruvec, host, "- 1 0 4 200 100")) == 0
    assert len(host.shadows) == 100
    assert host.run(debugfs.lru_gen_seq_write(host.lruvec, host, "- 1 0 5 200 100")) == EINVAL  # too young
