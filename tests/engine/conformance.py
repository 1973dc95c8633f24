"""The conformance kit: the same events to the direct reading and to the engine, and a comparison of everything after each.

`Twin` holds both. Compared are, of every page, what a witness records (generation, flags, swapped or not), its accessed bits in
all three tables, and both bits in tables that guests built; of a VM whether it has rmaps and indirect shadow pages; of the lruvec
the window, sizes, tiers, the order of every list, the Bloom filters, what its walks counted; free frames; counts; who left, who
came back and after how long, and when each page was last used (`ledger.py`).
"""

from dataclasses import asdict
from typing import Any

import numpy as np
from tests.engine.ledger import HOT, Ledger

from agewalk.core.units import Bytes, Hva, Ns, Pages
from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.state import layout as at
from agewalk.engine.state.arrays import State
from agewalk.engine.state.config import Host, Space
from agewalk.engine.state.huge import accessed, folio_of, is_huge
from agewalk.engine.state.truth_table import M_RMAPS, M_SHADOW_PAGES
from agewalk.model.kvm.kvm_host import GuestTables
from agewalk.model.kvm.mmu.spte import is_accessed_spte, is_last_spte, is_shadow_present_pte, spte_to_pfn
from agewalk.model.machine import Machine, Process, VirtualMachine
from agewalk.model.machine.parts import BASE
from agewalk.model.machine.view import NOT_THERE, SWAPPED, PageView, entry_of, page_view
from agewalk.model.mm import pte as p
from agewalk.model.profiles import Profile, profile
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.registry import get_protocol
from agewalk.model.protocols.tables.enumerate import protocol_table
from agewalk.model.protocols.tables.table import ProtocolTable

Row = tuple[int, int, bool, int]  # space, page, write, context
MM_STATS = ("leaf_total", "leaf_old", "leaf_young", "nonleaf_total", "nonleaf_found", "nonleaf_added")
_TABLES: dict[str, ProtocolTable] = {}


def table_of(protocol: AgingProtocol) -> ProtocolTable:
    """The truth table, enumerated once a process."""
    name = protocol.full_name
    if name not in _TABLES:
        _TABLES[name] = protocol_table(protocol)
    return _TABLES[name]


def features_of(kernel: Profile) -> dict[str, object]:
    """All features of a profile by name."""
    return {**asdict(kernel.mm), **asdict(kernel.kvm), **asdict(kernel.mglru)}


