"""Aging while a nested guest starts, runs and ends: the shadow MMU beside the TDP MMU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agewalk.checker.ghost import Ghost
from agewalk.checker.system import Result, System, Thread, always, at_end, sometimes, tolerated
from agewalk.checker.systems.aging import TARGET, ager, guest, primary, spte_rules
from agewalk.checker.systems.hosts import build
from agewalk.checker.systems.zap import UNLOCKED
from agewalk.core.cells import Cell, Object
from agewalk.core.effects import Choose, Load, Step, Store
from agewalk.model.kvm.kvm_main import nested_guest_stop
from agewalk.model.protocols.base import AgingProtocol

COUNT_SOUND: Final = "indirect_shadow_pages is never negative"
AFTER: Final = "an eviction that begins after a nested access finds it"
NEXT: Final = "what an eviction missed because it overlapped the access, the next one finds"
OVERLAPS: Final = "an eviction that overlaps the nested guest's first access finds it"
ZAPPED: Final = "a nested access is not lost with the tables of a guest that ends"


def age_vs_nested_end(protocol: AgingProtocol, mmu: str) -> System:
    """Two aliases of one page in a nested guest, which ends (its shadow pages are zapped one by one) while MGLRU asks twice."""
    host = build(protocol, mmu, levels=2, write=True, aliases=2)
    head = host.kvm.memslots[0].value[0][0].rmap(1, 0)

    def stop() -> Step[None]:
        assert host.nested is not None
        yield from nested_guest_stop(host.kvm, host.nested)

    return System(
        "age-vs-nested-end",
        (Thread("ager", ager(host, primary(host), TARGET), n=2), Thread("stop", stop)),
        (
            *spte_rules(host, host.leaf()),
            at_end(UNLOCKED, lambda head: not head & 2, head),
            always(COUNT_SOUND, lambda n: n >= 0, host.kvm.indirect_shadow_pages),
        ),
        about=(age_vs_nested_end.__doc__ or "").strip(),
    )


def age_vs_nested_storm(protocol: AgingProtocol, mmu: str) -> System:
    """Two reclaims ask about a page with two aliases, the nested guest that uses it runs on, and ends: the largest system."""
    host = build(protocol, mmu, levels=2, write=True, aliases=2)
    host.age()
    head = host.kvm.memslots[0].value[0][0].rmap(1, 0)

    def stop() -> Step[None]:
        assert host.nested is not None
        yield from nested_guest_stop(host.kvm, host.nested)

    def touch() -> Step[None]:
        yield from host.touch(write=False, alias=1)

    return System(
        "age-vs-nested-storm",
        (Thread("ager", ager(host, primary(host), TARGET), n=2), Thread("stop", stop), Thread("vcpu", touch)),
        (
            *spte_rules(host, host.leaf()),
            at_end(UNLOCKED, lambda head: not head & 2, head),
            always(COUNT_SOUND, lambda n: n >= 0, host.kvm.indirect_shadow_pages),
        ),
        about=(age_vs_nested_storm.__doc__ or "").strip(),
    )


@dataclass(frozen=True)
class Asked:
    """Two evictions one after the other, and what was so at their edges.

    before, between: the access was complete when the first one began, and when it ended and the second began. found: what each
    said. ending: the guest had begun to end when each of them ended.
    """

    before: bool
    between: bool
    found: tuple[bool, bool]
    ending: tuple[bool, bool]


def age_vs_nested_count(protocol: AgingProtocol, mmu: str) -> System:
    """A nested guest starts, uses a page and may end, while MGLRU asks twice: the unlocked look at indirect_shadow_pages."""
    host = build(protocol, mmu, mapped=False)
    ghost = Object("ghost")
    done, ending = Cell(ghost, "accessed", value=False), Cell(ghost, "ending", value=False)
    asking = ager(host, primary(host), TARGET)

    def nested() -> Step[None]:
        assert host.nested is not None
        yield from guest(host, done)()
        yield Ghost(
            Store(host.pages.accessed, 0)
        )  # the fault marks the page as well; only a mark of the zap is to count
        if (yield Choose(2, "ends")):
            yield Ghost(Store(ending, True))
            yield from nested_guest_stop(host.kvm, host.nested)

    def run() -> Step[Asked]:
        before = yield Load(done)
        _, first = yield from asking()
        between = yield Ghost(Load(done))
        ending_first = yield Ghost(Load(ending))
        _, second = yield from asking()
        return Asked(before, between, (first, second), (ending_first, (yield Ghost(Load(ending)))))

    def after(r: Asked | None) -> bool:
        return r is None or not r.before or r.ending[0] or r.found[0]

    def next_one(r: Asked | None) -> bool:
        return r is None or r.before or not r.between or r.ending[1] or any(r.found)

    def overlaps(r: Asked | None) -> bool:
        return r is None or r.before or not r.between or r.ending[0] or r.found[0]

    def zapped(r: Asked | None, marked: int) -> bool:
        return r is None or not r.between or not r.ending[1] or any(r.found) or bool(marked)

    return System(
        "age-vs-nested-count",
        (Thread("ager", run), Thread("nested", nested)),
        (
            *spte_rules(host),
            always(COUNT_SOUND, lambda n: n >= 0, host.kvm.indirect_shadow_pages),
            at_end(AFTER, after, Result("ager")),
            at_end(NEXT, next_one, Result("ager")),
            tolerated(OVERLAPS, overlaps, Result("ager")),
            tolerated(ZAPPED, zapped, Result("ager"), host.pages.accessed),
            sometimes(
                "the first eviction sees the nested access", lambda r: r is not None and r.found[0], Result("ager")
            ),
            sometimes(
                "the second one alone sees it", lambda r: r is not None and r.found == (False, True), Result("ager")
            ),
        ),
        about=(age_vs_nested_count.__doc__ or "").strip(),
    )
