"""The shadow MMU: tables that KVM builds under mmu_lock held for write (arch/x86/kvm/mmu/mmu.c, paging_tmpl.h).

Nested guests run on it (it shadows their hypervisor's tables), a guest without TDP MMU (direct tables), and a guest
without nested paging (it shadows the guest's own). Not modelled: write tracking of guest page tables and unsync pages
(no trace writes to guest page tables), and parentless pages that wait in the hash to be used again: they are zapped.
"""

from __future__ import annotations

from agewalk.core.cells import Cell
from agewalk.core.effects import (
    ACQUIRE,
    RELEASE,
    Acquire,
    Alloc,
    CallRcu,
    Exchange,
    Free,
    ListAdd,
    ListDel,
    ListEnd,
    Load,
    Release,
    Step,
    Store,
    Warn,
)
from agewalk.core.units import Pfn
from agewalk.model.kvm.kvm_host import GuestTables, Kvm, MmuPage
from agewalk.model.kvm.memslots import GfnRange, Memslot, SlotSet, slot_of_gfn
from agewalk.model.kvm.mmu.fault import RET_PF_FIXED, RET_PF_SPURIOUS, Fault
from agewalk.model.kvm.mmu.rmap import (
    KVM_RMAP_MANY,
    kvm_rmap_lock,
    kvm_rmap_unlock,
    pte_list_add,
    pte_list_remove,
    rmap_sptes,
)
from agewalk.model.kvm.mmu.spte import (
    is_accessed_spte,
    is_dirty_spte,
    is_large_pte,
    is_last_spte,
    is_shadow_present_pte,
    leaf_spte_change_needs_tlb_flush,
    make_nonleaf_spte,
    make_spte,
    spte_needs_atomic_update,
    spte_to_pfn,
    spte_writable_invariants_hold,
)
from agewalk.model.kvm.mmu.tdp_mmu import kvm_set_pfn_accessed, kvm_set_pfn_dirty
from agewalk.model.kvm.tlb import forget_paging_structures, kvm_flush_remote_tlbs, kvm_flush_remote_tlbs_range

# --- roots and tables -----------------------------------------------------------------------------------------------------


def kvm_shadow_root_allocated(kvm: Kvm) -> Step[bool]:
    """kvm_shadow_root_allocated(): sticky."""
    return bool((yield Load(kvm.shadow_root_allocated, ACQUIRE)))


def kvm_memslots_have_rmaps(kvm: Kvm) -> Step[bool]:
    """kvm_memslots_have_rmaps(): true for ever after the first nested guest."""
    return not kvm.tdp_mmu_enabled or (yield from kvm_shadow_root_allocated(kvm))


def kvm_may_have_shadow_mmu_sptes(kvm: Kvm) -> Step[bool]:
    """kvm_may_have_shadow_mmu_sptes() (6.15); a racy read, a rare false "no" is accepted."""
    return not kvm.tdp_mmu_enabled or bool((yield Load(kvm.indirect_shadow_pages)))


def mmu_first_shadow_root_alloc(kvm: Kvm) -> Step[None]:
    """mmu_first_shadow_root_alloc(): the rmaps of all slots come into being (here they always exist), then the flag."""
    if (yield from kvm_shadow_root_allocated(kvm)):
        return
    yield Acquire(kvm.slots_arch_lock)
    if not (yield from kvm_shadow_root_allocated(kvm)):
        yield Store(kvm.shadow_root_allocated, True, RELEASE)
    yield Release(kvm.slots_arch_lock)


def kvm_mmu_alloc_shadow_root(kvm: Kvm, tables: GuestTables | None, as_id: int) -> Step[None]:
    """mmu_alloc_shadow_roots(), or mmu_alloc_direct_roots() without TDP MMU: a root where there is none."""
    holder = kvm.direct_roots[as_id] if tables is None else tables.root
    if tables is not None:
        yield from mmu_first_shadow_root_alloc(kvm)
    yield Acquire(kvm.mmu_lock)
    if (yield Load(holder)) is None:
        root = yield from _alloc_shadow_page(kvm, tables, as_id, kvm.config.levels, 0, direct=tables is None)
        yield Store(holder, root)
    yield Release(kvm.mmu_lock)