class Twin:
    """A host twice. spaces: (pages, mmu), mmu one of tdp, legacy, shadow, or process; then "-noad" takes A/D bits away, "-huge"
    asks for 2 MiB pages. marks: watermarks (min, low, high) other than those of so small a memory, for which kswapd has next to
    nothing to do. base: where every space begins. kind, policy: what runs on either side."""

    kind: type[Machine] = Machine
    policy = "mglru"

    def __init__(
        self,
        kernel: str,
        protocol: str,
        spaces: list[tuple[int, str]],
        memory: int,
        marks: tuple[int, int, int] | None = None,
        swappiness: int = 60,
        base: int = BASE,
    ) -> None:
        self.profile = profile(kernel)
        rules = get_protocol(protocol)
        self.machine = self.kind(self.profile, rules, memory=Pages(memory))
        self.machine.swappiness = swappiness
        self.processes: list[Process] = []
        self.vms: list[VirtualMachine | None] = []
        for i, (pages, kind) in enumerate(spaces):
            mmu, *rest = kind.split("-")
            process = self.machine.add_process(f"p{i}", Pages(pages), huge="huge" in rest, start=Hva(base))
            self.processes.append(process)
            vm = None if mmu == "process" else self.machine.start_vm(process, mmu=mmu, ad_bits="noad" not in rest)
            self.vms.append(vm)
        host = Host(
            spaces=[
                Space(
                    f"p{i}", pages, kvm=not k.startswith("process"), tdp=k.startswith("tdp"), shadow=k.startswith("shadow"),
                    ad_bits="noad" not in k, huge="huge" in k, hva=base,
                )
                for i, (pages, k) in enumerate(spaces)
            ],
            memory_pages=memory,
            swappiness=swappiness,
            features=features_of(self.profile),
            folio_batch_size=self.profile.mm.folio_batch_size,
            tick_ns=1,
            hot_after_ns=HOT,
            policy=self.policy,
        )  # fmt: skip
        self.engine = Engine(host, table_of(rules), assess=False)
        self.engine.state.word[at.MAX_HOLES] = 5  # lists are closed up now and then
        if marks:
            theirs, ours = self.machine.memory, self.engine.state.word
            theirs.minimum, theirs.low, theirs.high = marks
            ours[at.MINIMUM], ours[at.LOW], ours[at.HIGH] = marks
        self.now = 0
        self.ledger = Ledger(len(spaces))
        self.exits = 0  # accesses that KVM had to resolve
        self.faults = [0] * len(spaces)  # accesses that brought a page

    # --- events -----------------------------------------------------------------------------------------------------

    def touch(self, rows: list[Row]) -> None:
        """Accesses: one by one there, as one batch here."""
        self.ledger.book(self.machine, self.processes, self.now)
        self.now += 1
        for space, page, write, context in rows:
            self.ledger.use(space, page, self.now)
            vm = self.vms[space]
            before = self.machine.counters["kvm_mmu_page_fault"]
            absent = _folio(self.machine, self.processes[space], page) is None
            if vm is None or context == 2:
                self.machine.touch_host(self.processes[space], page, write=write)
            elif context == 1:
                if vm.nested is None:
                    self.machine.start_nested(vm)
                self.machine.touch_nested(vm, page, write=write)
            else:
                self.machine.touch_guest(vm, page, write=write)
            self.exits += self.machine.counters["kvm_mmu_page_fault"] > before
            self.faults[space] += absent and self._came(space, page)
            self.ledger.book(self.machine, self.processes, self.now)
        self.machine.advance(Ns(self.now))
        columns = list(zip(*rows, strict=True))
        self.engine.feed(
            HostAccesses(
                np.full(len(rows), self.now, np.int64),
                np.array(columns[0], np.uint16),
                np.array(columns[1], np.uint32),
                np.array(columns[2], np.bool_),
                np.array(columns[3], np.uint8),
            )
        )

    def _came(self, space: int, page: int) -> bool:
        """Is an absent page there after an access, or has been? kswapd may have taken it at once. A zero page is none."""
        process = self.processes[space]
        return _folio(self.machine, process, page) is not None or p.pte_is_swap(entry_of(process, page))

    def age(self, *, force_scan: bool) -> None:
        """`+`."""
        theirs = self.machine.age(force_scan=force_scan)
        ours = self.engine.age(force_scan=force_scan)
        assert (theirs == 0) == ours, f"age: {theirs} against {ours}"

    def reclaim(self, pages: int) -> None:
        """memory.reclaim."""
        self.machine.reclaim(Bytes(pages * 4096))
        self.engine.reclaim(pages)

    def evict(self, below: int, pages: int) -> None:
        """`-` up to max_seq - below."""
        seq = self.machine.max_seq - below
        theirs = self.machine.evict(seq, pages, self.machine.swappiness)
        ours = self.engine.evict(seq, pages)
        assert (theirs == 0) == (ours >= 0), f"evict: {theirs} against {ours}"

    def nested(self, space: int, *, alive: bool) -> None:
        """The nested guest of a VM begins or ends."""
        vm = self.vms[space]
        assert vm is not None
        if alive == (vm.nested is not None):
            return
        if alive:
            self.machine.start_nested(vm)
        else:
            self.machine.end_nested(vm)
        self.engine.nested(space, alive=alive)

    # --- comparison -------------------------------------------------------------------------------------------------

    def check(self, what: str = "") -> None:
        """Raise AssertionError that names the first difference."""
        self.ledger.book(self.machine, self.processes, self.now)
        theirs = {**self.theirs(), **self.ledger.as_said()}
        ours = {**self.ours(), **self.ledger.of(self.engine)}
        for name, value in theirs.items():
            if value != ours[name]:
                first = ""
                if isinstance(value, list):
                    pairs = enumerate(zip(value, ours[name], strict=False))
                    first = next((f" at {i}: {a} against {b}" for i, (a, b) in pairs if a != b), " in length")
                raise AssertionError(f"{what}: {name} differs{first or f': {value} against {ours[name]}'}")

    def theirs(self) -> dict[str, Any]:
        """The direct reading's state as plain values."""
        m, lruvec = self.machine, self.machine.lruvec
        where: dict[Any, tuple[int, int]] = {}  # the first page of each folio
        for i, process in enumerate(self.processes):
            for page in range(process.pages):
                if (folio := _folio(m, process, page)) is not None:
                    where.setdefault(folio, (i, page))
        views, young, guest = [], [], []
        for process, vm in zip(self.processes, self.vms, strict=True):
            for page in range(process.pages):
                entry = entry_of(process, page)
                zero = bool(entry & p.PRESENT and entry & p.SPECIAL)
                view = page_view(m.memory, process, page, m.max_seq)
                views.append(PageView(-1, 0) if zero else view)
                primary = bool(entry & p.PRESENT and not zero and p.pte_young(entry))
                young.append((primary, *_spte_young(vm, page)) if not zero else (False, False, False))
                guest.append(_guest_bits(vm, page))
        return {
            "window": (m.max_seq, m.min_seq),
            "pages": views,
            "young": young,
            "guest": guest,
            "shadow_pages": [
                vm is not None and (bool(vm.kvm.shadow_root_allocated.value), vm.kvm.indirect_shadow_pages.value > 0)
                for vm in self.vms
            ],
            "sizes": [int(lruvec.nr_pages[g][t].value) for g in range(4) for t in range(2)],
            "lists": [
                [where.get(f, "unmapped") for f in lruvec.folios[g][t].items] for g in range(4) for t in range(2)
            ],
            "free": int(m.memory.free.value),
            "avg_refaulted": [int(x.value) for t in range(2) for x in lruvec.avg_refaulted[t]],
            "avg_total": [int(x.value) for t in range(2) for x in lruvec.avg_total[t]],
            "evicted": [int(x.value) for t in range(2) for x in lruvec.evicted[t]],
            "refaulted": [int(x.value) for t in range(2) for x in lruvec.refaulted[t]],
            "bloom": [_filter(cell.value) for cell in lruvec.filters],
            "ptes_walked": m.counters["ptes_walked"],
            "pmds_walked": m.counters["pmds_walked"],
            "swap_writes": m.counters["work:swap_write"],
            "look_around_ptes": m.counters["ptes_looked_around"],
            "look_arounds": m.counters["lru_gen_look_around"],
            "notifier_calls": sum(n for name, n in m.counters.items() if _is_young_call(name)),
            "age_gfn": m.counters["kvm_age_gfn"] + m.counters["kvm_test_age_gfn"],
            "spte_faults": self.exits,
            "kswapd_runs": m.counters["balance_pgdat"],
            "faults": self.faults,
            "resident": [
                sum(_folio(m, process, page) is not None for page in range(process.pages)) for process in self.processes
            ],
            "mm_stats": [int(n.value) for n in lruvec.mm_stats],
        }

    def ours(self) -> dict[str, Any]:
        """The engine's."""
        s, word = self.engine.state, self.engine.state.word
        result = self.engine.result()
        max_seq = int(word[at.MAX_SEQ])
        views, young, guest = [], [], []
        where: dict[int, tuple[int, int]] = {}
        for i, process in enumerate(self.processes):
            for page in range(process.pages):
                number = int(s.space[i, at.S_FIRST]) + page
                folio = int(folio_of(s.pmd, number))
                meta, bits = int(s.folios[folio, at.META]), int(s.pte_bits[number])
                if is_huge(s.pmd, number):  # one accessed bit for all, but for shadow SPTEs of guest tables
                    bits |= int(accessed(s.pte_bits, folio)) & at.A_ANY & ~int(s.space[i, at.S_SMALL])
                kvm = bool(s.space[i, at.S_NOTIFIERS])
                views.append(_view(meta, max_seq))
                mapped = bool(meta & at.MAPPED)
                fast, slow = bool(kvm and bits & at.A_TDP and mapped), bool(kvm and bits & at.A_SHADOW and mapped)
                if not s.space[i, at.S_TDP]:  # the nested guest's
                    fast, slow = False, fast or slow
                young.append((bool(bits & at.A_PRIMARY and mapped), fast, slow))
                alone = int(s.folios[number, at.META])
                pair = _bits(alone, at.GA_SHADOW, at.GD_SHADOW), _bits(alone, at.GA_TDP, at.GD_TDP)
                guest.append((pair[1], pair[0]) if s.space[i, at.S_TDP] else pair)
                where[number] = (i, page)
        return {
            "window": (result.max_seq, result.min_seq),
            "pages": views,
            "young": young,
            "guest": guest,
            "shadow_pages": [
                vm is not None and _bits(int(mode), M_RMAPS, M_SHADOW_PAGES)
                for vm, mode in zip(self.vms, s.space[:, at.S_MODE], strict=True)
            ],
            "sizes": [int(n) for n in word[at.NR_PAGES : at.NR_PAGES + 8]],
            "lists": [
                [where[f] if s.folios[f, at.META] & at.MAPPED else "unmapped" for f in members(s, n)] for n in range(8)
            ],
            "free": int(word[at.FRAMES] - word[at.HELD]),
            "avg_refaulted": [int(n) for n in word[at.AVG_REFAULTED : at.AVG_REFAULTED + 8]],
            "avg_total": [int(n) for n in word[at.AVG_TOTAL : at.AVG_TOTAL + 8]],
            "evicted": [int(n) for n in word[at.EVICTED_IN : at.EVICTED_IN + 8]],
            "refaulted": [int(n) for n in word[at.REFAULTED_IN : at.REFAULTED_IN + 8]],
            "bloom": [
                None if not word[at.FILTERS] >> i & 1 else {int(b) for b in np.flatnonzero(s.bloom[i])}
                for i in range(2)
            ],
            "ptes_walked": result.counts["ptes_walked"],
            "pmds_walked": result.counts["pmds_walked"],
            "swap_writes": result.counts["swap_writes"],
            "look_around_ptes": result.counts["look_around_ptes"],
            "look_arounds": result.counts["look_arounds"],
            "notifier_calls": result.costs["notifier_calls"],
            "age_gfn": result.costs["age_gfn"],
            "spte_faults": result.counts["spte_faults"],
            "kswapd_runs": result.counts["kswapd_runs"],
            "faults": [space.faults for space in result.spaces],
            "resident": [space.resident_pages for space in result.spaces],
            "mm_stats": [result.counts[name] for name in MM_STATS],
        }


