"""What happens on a host, as lists of events for `conformance.Twin`: each story gets the engine where others do not."""

import random
from typing import Any


def story_of(seed: int) -> list[tuple[Any, ...]]:
    """A long one, the same for all: populate, hot and cold, aging by force and not, pressure, refaults."""
    events: list[tuple[Any, ...]] = []
    for turn in range(9):
        hot = [(0, (7 * i + turn) % 40, i % 4 == 0, 0) for i in range(30)]
        spread = [(0, (11 * i) % 128, i % 5 == 0, 2 * (i % 9 == 0)) for i in range(45)]
        events += [("sweep", (turn * 37 + seed) % 70, turn % 3 != 1), ("touch", hot)]
        events += [("age", turn % 2 == 0), ("reclaim", 10 + 5 * turn), ("touch", spread)]
        events += [("evict", 1 + turn % 3, 20)] if turn % 3 == 2 else []
    return events


def chance_of(seed: int, pages: int) -> list[tuple[Any, ...]]:
    """A long one by the dice: clusters, idle ladders of forced agings, pressure."""
    dice = random.Random(seed)
    events: list[tuple[Any, ...]] = [("sweep", first, dice.random() < 0.8) for first in range(0, pages, 64)]
    for _ in range(45):
        at = dice.random()
        if at < 0.45:
            base, width = dice.randrange(pages), dice.choice((4, 40, pages))
            rows = [
                (0, (base + dice.randrange(width)) % pages, dice.random() < 0.3, 0)
                for _ in range(dice.randrange(1, 50))
            ]
            events.append(("touch", rows))
        elif at < 0.65:
            events += [("age", True)] * dice.randrange(1, 4)
        elif at < 0.75:
            events.append(("age", False))
        elif at < 0.9:
            events.append(("reclaim", dice.randrange(1, 60)))
        else:
            events.append(("evict", dice.randrange(1, 4), dice.randrange(1, 60)))
    return events


def pressure_of(seed: int, pages: int) -> list[tuple[Any, ...]]:
    """A long one by the dice, in which kswapd does the most: clusters that move, seldom an aging or a reclaim by command."""
    dice = random.Random(seed)
    events: list[tuple[Any, ...]] = []
    for _ in range(40):
        at = dice.random()
        if at < 0.8:
            base, width = dice.randrange(pages), dice.choice((30, 150, pages))
            writes, n = dice.choice((0.2, 0.9)), dice.randrange(20, 120)
            events.append(
                ("touch", [(0, (base + dice.randrange(width)) % pages, dice.random() < writes, 0) for _ in range(n)])
            )
        elif at < 0.9:
            events.append(("age", dice.random() < 0.5))
        else:
            events.append(("reclaim", dice.randrange(1, 60)))
    return events


def nested_of(seed: int, pages: int) -> list[tuple[Any, ...]]:
    """Nested guests come, use the same few pages that nobody else uses, and go: KVM's faults count uses (folio_mark_accessed())
    that no accessed bit in the primary MMU confirms, so tiers fill and saturate."""
    dice = random.Random(seed)
    events: list[tuple[Any, ...]] = [("sweep", first, True) for first in range(0, pages, 64)]
    events += [("age", True)] * 3
    for _ in range(14):
        base = dice.choice((0, 0, 0, 64))
        rows = [(0, (base + 3 * i) % pages, dice.random() < 0.5, 1) for i in range(dice.randrange(4, 30))]
        events += [("nested", True), ("touch", rows), ("nested", False)]
        at = dice.random()
        if at < 0.2:
            events.append(("reclaim", dice.randrange(1, 50)))
        elif at < 0.3:
            events.append(("evict", 2, dice.randrange(1, 60)))
        elif at < 0.4:
            events.append(("age", True))
    return [*events, ("reclaim", 60), ("age", True), ("age", True), ("reclaim", 60)]