def _alloc_shadow_page(
    kvm: Kvm, tables: GuestTables | None, as_id: int, level: int, base: int, *, direct: bool
) -> Step[MmuPage]:
    """kvm_mmu_alloc_shadow_page(): all entries non-present; account_shadowed() if it shadows guest tables."""
    page: MmuPage = yield Alloc(kvm.shadow_slab(tables, as_id, level, base, direct=direct))
    yield Store(page.parent, 0)
    yield ListAdd(kvm.active_mmu_pages, page)
    if page.has_gptes:
        count: int = yield Load(kvm.indirect_shadow_pages)
        yield Store(kvm.indirect_shadow_pages, count + 1)
    return page


def _get_child(kvm: Kvm, page: MmuPage, index: int, address: int) -> Step[MmuPage]:
    """kvm_mmu_get_child_sp() and link_shadow_page(): the table below an entry; a huge leaf there is dropped first."""
    sptep = page.entry(index)
    old: int = yield Load(sptep)
    if is_shadow_present_pte(old) and not is_large_pte(old):
        return kvm.page_at(spte_to_pfn(old))
    if is_shadow_present_pte(old):
        yield from drop_spte(kvm, page, index)
        yield from kvm_flush_remote_tlbs_range(kvm)
    size = kvm.pages_per_level(page.level)
    child = yield from _alloc_shadow_page(
        kvm, page.tables, page.as_id, page.level - 1, address - address % size, direct=page.direct
    )
    yield Store(child.parent, page.address_of(index))
    yield Store(sptep, make_nonleaf_spte(kvm.format, child.pfn, ad_disabled=page.ad_disabled))
    return child


def walk_to_level(kvm: Kvm, root: MmuPage, address: int, level: int) -> Step[MmuPage]:
    """direct_map(), FNAME(fetch): the table of `level` for an address, built where it is missing."""
    page = root
    while page.level > level:
        page = yield from _get_child(kvm, page, kvm.index(address, page.level), address)
    return page


# --- SPTEs ----------------------------------------------------------------------------------------------------------------


def mmu_spte_update(kvm: Kvm, sptep: Cell, new: int) -> Step[bool]:
    """mmu_spte_update(): the same page with other bits. Does the TLB need a flush?"""
    old: int = yield Load(sptep)
    if not spte_writable_invariants_hold(kvm.format, new):
        yield Warn("a writable SPTE is not MMU-writable, or an MMU-writable one not host-writable")
    if not is_shadow_present_pte(old):
        yield Store(sptep, new)
        return False
    if spte_needs_atomic_update(kvm.format, old):
        old = yield Exchange(sptep, new)
    else:
        yield Store(sptep, new)
    if kvm.features.zap_propagates_accessed and is_accessed_spte(kvm.format, old) > is_accessed_spte(kvm.format, new):
        yield from kvm_set_pfn_accessed(kvm, old)
    if kvm.features.zap_propagates_dirty and is_dirty_spte(kvm.format, old) > is_dirty_spte(kvm.format, new):
        yield from kvm_set_pfn_dirty(kvm, old)
    return leaf_spte_change_needs_tlb_flush(kvm.format, old, new)


def mmu_spte_clear_track_bits(kvm: Kvm, sptep: Cell) -> Step[int]:
    """mmu_spte_clear_track_bits(): zap one leaf; the value that was there."""
    old: int = yield Load(sptep)
    if is_shadow_present_pte(old) and spte_needs_atomic_update(kvm.format, old):
        old = yield Exchange(sptep, kvm.format.nonpresent)
    else:
        yield Store(sptep, kvm.format.nonpresent)
    if is_shadow_present_pte(old):
        if kvm.features.zap_propagates_accessed and is_accessed_spte(kvm.format, old):
            yield from kvm_set_pfn_accessed(kvm, old)
        if kvm.features.zap_propagates_dirty and is_dirty_spte(kvm.format, old):
            yield from kvm_set_pfn_dirty(kvm, old)
    return old