def _is_young_call(name: str) -> bool:
    return name.startswith("__mmu_notifier_") and "young" in name


def _folio(m: Machine, process: Process, page: int) -> Any:
    entry = entry_of(process, page)
    return m.memory.folio(p.pte_pfn(entry)) if entry & p.PRESENT and not entry & p.SPECIAL else None


def _filter(bits: int | None) -> set[int] | None:
    """The bits that are set in a Bloom filter."""
    if bits is None:
        return None
    places = set()
    while bits:
        lowest = bits & -bits
        places.add(lowest.bit_length() - 1)
        bits ^= lowest
    return places


def _spte_young(vm: VirtualMachine | None, page: int) -> tuple[bool, bool]:
    """(TDP MMU, shadow MMU): is a leaf SPTE of the page young?"""
    if vm is None:
        return False, False
    kvm, gfn = vm.kvm, vm.base_gfn + page
    fast = slow = False
    if kvm.tdp_mmu_enabled:
        fast = _leaf_young(kvm, vm.vcpu.roots[0].value, gfn)
    else:
        slow = _leaf_young(kvm, kvm.direct_roots[0].value, gfn)
    for tables in (kvm.guest_tables, vm.nested):
        if tables is not None:
            slow |= _leaf_young(kvm, tables.root.value, tables.address(gfn))
    return fast, slow


