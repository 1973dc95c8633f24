"""Parsers on what kernels print, and on what none does: they answer, or raise InputError, and nothing else."""

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.host.dumps import AGED, FULL, PSI, RMAPS, SCOPE, SMAPS

from agewalk.core.errors import InputError
from agewalk.host.lru_gen import lru_gen
from agewalk.host.process import arguments, mappings, pagemap
from agewalk.host.texts import cgroup_paths, keyed, limit, number, pressure, rmaps

TEXTS = {
    lru_gen: AGED["6.12"] + FULL.replace("memcg     3", "memcg 4"),
    pressure: PSI,
    keyed: "anon 67166208\nfile 2105344\nworkingset_refault_anon 4140\n",
    cgroup_paths: f"12:memory,cpu:/a\n0::{SCOPE}\n",
    rmaps: RMAPS,
    mappings: SMAPS,
    number: "18446744073709551615\n",
    limit: "max\n",
}


@pytest.mark.parametrize(("release", "memcg"), [("6.12", 3), ("7.3", 81)])
def test_generations_of_two_releases(release: str, memcg: int) -> None:
    [found] = lru_gen(AGED[release])
    assert (found.memcg, found.path, found.node, found.max_seq) == (memcg, SCOPE, 0, 6)
    assert found.older_than(2000)[0] in {12794, 12795}  # 3312 - 1020, 3188 - 1036 ms up to the last aging
    assert found.older_than(3000) == (0, 0)


def test_the_working_set_is_within_two_per_cent_of_the_truth() -> None:
    """4,096 pages were touched for ever; the dump's 16,911 pages less the old ones are the working set."""
    [found] = lru_gen(AGED["6.12"])
    used = sum(gen.anon for gen in found.generations) - found.older_than(1000)[0]
    assert abs(used - 4096) / 4096 < 0.02


def test_nothing_is_old_before_the_next_walk_has_looked() -> None:
    """After a reclaim on 6.12 two generations were made at once, 744 ms ago: the 3,008 pages below may be in use."""
    rows = " 6 6028 3008 0\n 7 744 0 0\n 8 744 1109 0\n"
    [found] = lru_gen(f"memcg 2 /vm1\n node 0\n{rows}")
    assert found.older_than(1) == (0, 0)


def test_lru_gen_full_adds_tiers_and_walks() -> None:
    [found] = lru_gen(FULL)
    assert [gen.anon for gen in found.generations] == [0, 39]
    assert found.generations[1].tiers == ((5, 6, 0, 0, 0, 0),)
    assert found.generations[1].walk == (9, 8, 0, 0)
    assert len(found.generations[0].tiers) == 2


@pytest.mark.parametrize(
    "text",
    [
        AGED["7.3"][:-8],
        " node 0\n",
        "memcg 1 /\n 1 2 3 4\n",
        "memcg 1 /\n node 0\n 5 1 1 1\n 5 1 1 1\n",
        "memcg 1 /\n node 0\n node 0\n",
        "memcg 1 /\n node 0\n 1 2 -3 4\n",
        "memcg 1 /\n node 0\n 1 2 ٣ 4\n",
        "memcg 1 /\n node 0\n" + "9" * 5000 + " 1 1 1\n",
    ],
)
def test_cut_or_foreign_generations_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="lru_gen"):
        lru_gen(text)


def test_pressure_is_hundredths_of_a_per_cent() -> None:
    found = pressure(PSI)
    assert (found.some.avg10, found.some.avg60, found.some.total_us, found.full.avg10) == (869, 157, 1581450, 0)


def test_rmaps_tell_the_tdp_mmu_from_the_others() -> None:
    assert rmaps("") == {}
    assert rmaps(RMAPS) == {"4K": 48, "2M": 16, "1G": 0}


def test_mappings_say_what_backs_them() -> None:
    zero, guest = mappings(SMAPS)
    assert (zero.backing, guest.backing, guest.kb["AnonHugePages"]) == ("shmem", "anon", 65536)
    line = "7f0000000000-7f0040000000 rw-s 00000000 00:01 9 "
    names = {"/memfd:pc.ram (deleted)": "memfd", "/dev/hugepages/x": "hugetlb", "/var/ram": "file"}
    assert {name: mappings(line + name)[0].backing for name in names} == names


def test_pagemap_leaves_out_what_is_cut() -> None:
    data = struct.pack("=3Q", 1 << 63 | 1 << 55 | 77, 1 << 62 | 5, 0)
    found = pagemap(data + b"\x01\x02")
    assert [(x.present, x.swapped, x.soft_dirty, x.pfn) for x in found] == [
        (True, False, True, 77),
        (False, True, False, 0),
        (False, False, False, 0),
    ]


def test_small_files() -> None:
    assert cgroup_paths(f"3:cpu,memory:/a:b\n0::{SCOPE}\n") == {"cpu": "/a:b", "memory": "/a:b", "": SCOPE}
    assert (limit("max\n"), limit("4096\n"), arguments(b"a\0\0b\0"), arguments(b"")) == (None, 4096, ["a", "", "b"], [])


@pytest.mark.parametrize("reader", TEXTS, ids=lambda reader: reader.__name__)
@given(data=st.data())
@example(data=None)
def test_any_text_gives_an_answer_or_an_input_error(reader: Callable[[str], Any], data: Any) -> None:
    """A good text with a part cut out, doubled or replaced."""
    good = TEXTS[reader]
    if data is None:
        reader(good)
        return
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(good))] * 2)))
    put = data.draw(st.text(max_size=30) | st.sampled_from([good, "\0", "\udcff", "9" * 5000, "-", "\n\n", " "]))
    with suppress(InputError):
        reader(good[:start] + put + good[end:])