def tiers_of(seed: int, pages: int) -> list[tuple[Any, ...]]:
    """Pages that a nested guest used now and then, so that they are of every tier, all leave, and the guest itself brings them
    back."""
    dice = random.Random(seed)
    events: list[tuple[Any, ...]] = []
    for turn in range(4):
        events += [("touch", [(0, page, dice.random() < 0.7, turn % 2) for page in range(pages)]), ("age", True)]
        for _ in range(dice.randrange(1, 5)):
            rows = [(0, page, dice.random() < 0.3, 1) for page in dice.sample(range(pages), pages // 2)]
            events += [("nested", True), ("touch", rows)] + [("nested", False)] * (turn < 2)
        events += [("age", True)] * dice.randrange(1, 3)
        events += [("reclaim", pages * 3 // 4), ("touch", [(0, page, page % 3 == 0, 0) for page in range(pages)])]
        events += [("touch", [(0, page, False, 1) for page in range(0, pages, 7)])] * (turn > 1)
    return events


def scattered_of(seed: int, pages: int) -> list[tuple[Any, ...]]:
    """A process faults its pages in no order, uses few of them again, and much is reclaimed at once: a look-around puts pages
    into the batch of activations that the same call then isolates, with the batch's reference on them."""
    dice = random.Random(seed)
    order = dice.sample(range(pages), pages)
    events: list[tuple[Any, ...]] = []
    for first in range(0, pages, 125):
        events.append(("touch", [(0, page, True, 2) for page in order[first : first + 125]]))
    for _ in range(2):
        events += [("age", True)] * 3
        events.append(("touch", [(0, page, False, 2) for page in dice.sample(range(pages), 60)]))
        events.append(("reclaim", pages * 9 // 10))
        events.append(("touch", [(0, page, dice.random() < 0.3, 2) for page in dice.sample(range(pages), 400)]))
    return [
        *events,
        *(("touch", [(0, page, write, 2) for page in order]) for write in (False, True)),
        ("reclaim", pages // 2),
    ]


def partly_used(pages: int, upto: int) -> list[tuple[Any, ...]]:
    """The process fills memory and ages, the guest uses seven in eight of the first pages: kswapd gets little at first."""
    hot = [(0, page, False, 0) for page in range(upto) if page % 8]
    fill = [
        ("touch", [(0, page, True, 2) for page in range(first, min(first + 100, pages))])
        for first in range(0, pages, 100)
    ]
    return [
        *fill,
        *[("age", True)] * 3,
        ("touch", hot),
        ("touch", [(0, page, True, 2) for page in range(pages, pages + 8)]),
    ]


def some_of(pages: range) -> list[tuple[Any, ...]]:
    """Of a VM and a process only these are used: forced agings pass over tables that are not there."""
    rows = [row for page in pages for row in ((0, page, page % 3 == 0, 0), (1, page, page % 5 == 0, 2))]
    return [("touch", rows), ("age", True), ("touch", rows[::7]), ("age", True), ("reclaim", 20), ("age", False)]


def in_turns(pages: int) -> list[tuple[Any, ...]]:
    """A VM and a process touch their pages in turns, so that batches of eviction hold pages of both."""
    rows = [row for page in range(pages) for row in ((0, page, page % 3 == 0, 0), (1, page, page % 5 != 0, 2))]
    return [("touch", rows), *[("age", True)] * 3, ("reclaim", 60), ("touch", rows[::3]), ("reclaim", 90)]


def mixed_of(seed: int, pages: int) -> list[tuple[Any, ...]]:
    """Two VMs use pages in no order, some twice in a row, and memory is short: hits stand between faults and before reclaim."""
    dice = random.Random(seed)
    events: list[tuple[Any, ...]] = []
    for _ in range(12):
        rows: list[tuple[int, int, bool, int]] = []
        for _ in range(80):
            rows.append((dice.randrange(2), dice.randrange(pages), dice.random() < 0.6, 0))
            rows += [rows[-1]] * (dice.random() < 0.5)
        events += [("touch", rows), ("age", True)]
    return events


def beyond_memory(pages: int) -> list[tuple[Any, ...]]:
    """A process writes page after page, then some of them, and reclaim ages on its behalf."""
    order = [*range(pages), *range(0, pages, 5)]
    return [("touch", [(0, page, True, 2) for page in order[at : at + 50]]) for at in range(0, len(order), 50)]


#: Memory and watermarks under which kswapd finds more than a batch to do.
CROWDED = (
    {"memory": 600, "marks": (20, 60, 100)},
    {"memory": 500, "marks": (4, 10, 30)},
    {"memory": 420, "marks": (10, 70, 140)},
    {"memory": 600, "marks": (0, 150, 200)},
)