def _guest_bits(vm: VirtualMachine | None, page: int) -> tuple[tuple[bool, bool], tuple[bool, bool]]:
    """(accessed, dirty) where the guest's own tables map the page, and where its nested guest's do, if KVM shadows them."""
    tables = (vm.kvm.guest_tables, vm.nested) if vm else (None, None)
    gfn = vm.base_gfn + page if vm else 0
    own, nested = (int(of.gpte(of.address(gfn)).value) if of else 0 for of in tables)
    a, d = GuestTables.ACCESSED, GuestTables.DIRTY
    return _bits(own, a, d), _bits(nested, a, d)


def _bits(value: int, one: int, other: int) -> tuple[bool, bool]:
    return bool(value & one), bool(value & other)


def _leaf_young(kvm: Any, root: Any, address: int) -> bool:
    while root is not None:
        spte = root.entry(kvm.index(address, root.level)).value
        if not is_shadow_present_pte(spte):
            return False
        if is_last_spte(spte, root.level):
            return is_accessed_spte(kvm.format, spte)
        root = kvm.page_at(spte_to_pfn(spte))
    return False


def members(state: State, number: int) -> list[int]:
    """Folios of a list, the newest first."""
    out, place = [], int(state.word[at.TAILS + number])
    while place != state.word[at.HEADS + number]:
        if state.queue[place] != at.HOLE:
            out.append(int(state.queue[place]))
            assert state.folios[out[-1], at.SLOT] == place
            assert len(out) <= len(state.folios), "a list in a ring"
        place += 1
        if place % at.SEGMENT == 0:
            place = int(state.after[place // at.SEGMENT - 1]) * at.SEGMENT
    return out[::-1]


def _view(meta: int, max_seq: int) -> PageView:
    if meta & at.ZERO:
        return PageView(-1, 0)
    if not meta & at.MAPPED:
        return SWAPPED if meta & (at.EVICTED | at.RESIDENT) else NOT_THERE
    gen = ((meta & at.GEN_MASK) >> at.GEN_SHIFT) - 1
    return PageView(
        seq=-1 if gen < 0 else max_seq - (max_seq - gen) % 4,
        swapped=0,
        referenced=int(bool(meta & at.REFERENCED)),
        workingset=int(bool(meta & at.WORKINGSET)),
        refs=(meta & at.REFS_MASK) >> at.REFS_SHIFT,
        active=int(bool(meta & at.ACTIVE)),
        dirty=int(bool(meta & at.DIRTY)),
        swapcache=int(bool(meta & at.SWAPCACHE)),
        lru=int(gen >= 0),
    )