def drop_spte(kvm: Kvm, page: MmuPage, index: int) -> Step[None]:
    """drop_spte(): zap, then unlink from the rmap: in between, a lockless walker sees a non-present SPTE in a chain."""
    old = yield from mmu_spte_clear_track_bits(kvm, page.entry(index))
    if is_shadow_present_pte(old):
        yield from rmap_remove(kvm, page, index)


def rmap_remove(kvm: Kvm, page: MmuPage, index: int) -> Step[None]:
    """rmap_remove(): kvm_mmu_page_get_gfn() says which chain."""
    if page.direct:
        gfn = page.base + index * kvm.pages_per_level(page.level)
    else:
        gfn = yield Load(page.translation(index))
    slots: SlotSet = yield Load(kvm.slots(page.as_id))
    found = slot_of_gfn(slots, gfn)
    if found is None:
        yield Warn(f"an SPTE of gfn {gfn:#x} outlived its memslot")
        return
    yield from pte_list_remove(kvm, found[0].rmap(page.level, gfn), page.address_of(index))


def rmap_add(kvm: Kvm, slot: Memslot, page: MmuPage, index: int, gfn: int) -> Step[None]:
    """rmap_add(): link a new leaf; a chain that has grown too long is zapped altogether (RMAP_RECYCLE_THRESHOLD)."""
    if not page.direct:
        yield Store(page.translation(index), gfn)
    head = slot.rmap(page.level, gfn)
    count = yield from pte_list_add(kvm, head, page.address_of(index))
    if count > kvm.config.rmap_recycle_threshold:
        yield from kvm_zap_all_rmap_sptes(kvm, head)
        yield from kvm_flush_remote_tlbs_range(kvm)


def mmu_set_spte(
    kvm: Kvm, slot: Memslot, page: MmuPage, index: int, gfn: int, pfn: Pfn, fault: Fault | None, *, writable: bool
) -> Step[int]:
    """mmu_set_spte(): map gfn at an entry. fault: None for a prefetch, which installs old. writable: the guest's tables
    let it be written. RET_PF_*."""
    sptep = page.entry(index)
    prefetch = fault is None
    old: int = yield Load(sptep)
    was_rmapped = False
    flush = False
    if is_shadow_present_pte(old):
        if prefetch and is_last_spte(old, page.level) and spte_to_pfn(old) == pfn:
            return RET_PF_SPURIOUS
        if not is_last_spte(old, page.level):
            yield from zap_shadow_page(kvm, kvm.page_at(spte_to_pfn(old)))
            flush = True
        elif spte_to_pfn(old) != pfn:
            if page.direct:
                yield Warn("a direct shadow SPTE changed its pfn without an invalidation")
            yield from drop_spte(kvm, page, index)
            flush = True
        else:
            was_rmapped = True
    new = make_spte(
        kvm.format,
        pfn,
        page.level,
        host_writable=fault is None or fault.map_writable,
        guest_writable=writable,
        ad_disabled=page.ad_disabled,
        prefetch=prefetch,
    )
    result = RET_PF_FIXED
    if (yield Load(sptep)) == new:
        result = RET_PF_SPURIOUS
    else:
        flush |= yield from mmu_spte_update(kvm, sptep, new)
    if flush:
        yield from kvm_flush_remote_tlbs_range(kvm)
    if not was_rmapped:
        yield from rmap_add(kvm, slot, page, index, gfn)
    return result


# --- zapping --------------------------------------------------------------------------------------------------------------


