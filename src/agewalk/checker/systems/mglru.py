"""MGLRU's own races: generations counted up, folios moved by flags while others take them off their lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from agewalk.checker.ghost import Ghost, rewrite
from agewalk.checker.system import Property, Result, System, Thread, always, at_end, sometimes, tolerated
from agewalk.checker.systems import hosts
from agewalk.checker.systems.monitors import word_rules
from agewalk.core.cells import Cell, Object
from agewalk.core.direct import Direct
from agewalk.core.effects import Acquire, CompareExchange, Effect, Exchange, FetchOr, Load, Release, Step, Store
from agewalk.core.units import PAGE_SIZE, Hva, Pfn
from agewalk.model.mglru.aging import mm_list
from agewalk.model.mglru.aging.generations import MAX_NR_GENS, MIN_NR_GENS, lru_gen_from_seq, seq_is_valid
from agewalk.model.mglru.aging.inc_max_seq import try_to_inc_max_seq
from agewalk.model.mglru.aging.look_around import folio_referenced_pte
from agewalk.model.mglru.aging.page_table_walk import reset_batch_size
from agewalk.model.mglru.aging.promote import walk_update_folio
from agewalk.model.mglru.eviction.isolate import isolate_folio
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.lruvec import MglruLruvec
from agewalk.model.mglru.state import MmWalk
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import PG_LRU, PG_REFERENCED, folio_lru_gen
from agewalk.model.mm.mm_types import Folio, Mm, PteTable, Vma
from agewalk.model.profiles import PROFILES
from agewalk.model.protocols.base import AgingProtocol

START: Final = Hva(0)
VALID: Final = "the window of generations is valid"
ONCE: Final = "max_seq counts once for each round"
SUM: Final = "sizes of generations add up"
LISTED: Final = "a folio is on a list iff it has a generation"
KVM_SEEN: Final = "a page that only a guest used is among the youngest at the next aging"
IN_WINDOW: Final = "a folio's generation is inside the window"


@dataclass
class Lru:
    """One memcg with one process of `n` anonymous pages in one page table; folio i is mapped at page i."""

    lruvec: MglruLruvec
    mm: Mm
    table: PteTable
    folios: list[Folio]

    @property
    def vma(self) -> Vma:
        """The process's one VMA."""
        first: Vma = self.mm.vmas.value[0]
        return first

    def entry(self, i: int) -> Cell:
        """The PTE of page i."""
        return self.table.ptes[i]


def build(protocol: AgingProtocol, pages: int, *, young: bool, referenced: bool = True) -> Lru:
    """`pages` folios in the oldest generation. referenced: seen accessed before, so that one more access promotes (6.14)."""
    features = PROFILES[hosts.kernel_of(protocol)].mglru
    mem_map: dict[Pfn, Folio] = {}
    lruvec = MglruLruvec(
        "lruvec", features=replace(features, **protocol.mglru_changes()), protocol=protocol, mem_map=mem_map
    )
    mm = Mm("mm", (Vma(START, Hva(START + pages * PAGE_SIZE)),))
    run = Direct().run
    run(mm_list.lru_gen_add_mm(lruvec, mm))
    pmd = mm.pmd_cell(START)
    table = mm.new_table(START)
    pmd.value = p.make_pte(table.pfn, writable=True)
    folios = []
    for i in range(pages):
        folio = Folio(Pfn(i + 1), lruvec)
        mem_map[folio.pfn] = folio
        folio.mappings.value = ((mm, Hva(START + i * PAGE_SIZE)),)
        folio.flags.value |= PG_LRU | (PG_REFERENCED if referenced else 0)
        table.ptes[i].value = p.make_pte(folio.pfn, writable=True, young=young)
        run(lruvec.add_folio(folio, tail=True))
        folios.append(folio)
    return Lru(lruvec, mm, table, folios)


