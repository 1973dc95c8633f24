"""Interchangeable pages: what stands for what, exactly; and that a claim of symmetry is not believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.checker import toys
from tests.checker.faults.base import changed

from agewalk.checker.automata.shared_state import MEMORY
from agewalk.checker.automata.store_buffers import with_memory_model
from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.catalog import get_system
from agewalk.checker.explore import check
from agewalk.checker.interchangeable import Interchangeable
from agewalk.checker.reduction import canonical_numba
from agewalk.checker.reduction.symmetry import Asymmetric, Symmetry
from agewalk.checker.search.bfs import Graph, Search
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.search.simulate import Simulator
from agewalk.checker.search.source import Source
from agewalk.checker.system import Result, System, Thread, at_end, sometimes
from agewalk.checker.systems import pages
from agewalk.checker.systems.aging import primary
from agewalk.checker.systems.hosts import BASE, Host, build
from agewalk.core.cells import Cell, Object
from agewalk.core.effects import Choose, Effect, FetchAdd, Load, Step, Store
from agewalk.core.errors import ModelError
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import NotifierRange
from agewalk.model.protocols.registry import get_protocol


def orbit_sum(graph: Graph) -> int:
    """How many states the kept ones stand for."""
    source: Source = graph.source
    sizes = np.zeros(graph.count, np.int64)
    memory = source.tables.first_var + MEMORY
    canonical_numba.orbits(
        graph.states, graph.count, graph.layout.fields, source.tables.offset, source.group(), memory, sizes
    )
    return int(sizes.sum())


def whole(system: System) -> tuple[Automata, Graph]:
    automata = Automata(system)
    return automata, Search(OnTheFly(automata)).run()


def spin_pages(n: int, *, each: bool) -> System:
    """A toy: `n` counters; threads of their own, or two that choose, add one, and say what they found."""
    cells = tuple(Cell(Object(f"page{i}"), "count", 0) for i in range(n))

    def own(i: int) -> Callable[[], Step[int]]:
        def run() -> Step[int]:
            found: int = yield FetchAdd(cells[i], 1)
            yield Store(cells[i], found)
            return found

        return run

    def any_() -> Step[tuple[int, int]]:
        i = yield Choose(n, "page")
        return i, (yield FetchAdd(cells[i], 1))

    names = tuple(f"t{i}" for i in range(n))
    threads = tuple(Thread(name, own(i)) for i, name in enumerate(names)) if each else (Thread("any", any_, n=2),)
    return System(
        "toy", threads, exchange=Interchangeable(n, (cells,), (names,) if each else (), ("page",)),
    )  # fmt: skip


SYSTEMS = [
    spin_pages(3, each=True),
    spin_pages(3, each=False),
    *(get_system(f"agers-of-pages/v7/{mmu}") for mmu in ("tdp", "legacy", "nested")),
    get_system("agers-of-pages/linux-6.9/tdp-noad"),
    *(get_system(f"fault-of-pages/v5/{mmu}") for mmu in ("tdp", "tdp-noad", "legacy", "nested")),
    with_memory_model(get_system("fault-of-pages/linux-7.3/legacy"), "tso"),
    with_memory_model(spin_pages(2, each=True), "weak"),
    get_system("update-gen-vs-isolation/linux-7.3/tdp"),  # threads alone
    get_system("two-agers/v7/nested"),
    toys.lost_update(3),
    toys.rcu("call_rcu"),
]


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: s.name)
def test_what_is_kept_stands_for_all_there_is(system: System) -> None:
    """Orbit sizes add up to the states of the search that exchanges nothing: in minimal automata, and from the start."""
    automata, full = whole(system)
    plain, folded = Search(Minimal(automata)).run(), Search(Minimal(automata, symmetric=True)).run()
    assert orbit_sum(folded) == plain.count
    again = Automata(system)
    start = Search(OnTheFly(again, symmetric=True)).run()
    assert orbit_sum(start) == full.count
    assert start.count < full.count
    assert len(again.nodes) == len(automata.nodes)
    assert len(again.unfolded) == len(automata.unfolded)
    assert start.depth == full.depth


def test_counted_by_hand() -> None:
    """Three counters, each with a thread of three nodes: multisets of 3 of 3. Two that choose one of three pages: below."""
    assert check(spin_pages(3, each=True), symmetric=True).states == 10
    assert check(spin_pages(3, each=True)).states == 27
    # nobody; chose; done | both chose the same or not; one done: same page or not; both done: same page or not
    assert check(spin_pages(3, each=False), symmetric=True).states == 3 + 2 + 2 + 2
    assert Symmetry(Automata(spin_pages(3, each=False)), threads=True).elements.__len__() == 2 * 6 - 1


# --- refusals -------------------------------------------------------------------------------------------------------------


def lopsided(effect: Effect) -> Any:
    """One page's vCPU writes its frame's mark twice."""
    return (
        (effect, effect)
        if isinstance(effect, Load) and getattr(effect.cell.owner, "label", "") == "kvm.vcpu1"
        else effect
    )


def hidden() -> System:
    """`fault-of-pages` whose second vCPU takes one step more."""
    system = get_system("fault-of-pages/v7/tdp")
    threads = tuple(replace(t, start=changed(t.start, lopsided)) if t.name == "vcpu1" else t for t in system.threads)
    return replace(system, threads=threads)


def two_ranges() -> System:
    """Two invalidations, a page each: KVM keeps the hull of both ranges, and a hull is not symmetric in its two ends."""
    host = build(get_protocol("linux-7.3"), "tdp", pages=2)
    entries = tuple(primary(host, page=i) for i in range(2))
    names = ("first", "second")

    def invalidate(i: int) -> Callable[[], Step[None]]:
        def run() -> Step[None]:
            rng = NotifierRange(host.mm, Hva(BASE + i * PAGE_SIZE), Hva(BASE + (i + 1) * PAGE_SIZE))
            yield from mmu_notifier.invalidate_range_start(rng)
            yield from mmu_notifier.invalidate_range_end(rng)

        return run

    threads = tuple(Thread(name, invalidate(i)) for i, name in enumerate(names))
    return System("two-ranges", threads, exchange=exchange_of(host, entries, names))


def exchange_of(host: Host, entries: tuple[Cell, ...], names: tuple[str, ...]) -> Interchangeable:
    return replace(pages.interchangeable(host, entries), threads=(names,))


def in_order() -> System:
    """A walk that takes page 0 first."""
    cells = tuple(Cell(Object(f"page{i}"), "young", 1) for i in range(2))

    def walk() -> Step[None]:
        for cell in cells:
            yield Store(cell, 0)

    return System("walk", (Thread("walk", walk),), exchange=Interchangeable(2, (cells,)))


def other_start() -> System:
    system = in_order()
    cells = tuple(Cell(Object(f"page{i}"), "young", i) for i in range(2))

    def one() -> Step[None]:
        i = yield Choose(2, "page")
        yield Load(cells[i])

    return replace(system, threads=(Thread("one", one),), exchange=Interchangeable(2, (cells,), choices=("page",)))


def unlike() -> System:
    system = spin_pages(2, each=True)
    return replace(system, threads=(system.threads[0], replace(system.threads[1], daemon=True)))


def forgets(what: str) -> System:
    """A shipped system whose `Interchangeable` forgets to rename something."""
    system = get_system("agers-of-pages/v7/legacy")
    exchange = system.exchange
    assert exchange is not None
    assert exchange.rename is not None
    right = exchange.rename
    if what == "choices":
        return replace(system, exchange=replace(exchange, choices=()))
    if what == "cells":
        return replace(system, exchange=replace(exchange, places=exchange.places[1:]))

    def wrong(place: Any, value: Any, to: Any) -> Any:
        return value if str(place.field).startswith(what) else right(place, value, to)

    return replace(system, exchange=replace(exchange, rename=wrong))


REFUSED = [
    (hidden(), "vcpu"),
    (two_ranges(), "mmu_invalidate_range|its image"),
    (in_order(), "Store page0.young, its image Store page0.young, not page1.young"),
    (other_start(), "begin differently"),
    (unlike(), "not of a kind"),
    (forgets("choices"), "its image"),
    (forgets("cells"), "its image|begin differently"),
    (forgets("rmap"), "its image|begin differently"),
]


@pytest.mark.parametrize(("system", "why"), REFUSED, ids=lambda x: x.name if isinstance(x, System) else "")
def test_what_is_not_symmetric_is_refused_with_the_reason(system: System, why: str) -> None:
    """And then checked without exchanging pages: the verdicts are those of a search that exchanges nothing."""
    with pytest.raises(Asymmetric, match=why):
        Search(OnTheFly(Automata(system), symmetric=True)).run()
    automata, full = whole(system)
    assert Minimal(automata).refused
    outcome = check(system, symmetric=True)
    assert outcome.note
    assert [v.verdict for v in outcome.verdicts if "liveness" not in v.why] == [
        v.verdict
        for v in check(system).verdicts
        if v.name in {w.name for w in outcome.verdicts if "liveness" not in w.why}
    ]
    assert outcome.graph.complete
    threads = Search(OnTheFly(Automata(replace(system, exchange=None)), symmetric=True)).run()
    assert outcome.graph.count == threads.count <= full.count


def test_a_wrong_permutation_is_noticed_by_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it not refused, orbits would not add up: images that leave threads where they were."""
    automata, _ = whole(get_system("agers-of-pages/linux-7.3/legacy"))
    plain = Search(Minimal(automata)).run()
    monkeypatch.setattr(
        Minimal, "node_images", lambda self: np.arange(len(self.tables.kind), dtype=np.int64)[np.newaxis, :]
    )
    with pytest.raises(ModelError, match="lacks"):  # a state that nobody can be in asks for what was never seen
        Search(Minimal(automata, symmetric=True)).run()
    monkeypatch.undo()
    assert orbit_sum(Search(Minimal(automata, symmetric=True)).run()) == plain.count


