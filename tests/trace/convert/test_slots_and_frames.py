"""Slots and renumbering against a dictionary, at any cut of the input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agewalk.trace.convert import slots_and_frames
from agewalk.trace.convert.slots_and_frames import Renumber, Slots
from agewalk.trace.format import Batch

ACCESS = st.tuples(st.integers(0, 9), st.integers(0, 1), st.sampled_from([0, 1, 7, 2**60, 2**64 - 1]), st.booleans())


@given(
    st.lists(st.lists(ACCESS, max_size=12), min_size=1, max_size=5), st.sampled_from([0, 1, 10, 17]), st.integers(0, 99)
)
def test_slots_are_a_dictionary_by_slot_page_and_vcpu(
    cuts: list[list[tuple[int, int, int, bool]]], slot: int, start: int
) -> None:
    now = start
    slots = Slots(slot)
    got: list[tuple[int, int, int, bool]] = []
    want: dict[tuple[int, ...], bool] = {}
    origin = None
    for n, cut in enumerate(cuts):
        timed = []
        for step, vcpu, page, write in cut:
            now += step
            origin = now if origin is None else origin
            timed.append((now, vcpu, page, write))
            time = (now - origin) // slot * slot if slot else now - origin
            key = (time, vcpu, page) if slot else (time, vcpu, page, n, len(want))
            want[key] = want.get(key, False) | write
        time_ns, vcpus, pages, writes = zip(*timed, strict=True) if timed else ((), (), (), ())
        batch = Batch.of(
            time_ns, np.array(pages, np.uint64), vcpu=np.array(vcpus, np.uint8), write=np.array(writes, bool)
        )
        for out in [*slots.feed(batch), *(slots.finish() if n == len(cuts) - 1 else ())]:
            got += zip(out.time_ns.tolist(), out.vcpu.tolist(), out.gfn.tolist(), out.write.tolist(), strict=True)
    assert got == [(k[0], k[1], k[2], w) for k, w in want.items()]


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9), max_size=6))
def test_regions_are_numbered_by_first_touch(cuts: list[list[int]]) -> None:
    renumber = Renumber("regions", "t")
    known: dict[int, int] = {}
    for keys in cuts:
        want = [known.setdefault(k >> 9, len(known)) << 9 | (k & 511) for k in keys]
        assert renumber.apply(np.array(keys, np.uint64)).tolist() == want
    assert renumber.memory_bytes == len(known) << 21
    assert renumber.table() == [k << 9 for k in known]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 30), min_size=1, max_size=20), max_size=8))
def test_first_seen_is_a_dictionary(parts: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots_and_frames, "MERGE", 3)
        seen = slots_and_frames.FirstSeen()
        want: dict[int, int] = {}
        for part in parts:
            keys, at, inverse = np.unique(np.array(part, np.uint64), return_index=True, return_inverse=True)
            numbers = seen.number(keys, at)[inverse].tolist()
            assert numbers == [want.setdefault(key, len(want)) for key in part]
            assert len(seen) == len(want)
        assert seen.in_order() == list(want)
