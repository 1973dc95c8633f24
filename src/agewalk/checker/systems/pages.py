"""Two pages that can be exchanged: nothing in these worlds tells one from the other."""

from __future__ import annotations

from typing import Any, Final

from agewalk.checker.interchangeable import Interchangeable, Order, Place
from agewalk.checker.system import Property, Result, System, Thread, sometimes, tolerated
from agewalk.checker.systems.aging import TARGET, ask, primary, spte_rules
from agewalk.checker.systems.hosts import BASE, PFN, Host, build
from agewalk.core.cells import Cell
from agewalk.core.effects import Choose, Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.kvm.kvm_host import MmuPage
from agewalk.model.kvm.mmu.rmap import KVM_RMAP_LOCKED, KVM_RMAP_MANY
from agewalk.model.kvm.mmu.spte import is_accessed_spte, is_shadow_present_pte, spte_to_pfn
from agewalk.model.mm import mmu_notifier
from agewalk.model.protocols.base import AgingProtocol

FIRST: Final = "an eviction finds the first page young"
TOLD: Final = "of a young page, the eviction is told or the bit stays"


def interchangeable(
    host: Host, entries: tuple[Cell, ...], *, threads: tuple[tuple[str, ...], ...] = ()
) -> Interchangeable:
    """The pages of a small world, one table wide: their SPTEs, chains, primary PTEs (`entries`), and frames in values."""
    n = len(host.pages.present)
    kvm, slot = host.kvm, host.kvm.memslots[0].value[0][0]
    roots = [*(r.value for r in host.vcpu.roots), *(r.value for r in kvm.direct_roots)]
    tables = [root for root in (*roots, host.nested and host.nested.root.value) if root is not None]
    sptes = [tuple(page.entry(i) for i in range(n)) for page in tables]
    rows: list[tuple[Place, ...]] = [
        *sptes,
        tuple(slot.rmap(1, i) for i in range(n)),
        tuple(host.pages.present),
        entries,
    ]
    if threads:  # a vCPU each
        rows += zip(*(vcpu.roots for vcpu in kvm.vcpus), strict=True)
    rows += [tuple(page.translation(i) for i in range(n)) for page in tables if not page.direct]
    if host.nested is not None:
        rows.append(tuple(host.nested.gpte(i) for i in range(n)))
    page_of = {table.address_of(i): (table, i) for table in tables for i in range(n)}

    def rename(place: Place, value: Any, to: Order) -> Any:
        if not isinstance(place, Cell) or not isinstance(value, int):
            return value
        kind = str(place.field)
        if isinstance(place.owner, MmuPage) and isinstance(place.field, int) and place.owner.level == 1:
            frame = spte_to_pfn(value) - PFN
            return value + (to[frame] - frame << 12) if is_shadow_present_pte(value) and 0 <= frame < n else value
        if kind.startswith("rmap"):
            bits = value & (KVM_RMAP_MANY | KVM_RMAP_LOCKED)
            if value & KVM_RMAP_MANY or value - bits not in page_of:
                return value
            table, i = page_of[value - bits]
            return table.address_of(to[i]) | bits
        if kind.startswith("translation"):
            return to[value]
        if place.owner is host.pages and kind.startswith("pte") and value:
            return PFN + 1 + to[value - PFN - 1]
        if any(place is e for e in entries):
            return _moved(value, to)
        return value

    return Interchangeable(n, tuple(rows), threads, ("page",), rename)


def _moved(pte: int, to: Order) -> int:
    """A primary PTE of another page: another frame."""
    frame = (pte >> 12) - PFN - 1
    return pte + (to[frame] - frame << 12) if 0 <= frame < len(to) else pte


def _rules(host: Host, agers: int) -> list[Property]:
    """Rules of every SPTE, and what the evictions, so many, are told."""
    f = host.kvm.format
    sptes = tuple(host.leaf(i) for i in range(len(host.pages.present)))

    def young(value: int) -> bool:
        return is_shadow_present_pte(value) and is_accessed_spte(f, value)

    def answers(found: Any) -> set[tuple[int, bool]]:
        return {r for r in (found if agers > 1 else (found,)) if r is not None}

    def told(found: Any, *values: int) -> bool:
        return all((page, True) in answers(found) or young(values[page]) for page, _ in answers(found))

    return [
        *spte_rules(host, *sptes),
        tolerated(TOLD, told, Result("ager"), *sptes),
        sometimes(FIRST, lambda found: (0, True) in answers(found), Result("ager")),
    ]


def _asking(host: Host, entries: tuple[Cell, ...]) -> Any:
    """MGLRU's eviction asks about either page; returns (page, found young)."""

    def run() -> Step[tuple[int, bool]]:
        page = yield Choose(2, "page")
        return page, (yield from ask(host, entries[page], TARGET, page))

    return run


def agers_of_pages(protocol: AgingProtocol, mmu: str) -> System:
    """Two reclaims ask about either of two young pages while a vCPU uses either of them."""
    return crowd(protocol, mmu, agers=2)


def crowd(protocol: AgingProtocol, mmu: str, *, agers: int) -> System:
    """`agers_of_pages` with any number of reclaims: how far reduction reaches."""
    host = build(protocol, mmu, pages=2, write=True)
    entries = tuple(primary(host, page=i) for i in range(2))

    def touching() -> Step[None]:
        page = yield Choose(2, "page")
        yield from host.touch(gfn=page)

    return System(
        "agers-of-pages",
        (Thread("ager", _asking(host, entries), n=agers), Thread("vcpu", touching)),
        tuple(_rules(host, agers)),
        about=(agers_of_pages.__doc__ or "").strip(),
        exchange=interchangeable(host, entries),
    )


def fault_of_pages(protocol: AgingProtocol, mmu: str) -> System:
    """Two old pages, each with a vCPU of its own that writes to it, while MGLRU asks about either of them."""
    host = build(protocol, mmu, pages=2, vcpus=2, write=True)
    host.direct.run(mmu_notifier.clear_young(host.mm, BASE, Hva(BASE + 2 * PAGE_SIZE)))
    entries = tuple(primary(host, page=i) for i in range(2))

    def writing(i: int) -> Any:
        def run() -> Step[None]:
            yield from host.touch(host.kvm.vcpus[i], gfn=i, write=True)

        return run

    names = ("vcpu0", "vcpu1")
    return System(
        "fault-of-pages",
        (Thread("ager", _asking(host, entries)), *(Thread(name, writing(i)) for i, name in enumerate(names))),
        tuple(_rules(host, 1)),
        about=(fault_of_pages.__doc__ or "").strip(),
        exchange=interchangeable(host, entries, threads=(names,)),
    )