def kvm_zap_all_rmap_sptes(kvm: Kvm, head: Cell) -> Step[bool]:
    """kvm_zap_all_rmap_sptes(): every SPTE of a chain, then the chain. Was there one?"""
    value = yield from kvm_rmap_lock(kvm, head)
    if not value:
        return False
    for address in (yield from rmap_sptes(kvm, value)):
        yield from mmu_spte_clear_track_bits(kvm, kvm.sptep(address))
    yield from free_chain(kvm, value)
    yield from kvm_rmap_unlock(head, 0)
    return True


def free_chain(kvm: Kvm, value: int) -> Step[None]:
    """mmu_free_pte_list_desc() for all of a chain."""
    at = value & ~KVM_RMAP_MANY if value & KVM_RMAP_MANY else 0
    while at:
        desc = kvm.desc_at(at)
        at = yield Load(desc.more)
        yield Free(desc)


def kvm_rmap_zap_gfn_range(kvm: Kvm, rng: GfnRange, flush: bool) -> Step[bool]:
    """__kvm_rmap_zap_gfn_range(): all levels. Is a flush due?"""
    for level in range(1, kvm.config.max_level + 1):
        size = kvm.pages_per_level(level)
        for gfn in range(rng.start - rng.start % size, rng.end, size):
            flush |= yield from kvm_zap_all_rmap_sptes(kvm, rng.slot.rmap(level, gfn))
    return flush


def zap_shadow_page(kvm: Kvm, page: MmuPage) -> Step[None]:
    """kvm_mmu_prepare_zap_page() and kvm_mmu_commit_zap_page(), mmu_lock held for write: a table, all below it, its links."""
    zapped = yield from _prepare_zap_page(kvm, page)
    yield from forget_paging_structures(kvm)
    yield from kvm_flush_remote_tlbs(kvm)
    # The flush waits for CPUs that walk without mmu_lock (READING_SHADOW_PAGE_TABLES) and for guests; they are readers.
    for gone in zapped:
        yield CallRcu(gone)


def _prepare_zap_page(kvm: Kvm, page: MmuPage) -> Step[tuple[MmuPage, ...]]:
    """__kvm_mmu_prepare_zap_page(): unlink from children, parent, rmaps and the list of active pages. What to free."""
    zapped: tuple[MmuPage, ...] = ()
    for index in range(kvm.entries):
        spte: int = yield Load(page.entry(index))
        if not is_shadow_present_pte(spte):
            continue
        if is_last_spte(spte, page.level):
            yield from drop_spte(kvm, page, index)
        else:
            zapped += yield from _prepare_zap_page(kvm, kvm.page_at(spte_to_pfn(spte)))
    parent: int = yield Load(page.parent)
    if parent:
        yield Store(kvm.sptep(parent), kvm.format.nonpresent)  # drop_parent_pte()
        yield Store(page.parent, 0)
    elif page.level == kvm.config.levels:
        holder = kvm.direct_roots[page.as_id] if page.tables is None else page.tables.root
        yield Store(holder, None)  # KVM_REQ_MMU_FREE_OBSOLETE_ROOTS: vCPUs load another one
    if page.has_gptes:
        count: int = yield Load(kvm.indirect_shadow_pages)
        yield Store(kvm.indirect_shadow_pages, count - 1)
    yield ListDel(kvm.active_mmu_pages, page)
    return (*zapped, page)


def kvm_mmu_zap_all_shadow_pages(kvm: Kvm) -> Step[None]:
    """The first half of kvm_mmu_zap_all(), mmu_lock held for write."""
    while (page := (yield ListEnd(kvm.active_mmu_pages, head_side=True))) is not None:
        root: MmuPage = page
        while parent := (yield Load(root.parent)):
            root = kvm.page_at(parent >> 12)
        yield from zap_shadow_page(kvm, root)


def forget_guest_tables(kvm: Kvm, tables: GuestTables) -> Step[None]:
    """A nested guest is gone, its hypervisor reuses the memory of its tables: KVM zaps what shadowed them."""
    yield Acquire(kvm.mmu_lock)
    root: MmuPage | None = yield Load(tables.root)
    if root is not None:
        yield from zap_shadow_page(kvm, root)
    yield Release(kvm.mmu_lock)