# --- properties of one page -----------------------------------------------------------------------------------------------


def about_one_page(page: int) -> System:
    """A property of one page alone, in a system that does not tell pages apart."""
    system = get_system("agers-of-pages/v7/tdp")
    return replace(
        system,
        properties=(
            at_end("it is not found old", lambda found: (page, False) not in found, Result("ager")),
            sometimes("it is found young", lambda found: (page, True) in found, Result("ager")),
        ),
    )


@pytest.mark.parametrize("page", [0, 1])
def test_a_property_of_one_page_is_asked_of_every_page(page: int) -> None:
    """What stands for a state may have the other page in its place: the path leads to the one that was asked about."""
    for reduce in (False, True):
        outcome = check(about_one_page(page), symmetric=True, reduce=reduce)
        verdict = outcome.verdict_on("it is not found old")
        assert verdict.verdict == "violated"
        path = outcome.path_to(verdict)
        assert path is not None
        assert check(about_one_page(page)).verdict_on(verdict.name).length == verdict.length or reduce
        simulator = Simulator(outcome.automata)
        state = simulator.start()
        for step in path.steps:
            after = simulator.take(state, step.thread, step.choice)
            assert after is not None
            state = after
        found = [simulator.node(state, t).result for t in (0, 1)]
        assert (page, False) in found
        assert outcome.verdict_on("it is found young").holds
