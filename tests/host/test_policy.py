"""`decide`: hand-worked steps, guards, and properties that seeded faults break."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agewalk.host.policy import MIB, Decision, Limits, Seen, decide

Policy = Callable[[Limits, Seen], Decision]
#: The lab's VM after three agings: 12,794 pages cold of 70,246,400 bytes, 512 MiB of swap, nothing in it.
LAB = Seen(70_246_400, 12_794 * 4096, 0, 0, swap_total=512 * MIB, swap_free=512 * MIB)
LAB_LIMITS = Limits(margin=0, floor=16 * MIB, step_percent=100)
#: What must never give more bytes when it grows.
COSTS = ("swap_out_rate", "refaults", "memory_10", "memory_60", "io_10", "io_60", "read_ms", "memory_min", "memory_low")
sizes = (st.integers(0, 9) | st.integers(0, 400)).map(lambda x: x * MIB)
#: Most moments are calm, or one thing is wrong: with more, no step is ever drawn.
MOMENTS: list[dict[str, Any]] = [{}] * 12 + [
    *({name: amount} for name in COSTS[:6] for amount in (9, 40)),
    *({name: amount} for name in ("memory_min", "memory_low") for amount in (110 * MIB, 1 << 34)),
    *({name: False} for name in ("same_cgroup", "alone", "sees_guests")),
    {"read_ms": 9000},
    {"calm_ms": 0},
]


def drawn() -> st.SearchStrategy[Seen]:
    def put(numbers: tuple[int, int, int, int, int], moment: dict[str, Any]) -> Seen:
        current, anon, file, swap, free = numbers
        return Seen(current, anon, file, 0, swap_total=swap, swap_free=swap * free // 100)._replace(**moment)

    swap = st.sampled_from((0, 512 * MIB, 1 << 33))
    return st.builds(put, st.tuples(sizes, sizes, sizes, swap, st.integers(0, 100)), st.sampled_from(MOMENTS))


def test_the_labs_forty_mib_in_four_steps_and_no_fifth() -> None:
    """12,794 pages are 49.9 MiB: four steps of 10 MiB; with 14 MiB more than that the lab had 1,088 refaults."""
    seen, steps = LAB, list[int]()
    while (step := decide(LAB_LIMITS, seen).bytes) and len(steps) < 20:
        steps.append(step)
        seen = seen._replace(current=seen.current - step, cold_anon=seen.cold_anon - step)
    assert steps[:4] == [10 * MIB] * 4
    assert sum(steps) == 12_794 * 4096


def test_a_step_is_at_most_one_per_cent() -> None:
    assert decide(Limits(), LAB._replace(current=500 * MIB, cold_anon=400 * MIB)) == (
        5 * MIB,
        "bounded by share a step",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"same_cgroup": False}, "another has its name"),
        ({"alone": False}, "share"),
        ({"sees_guests": False}, "not known to see guests"),
        ({"other_controller": True}, "another controller"),
        ({"read_ms": 5001}, "too long ago"),
        ({"refaults": 1, "memory_10": 99}, "came back"),
        ({"memory_10": 11}, "10 s"),
        ({"io_10": 11}, "10 s"),
        ({"memory_60": 11}, "60 s"),
        ({"io_60": 11}, "60 s"),
        ({"calm_ms": 0}, "not long ago"),
        ({"swap_out_rate": MIB + 1}, "swaps out"),
        ({"swap_free": 102 * MIB}, "too much of the swap"),
        ({"swap_total": 0, "swap_free": 0}, "nothing to take: cold"),
        ({"memory_min": 1 << 30}, "memory.min"),
        ({"cold_anon": 0}, "nothing to take: cold"),
    ],
)
def test_each_guard_says_no_with_its_reason(change: dict[str, Any], reason: str) -> None:
    assert decide(LAB_LIMITS, LAB).bytes > 0
    found = decide(LAB_LIMITS, LAB._replace(**change))
    assert found.bytes == 0
    assert reason in found.reason


def holds(policy: Policy) -> None:
    """Never below the floor, never beyond the cold pages, and never more for more swap in use or any of COSTS."""

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(
        seen=drawn(),
        more=st.sampled_from((1, 30, MIB, 1 << 28, 1 << 33)),
        limits=st.sampled_from((Limits(step_percent=100), LAB_LIMITS)),
    )
    def check(seen: Seen, more: int, limits: Limits) -> None:
        step = policy(limits, seen).bytes
        assert 0 <= step <= limits.step
        if step:
            assert seen.current - step >= max(limits.floor, seen.memory_min, seen.memory_low)
            assert step <= seen.cold_anon + seen.cold_file - limits.margin
        for cost in COSTS:
            worse: dict[str, Any] = {cost: getattr(seen, cost) + more}
            assert policy(limits, seen._replace(**worse)).bytes <= step, cost
        assert policy(limits, seen._replace(swap_free=max(0, seen.swap_free - more))).bytes <= step

    check()


def test_properties_of_the_policy() -> None:
    holds(decide)


def _inverted_swap(limits: Limits, seen: Seen) -> Decision:
    """As oomd's validateSwap: enough swap in use is what it asks for."""
    used = seen.swap_total - seen.swap_free
    if used * 100 < seen.swap_total * limits.swap_percent:
        return Decision(0, "")
    return decide(limits, seen._replace(swap_free=seen.swap_total))


FAULTS: dict[str, Policy] = {
    "swap guard inverted": _inverted_swap,
    "refaults ask for more": lambda limits, seen: decide(limits, seen._replace(refaults=0 if seen.refaults else 1)),
    "floor forgotten": lambda limits, seen: decide(limits._replace(floor=0), seen),
    "margin forgotten": lambda limits, seen: decide(limits._replace(margin=0), seen),
    "step unbounded": lambda limits, seen: decide(limits._replace(step=1 << 40, step_percent=100), seen),
    "pressure of io inverted": lambda limits, seen: decide(limits, seen._replace(io_10=40 - min(seen.io_10, 40))),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_properties_catch_seeded_faults(fault: Policy) -> None:
    with pytest.raises(AssertionError):
        holds(fault)
