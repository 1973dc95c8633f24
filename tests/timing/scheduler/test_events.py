"""Who is due first, against a sorted list."""

from __future__ import annotations

import random

import pytest

from agewalk.core.effects import Again, Step
from agewalk.timing.scheduler.events import Events
from agewalk.timing.threads import FOREVER, THREAD_BITS, CpuState, Thread


def _nothing() -> Step[None]:
    yield Again()


def threads(count: int) -> list[Thread]:
    return [Thread(n, f"t{n}", _nothing(), CpuState(n, 0), ()) for n in range(count)]


def order(events: Events) -> list[int]:
    return [events.pop().index for _ in range(len(events))]


@pytest.mark.parametrize("seed", range(20))
def test_the_earliest_goes_first_and_of_two_the_one_made_first(seed: int) -> None:
    draw = random.Random(seed)
    due: list[tuple[int, int]] = []
    events, idle = Events(), threads(draw.choice((1, 2, 17, 113)))
    everybody = list(idle)
    for _ in range(2000):
        at = draw.randrange(50)  # many at the same time
        if idle and draw.random() < 0.6:
            thread = idle.pop(draw.randrange(len(idle)))
            if draw.random() < 0.5:
                events.push(thread, at)
                due.append((at, thread.index))
                continue
            due.append((at, thread.index))
            first = events.pushpop(thread, at)
        elif due:
            first = events.pop()
        else:
            continue
        assert (first.due >> THREAD_BITS, first.index) == min(due)
        due.remove(min(due))
        idle.append(everybody[first.index])
        assert len(events) == len(due)
        assert events.first() == (min(due)[0] << THREAD_BITS | min(due)[1] if due else FOREVER)
    assert order(events) == [index for _, index in sorted(due)]


def test_nobody_is_due() -> None:
    events = Events()
    assert not events
    assert events.first() == FOREVER
    with pytest.raises(IndexError):
        events.pop()


def test_a_heap_that_looks_at_one_child_is_found() -> None:
    class Faulty(Events):
        """Seeded fault: the left child is never compared with the right one."""

        def sink(self, th: Thread) -> None:
            heap, place, child = self.heap, 0, 1
            while child < len(heap) and heap[child].due < th.due:
                heap[place], place, child = heap[child], child, 2 * child + 1
            heap[place] = th

    events = Faulty()
    for thread, at in zip(threads(4), (0, 3, 1, 2), strict=True):
        events.push(thread, at)
    assert order(events) != [0, 2, 3, 1]