def _rules(lru: Lru) -> list[Property]:
    """Rules that hold whenever all threads have ended."""
    sizes = tuple(cell for gen in lru.lruvec.nr_pages for cell in gen)
    flags = tuple(f.flags for f in lru.folios)
    links = tuple(f.lru for f in lru.folios)
    n = len(flags)

    def adds_up(*values: Any) -> bool:
        found, words = values[:-n], values[-n:]
        listed: dict[int, int] = {}
        for w in words:
            gen = folio_lru_gen(w)
            if gen >= 0:
                listed[gen] = listed.get(gen, 0) + 1
        return all(found[2 * g] == listed.get(g, 0) and found[2 * g + 1] == 0 for g in range(MAX_NR_GENS))

    def listed(*values: Any) -> bool:
        words, heads = values[:n], values[n:]
        return all((folio_lru_gen(w) >= 0) == (h is not None) for w, h in zip(words, heads, strict=True))

    def in_window(max_seq: int, min_seq: int, *words: int) -> bool:
        alive = {lru_gen_from_seq(s) for s in range(min_seq, max_seq + 1)}
        return all(folio_lru_gen(w) in alive for w in words if folio_lru_gen(w) >= 0)

    by_type = lru.lruvec.features.by_evictable_type

    def valid(max_seq: int, anon: int, file: int) -> bool:
        return seq_is_valid(max_seq, (anon, file), by_evictable_type=by_type)

    return [
        always(VALID, valid, lru.lruvec.max_seq, *lru.lruvec.min_seq),
        at_end(SUM, adds_up, *sizes, *flags),
        at_end(LISTED, listed, *flags, *links),
        at_end(IN_WINDOW, in_window, lru.lruvec.max_seq, lru.lruvec.min_seq[0], *flags),
    ]


def max_seq_vs_walkers(protocol: AgingProtocol, _: str) -> System:
    """Two walkers age one memcg at once, all four generations in use, while the process goes on using its page."""
    lru = build(protocol, 1, young=True)
    lruvec = lru.lruvec
    seq: int = lruvec.max_seq.value

    def walker() -> Step[bool]:
        return (yield from try_to_inc_max_seq(lruvec, seq, 1, MmWalk(), force_scan=True))

    def touch() -> Step[None]:
        yield FetchOr(lru.entry(0), p.ACCESSED)

    return System(
        "max-seq-vs-walkers",
        (Thread("walker", walker, n=2), Thread("process", touch)),
        (
            *_rules(lru),
            at_end(ONCE, lambda now, rs: now == seq + 1 and sum(map(bool, rs)) == 1, lruvec.max_seq, Result("walker")),
            sometimes(
                "the walk promotes the page", lambda w: folio_lru_gen(w) == lru_gen_from_seq(seq), lru.folios[0].flags
            ),
        ),
        about=(max_seq_vs_walkers.__doc__ or "").strip(),
    )


def _promote(lru: Lru, i: int) -> Any:
    """A page-table walk found page i young: its flags at once, the sizes later, under the LRU lock."""

    def run() -> Step[None]:
        walk = MmWalk()
        max_seq: int = yield Load(lru.lruvec.max_seq)
        yield from walk_update_folio(lru.lruvec, walk, lru.folios[i], lru_gen_from_seq(max_seq))
        yield Acquire(lru.lruvec.lru_lock)
        yield from reset_batch_size(lru.lruvec, walk)
        yield Release(lru.lruvec.lru_lock)

    return run


def _isolate(lru: Lru, i: int, *, put_back: bool) -> Any:
    """Reclaim takes folio i off its list, and brings it back after a look."""

    def run() -> Step[bool]:
        lruvec, folio = lru.lruvec, lru.folios[i]
        nobody: Any = None
        yield Acquire(lruvec.lru_lock)
        taken = yield from isolate_folio(lruvec, folio, ScanControl(nobody, mm_walk=MmWalk()))
        yield Release(lruvec.lru_lock)
        if taken and put_back:
            yield Acquire(lruvec.lru_lock)
            yield FetchOr(folio.flags, PG_LRU)
            yield from lruvec.add_folio(folio)
            yield Release(lruvec.lru_lock)
        return taken

    return run


def update_gen_vs_isolation(protocol: AgingProtocol, _: str) -> System:
    """A walk moves a folio to the youngest generation by its flags while reclaim isolates it and puts it back."""
    lru = build(protocol, 1, young=True)
    return System(
        "update-gen-vs-isolation",
        (Thread("walk", _promote(lru, 0), n=2), Thread("reclaim", _isolate(lru, 0, put_back=True), n=2)),
        (*_rules(lru), sometimes("reclaim isolates it", any, Result("reclaim"))),
        about=(update_gen_vs_isolation.__doc__ or "").strip(),
    )


