"""The generators of a thread, against the chain that Python resumes by itself."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from agewalk.core.effects import Count, Step
from agewalk.timing.scheduler import generators
from agewalk.timing.threads import CpuState, Thread


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


def resumed(seed: int, deepen_every: int, body: Callable[[random.Random, list[str]], Step[int]]) -> object:
    """What a thread yields, logs and returns. deepen_every: effects between two calls of `deepen`; 0: never."""
    log: list[str] = []
    thread = Thread(0, "t", body(random.Random(seed), log), CpuState(0, 0), ())
    said: list[str] = []
    while True:
        if deepen_every and len(said) % deepen_every == 0:
            generators.deepen(thread)
        try:
            effect = generators.advance(thread)
        except KeyError as uncaught:
            return said, log, repr(uncaught)
        if effect is None:
            return said, log, thread.result
        said.append(repr(effect))
        thread.value = len(said) % 7


def bodies() -> list[Callable[[random.Random, list[str]], Step[int]]]:
    return [lambda draw, log: nest(7, draw, log), lambda draw, log: fails(6, draw, log)]


@pytest.mark.parametrize("seed", range(60))
def test_an_inner_generator_is_resumed_as_the_chain_would_be(seed: int) -> None:
    for body in bodies():
        expected = resumed(seed, 0, body)
        assert resumed(seed, 1, body) == expected
        assert resumed(seed, 5, body) == expected


def test_a_result_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded fault: an outer generator gets None in place of the inner one's result."""
    if not generators.__file__.endswith(".py"):
        pytest.skip("compiled functions call each other directly")
    expected = [resumed(seed, 0, body) for seed in range(60) for body in bodies()]

    def loses(th: Thread, error: BaseException) -> object:
        return throw(th, StopIteration() if isinstance(error, StopIteration) else error)

    throw = generators.throw
    monkeypatch.setattr(generators, "throw", loses)
    lost = 0
    for seed in range(60):
        for n, body in enumerate(bodies()):
            try:
                lost += resumed(seed, 1, body) != expected[2 * seed + n]
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
    assert repr(generators.advance(thread)) == repr(Count("takes a lock"))
    thread.enter(slow_path())
    assert repr(generators.advance(thread)) == repr(Count("waits"))
    assert repr(generators.advance(thread)) == repr(Count("goes on"))
    thread.value = 2
    assert generators.advance(thread) is None
    assert thread.result == ("granted", 2)
