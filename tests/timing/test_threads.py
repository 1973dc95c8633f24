"""The lines that a CPU fetched last, against a dictionary in the order of fetching; the generators of a thread."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from agewalk.core.effects import Count, Effect, Step
from agewalk.timing.threads import KEPT, CpuState, Thread


class Forgetful(CpuState):
    """Seeded fault: a line that comes again stays as old as it was."""

    def keep(self, line: object, since: int, until: int, exclusive: bool) -> None:
        before = next((kept.nth for kept in self.kept if kept.line is line), 0)
        super().keep(line, since, until, exclusive)
        for kept in self.kept:
            if kept.line is line and before:
                kept.nth = before


def differs(cpu: CpuState, seed: int) -> bool:
    """Do its answers differ from those of a dictionary that keeps the last few?"""
    draw = random.Random(seed)
    lines = [object() for _ in range(KEPT + 3)]
    kept: dict[object, tuple[int, int, bool]] = {}
    for now in range(500):
        line, until, exclusive = draw.choice(lines), now + draw.randrange(9), draw.random() < 0.5
        kept.pop(line, None)
        if len(kept) == KEPT:
            del kept[next(iter(kept))]
        kept[line] = now, until, exclusive
        cpu.keep(line, now, until, exclusive)
        for line in lines:
            at, for_writing = now + draw.randrange(9), draw.random() < 0.5
            since, until, exclusive = kept.get(line, (0, -1, False))
            expected = since if at <= until and (exclusive or not for_writing) else None
            found = cpu.keeps(line, at, for_writing)
            if (None if found is None else found.since) != expected:
                return True
    return False


@pytest.mark.parametrize("seed", range(10))
def test_a_cpu_keeps_the_lines_it_fetched_last(seed: int) -> None:
    assert not differs(CpuState(0, 0), seed)
    assert differs(Forgetful(0, 0), seed)


# --- a chain of generators --------------------------------------------------------------------------------------------


def nest(depth: int, draw: random.Random, log: list[str]) -> Step[int]:
    """Random calls: results, exceptions that are caught or not, `finally`."""
    total = 0
    for _ in range(draw.randrange(1, 4)):
        match draw.randrange(6) if depth else 0:
            case 0:
                total += (yield Count("leaf", draw.randrange(9))) or 1
            case 1 | 2:
                total = total * 3 + (yield from nest(depth - 1, draw, log))
            case 3:
                try:
                    total += yield from fails(depth, draw, log)
                except KeyError as error:
                    log.append(f"caught {error} at {depth}")
            case 4:
                try:
                    total += yield from nest(depth - 1, draw, log)
                finally:
                    log.append(f"left {depth}")
            case _:
                yield Count("another")
    return total


def fails(depth: int, draw: random.Random, log: list[str]) -> Step[int]:
    yield from nest(depth - 1, draw, log)
    if draw.random() < 0.7:
        raise KeyError(depth)
    return 1


def resumed(
    seed: int, deepen_every: int, body: Callable[[random.Random, list[str]], Step[int]], kind: type[Thread] = Thread
) -> object:
    """What a thread yields, logs and returns. deepen_every: effects between two calls of `deepen`; 0: never."""
    log: list[str] = []
    thread = kind(0, "t", body(random.Random(seed), log), CpuState(0, 0), ())
    said: list[str] = []
    value = None
    while True:
        if deepen_every and len(said) % deepen_every == 0:
            thread.deepen()
        try:
            effect: Effect | None = thread.send(value)
        except BaseException as error:
            try:
                effect = thread.unwind(error)
            except KeyError as uncaught:
                return said, log, repr(uncaught)
        if effect is None:
            return said, log, thread.result
        said.append(repr(effect))
        value = len(said) % 7


def bodies() -> list[Callable[[random.Random, list[str]], Step[int]]]:
    return [lambda draw, log: nest(7, draw, log), lambda draw, log: fails(6, draw, log)]


@pytest.mark.parametrize("seed", range(60))
def test_an_inner_generator_is_resumed_as_the_chain_would_be(seed: int) -> None:
    for body in bodies():
        expected = resumed(seed, 0, body)
        assert resumed(seed, 1, body) == expected
        assert resumed(seed, 5, body) == expected


class Loses(Thread):
    """Seeded fault: an outer generator gets None in place of the inner one's result."""

    def unwind(self, error: BaseException) -> Effect | None:
        return super().unwind(StopIteration() if isinstance(error, StopIteration) and self.outer else error)


def test_a_result_that_is_lost_is_found() -> None:
    lost = 0
    for seed in range(60):
        for body in bodies():
            try:
                lost += resumed(seed, 1, body, Loses) != resumed(seed, 0, body)
            except TypeError:  # None times three
                lost += 1
    assert lost > 20


def test_a_slow_path_is_run_in_place_and_its_result_is_the_answer() -> None:
    def body() -> Step[tuple[int, int]]:
        first = yield Count("takes a lock")
        return first, (yield Count("goes on"))

    def slow_path() -> Step[str]:
        yield Count("waits")
        return "granted"

    thread = Thread(0, "t", body(), CpuState(0, 0), ())
    assert repr(thread.send(None)) == repr(Count("takes a lock"))
    thread.enter(slow_path())
    assert repr(thread.send(None)) == repr(Count("waits"))
    with pytest.raises(StopIteration) as ended:
        thread.send(None)
    assert repr(thread.unwind(ended.value)) == repr(Count("goes on"))
    with pytest.raises(StopIteration) as ended:
        thread.send(2)
    assert thread.unwind(ended.value) is None
    assert thread.result == ("granted", 2)