def look_around_vs_eviction(protocol: AgingProtocol, _: str) -> System:
    """Eviction of one page looks around and promotes its neighbour, which another reclaim isolates and unmaps."""
    lru = build(protocol, 2, young=True)
    gone = Cell(Object("ghost"), "unmapped", value=False)

    def evict() -> Step[int]:
        folio = lru.folios[0]
        walk = MmWalk()
        yield Acquire(lru.table.ptl)
        found = yield from folio_referenced_pte(
            lru.lruvec, walk, folio, lru.mm, lru.vma, lru.table, lru.table.ptl, START
        )
        yield Release(lru.table.ptl)
        yield Acquire(lru.lruvec.lru_lock)
        yield from reset_batch_size(lru.lruvec, walk)
        yield Release(lru.lruvec.lru_lock)
        return found

    taking = _isolate(lru, 1, put_back=False)

    def take_neighbour() -> Step[bool]:
        taken: bool = yield from taking()
        yield Acquire(lru.table.ptl)
        yield Exchange(lru.entry(1), p.make_swap_pte(1))
        yield Ghost(Store(gone, True))
        yield Release(lru.table.ptl)
        return taken

    def unmapped(inside: bool, pte: int) -> bool:
        return not inside or not p.pte_present(pte)

    return System(
        "look-around-vs-eviction",
        (Thread("evict", evict), Thread("reclaim", take_neighbour)),
        (
            *_rules(lru),
            always("an unmapped page stays unmapped", unmapped, gone, lru.entry(1)),
            at_end("the target counts as referenced", bool, Result("evict")),
        ),
        about=(look_around_vs_eviction.__doc__ or "").strip(),
    )


def lag(max_seq: int, word: int) -> int:
    """The number of generations that a folio is behind the youngest."""
    gen = folio_lru_gen(word)
    return 0 if gen < 0 else (max_seq - gen) % MAX_NR_GENS


def kvm_access_vs_aging(protocol: AgingProtocol, mmu: str) -> System:
    """A page that only a guest uses, aged twice: where does it stand when eviction looks?"""
    lru = build(protocol, 1, young=False)
    host = hosts.build(protocol, mmu, write=True)
    host.age()
    lru.mm.notifier_subscriptions.value = host.subscriptions()  # the VM maps the memory of this process
    lru.mm.vmas.value = (Vma(hosts.BASE, host.end),)
    table = lru.mm.new_table(hosts.BASE)
    lru.mm.pmd_cell(hosts.BASE).value = p.make_pte(table.pfn, writable=True)
    table.ptes[(hosts.BASE >> 12) & 511].value = p.make_pte(lru.folios[0].pfn, writable=True, young=False)
    lru.mm.pmd_cell(START).value = p.NONE
    between = Cell(Object("ghost"), "touched_between", value=False)
    asked = Cell(between.owner, "touched_before_the_second", value=False)
    lruvec, spte = lru.lruvec, host.leaf()

    def age() -> Step[None]:
        early = False
        for _ in range(2):
            touched: bool = yield Load(between)
            yield Ghost(Store(asked, touched and not early))  # used after the first aging, before the second
            seq: int = yield Load(lruvec.max_seq)
            yield from try_to_inc_max_seq(lruvec, seq, 1, MmWalk(), force_scan=True)
            early = yield Load(between)

    def stamped(effect: Effect) -> Any:
        """The accessed bit is set: that is the moment of the access."""
        sets = isinstance(effect, CompareExchange) and effect.cell is spte
        return (effect, Ghost(Store(between, True))) if sets else effect

    def guest() -> Step[None]:
        yield from rewrite(host.touch(write=False), stamped)

    def young_enough(before: bool, max_seq: int, word: int) -> bool:
        return not before or lag(max_seq, word) < MIN_NR_GENS

    def behind(_: bool, max_seq: int, word: int) -> int:
        return lag(max_seq, word)

    return System(
        "kvm-access-vs-aging",
        (Thread("ager", age), Thread("vcpu", guest)),
        (
            *_rules(lru)[:2],
            tolerated(
                KVM_SEEN,
                young_enough, asked, lruvec.max_seq, lru.folios[0].flags, measure=behind,
            ),
            *word_rules(protocol),
            sometimes("aging sees the guest", lambda w: folio_lru_gen(w) != 0, lru.folios[0].flags),
        ),
        about=(kvm_access_vs_aging.__doc__ or "").strip(),
    )  # fmt: skip
