"""What must hold of a machine between any two events (reference 4.1 and 7), checked from the cells, not by the model's code."""

from __future__ import annotations

from agewalk.model.kvm.mmu.spte import PG_LEVEL_4K, is_last_spte, is_shadow_present_pte, spte_to_pfn
from agewalk.model.machine import Machine
from agewalk.model.mglru.aging.generations import MAX_NR_GENS, MIN_NR_GENS, TYPES
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import LRU_GEN_MASK, PG_LOCKED, PG_LRU, PG_SWAPCACHE, PG_UNEVICTABLE, folio_lru_gen
from agewalk.model.mm.mm_types import Folio, SwapSlot


def check(machine: Machine) -> None:
    """Assert all of it."""
    check_nothing_held(machine)
    check_generations(machine)
    check_mappings(machine)
    check_frames_and_slots(machine)
    check_secondary_mmus(machine)


def folios(machine: Machine) -> list[Folio]:
    return [folio for folio in set(machine.memory.mem_map.values()) if not folio.freed]


def batched(machine: Machine) -> list[Folio]:
    batches = machine.memory.batches
    return [f for cell in (batches.lru_add, batches.lru_activate, batches.lru_move_tail) for f in cell.value]


def check_nothing_held(machine: Machine) -> None:
    """Every lock, reference of RCU and of the notifiers' SRCU domain is given back."""
    assert not machine.cpu.held
    assert not machine.cpu.rcu
    assert not machine.cpu.atomic
    assert not machine.srcu.readers
    assert not any(f.flags.value & PG_LOCKED for f in folios(machine))


def check_generations(machine: Machine) -> None:
    """seq_is_valid(); each folio on the list of its generation or a younger one's way there; sizes are what lies on lists."""
    lruvec = machine.lruvec
    max_seq = machine.max_seq
    for oldest in machine.min_seq:
        assert MIN_NR_GENS <= max_seq - oldest + 1 <= MAX_NR_GENS
    if not lruvec.features.by_evictable_type:
        assert machine.min_seq[0] <= machine.min_seq[1]
    linked: dict[Folio, int] = {}
    sizes = [[0, 0] for _ in range(MAX_NR_GENS)]
    for gen in range(MAX_NR_GENS):
        for type_ in TYPES:
            for member in lruvec.folios[gen][type_].items:
                assert isinstance(member, Folio)
                assert not member.freed
                assert member not in linked
                linked[member] = gen
                assert member.type == type_
                assert member.lru.value is lruvec.folios[gen][type_]
                now = folio_lru_gen(member.flags.value)
                assert now >= 0
                seq = max_seq - (max_seq - now) % MAX_NR_GENS
                assert machine.min_seq[type_] <= seq <= max_seq
                sizes[now][type_] += member.pages
    for folio in folios(machine):
        flags = folio.flags.value
        on_list = bool(flags & PG_LRU) and not flags & PG_UNEVICTABLE
        assert (folio in linked) == on_list, (folio, hex(flags))
        assert bool(flags & LRU_GEN_MASK) == on_list
    booked = [[lruvec.nr_pages[g][t].value for t in TYPES] for g in range(MAX_NR_GENS)]
    assert booked == sizes


def check_mappings(machine: Machine) -> None:
    """Page tables and reverse mappings tell the same story; a present entry maps a live folio, a swap entry a slot in use."""
    by_folio: dict[Folio, set[tuple[object, int]]] = {}
    entries_of_slot: dict[int, int] = {}
    for process in machine.processes:
        mm = process.mm
        for index, cell in mm.pmds.items():
            pmd = cell.value
            if not pmd & p.PRESENT:
                continue
            if pmd & p.PSE and pmd & p.SPECIAL:
                continue  # the huge zero page
            if pmd & p.PSE:
                folio = machine.memory.folio(p.pte_pfn(pmd & ~p.PSE))
                by_folio.setdefault(folio, set()).add((mm, index << 21))
                continue
            for i, pte in mm.table_of(pmd).ptes.items():  # those that were ever used
                entry = pte.value
                if entry & p.PRESENT and not entry & p.SPECIAL:
                    folio = machine.memory.folio(p.pte_pfn(entry))
                    start = (index << 21) + ((i - (p.pte_pfn(entry) - folio.pfn)) << 12)
                    by_folio.setdefault(folio, set()).add((mm, start))
                elif p.pte_is_swap(entry):
                    slot = int(p.pte_pfn(entry))
                    entries_of_slot[slot] = entries_of_slot.get(slot, 0) + 1
    for folio, places in by_folio.items():
        assert not folio.freed, f"{folio} is mapped and free"
        assert set(folio.mappings.value) == places, folio
    for folio in folios(machine):
        if folio not in by_folio:
            assert not folio.mappings.value, folio
    for place in machine.memory.swap_slab.objects:
        assert isinstance(place, SwapSlot)
        used = entries_of_slot.get(place.index, 0)
        if place.freed:
            assert not used
        else:
            assert place.count.value == used
            assert used or place.folio.value is not None, f"{place} is leaked"
            cached = place.folio.value
            assert cached is None or (not cached.freed and cached.flags.value & PG_SWAPCACHE)


def check_frames_and_slots(machine: Machine) -> None:
    """Frames are free or in a live folio; each live folio has an owner; nothing leaks."""
    memory = machine.memory
    live = folios(machine)
    assert memory.free.value + sum(f.pages for f in live) == memory.frames
    used = [slot for slot in memory.swap_slab.objects if not slot.freed]
    assert memory.swap_used.value == len(used)
    waiting = batched(machine)
    for folio in live:
        held = waiting.count(folio) + bool(folio.backing.value)
        assert folio.refcount.value == held, (folio, folio.refcount.value, held)
        assert folio.mappings.value or held, f"{folio} is leaked"


def check_secondary_mmus(machine: Machine) -> None:
    """Unmap completeness: a leaf SPTE maps only a frame that the process maps there, writable only if the process may write."""
    for vm in machine.vms:
        kvm = vm.kvm
        for table in list(kvm._pages.values()):
            if table.freed or table.invalid.value:
                continue
            for index, cell in table._entries.items():
                spte = cell.value
                if not is_shadow_present_pte(spte) or not is_last_spte(spte, table.level):
                    continue
                assert table.level >= PG_LEVEL_4K
                pfn = spte_to_pfn(spte)
                folio = machine.memory.folio(pfn)
                assert not folio.freed, f"{vm.name} maps the free frame {pfn} (entry {index} of {table})"
                if pfn:
                    assert any(mm is kvm.mm for mm, _ in folio.mappings.value), (
                        f"{vm.name} maps {folio}, its process does not"
                    )
