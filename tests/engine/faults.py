"""One-line faults, each of which the conformance kit must catch. Run as a module, without the compiler:

    NUMBA_DISABLE_JIT=1 python -m tests.engine.faults

prints one line a fault, `caught` or `MISSED`, and ends with 1 if any was missed.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import agewalk
from agewalk.model.profiles import profile


class Fault(NamedTuple):
    """`before` occurs once in the module and becomes `after`; `kernel` and `mmu` are where it shows. kit: what shows it, a story
    of few pages, of kswapd at work ("crowded", "partly"), nested guests, guests that use the same pages ("both"), pages used
    here and there ("scattered"), evicted ones of all "tiers" that come back, a process "beside" or one "beyond" its memory, two
    VMs "mixed", another swappiness or memory that begins elsewhere ("anywhere"); questions about lruvecs of any size
    ("decisions"); stories with larger shares ("scaled"); lists by themselves ("test_lists")."""

    module: str
    before: str
    after: str
    kernel: str = "6.12"
    mmu: str = "tdp"
    policy: str = "mglru"
    kit: str = "story"
    protocol: str = ""  # the kernel's


# Not in the list, since nothing shows them:
# - shrink_folio_list.unmap(), unmap_huge(): SPTEs that make the folio dirty. add_to_swap() made it dirty just before; only a folio that a
#   batch kept in the swap cache goes by clean, and then the entry that a write came through says it too.
# - shrink_folio_list.unmap(), unmap_huge(): accessed SPTEs (up to 6.12). Protocols ask about all of them just before, and the young stay.
# - shrink_folio_list.unmap(), uniform_batch.is_dirty(): the PTE's dirty bit. Likewise: such a folio must be read back and written before it is
#   evicted again.
# - uniform_batch.keep_used(): kept_flags(), and SWAPCACHE beside the other flags. A mapped page in the swap cache is one that a batch
#   kept there and a read brought back; others would not enter the oldest generation.
# - uniform_batch.bits_of_all(): `spared`. Kernels that keep what look-arounds marked (up to 6.13) clear the mark at isolation.
# - reclaim.shrink_lists(): whether it is kswapd that begins. It must get 32 pages of the first 32 that it looks at.
# - page_table_walk.clear_bits(): the test for LOST_W_TDP. Tracking that took W left DIRTY behind (up to 6.12, where it matters), which stays
#   as long as the page is mapped; only a prefetched SPTE of a guest's own tables has lost W without it.
# - reclaim.age_node(): the estimate there. The one after it sees what it sees, but for pages drained in between, and both are
#   made at priority 12 alone, where a second pass is only with 2^18 inactive pages.
FAULTS = (
    Fault("aging.generations", "max_seq - back + 1", "max_seq - back", "7.3"),
    Fault("aging.generations", "(meta & ~(GEN_MASK | REFS_FLAGS_OLD | BY_MASK))", "(meta & ~(GEN_MASK | REFS_MASK | BY_MASK))"),
    Fault("aging.generations", "list_add_tail(s, gen * 2 + kind, folio)",
          "word[HEADS + gen * 2 + kind] = push(s, i64(word[HEADS + gen * 2 + kind]), folio)"),
    Fault("state.lru_lists", "s.word[HOLES] -= 1", "pass", kit="test_lists"),
    Fault("state.lru_lists", "s.folios[folio, SLOT] = to", "pass", kit="test_lists"),
    Fault("state.lru_lists", "if folio != HOLE:", "if True:", kit="test_lists"),
    Fault("state.lru_lists", "s.word[HEADS + number] = to", "s.word[HEADS + number] = to + 1", kit="test_lists"),
    Fault("state.lru_lists", "s.after[segment] = s.word[FREE]", "s.after[segment] = 0", kit="test_lists"),
    Fault("state.lru_lists", "        place = (segment + 1) * SEGMENT", "        place = segment * SEGMENT + 1", kit="test_lists"),
    Fault("state.lru_lists", "        give_back(s, last)\n", "        pass\n", kit="test_lists"),
    Fault("state.lru_lists", "s.word[HOLES] > s.word[MAX_HOLES]:", "False:", kit="test_lists"),
    Fault("eviction.isolate", "if folio == HOLE:", "if False:", "7.3", "process"),
    Fault("classic_lru.reclaim", "if folio == HOLE:", "if False:", policy="two-list"),
    Fault("aging.tiers", "+ word[PROTECTED_IN + at] + word[EVICTED_IN + at]) // 2", "+ word[EVICTED_IN + at]) // 2", "7.3"),
    Fault("aging.page_table_walk", "young * 8 >= total", "young * 6 >= total"),
    Fault("aging.page_table_walk", "bloom_add(word, s.bloom, s.pmd, seq + 1, pmd)", "bloom_add(word, s.bloom, s.pmd, seq, pmd)"),
    Fault("aging.page_table_walk", "pte_bits[page] = bits & ~cleared", "pte_bits[page] = bits & ~(cleared & A_TDP)"),
    Fault("aging.page_table_walk", "which &= which_of(folios, start, count, GEN_MASK)", "pass", "7.3"),
    Fault("aging.page_table_walk", "s.asked[question, row] += count_bits(which & idle)", "pass"),
    Fault("aging.young_bitmap", "calls += 2 if aged and takes else 1", "calls += 1", "6.9", protocol="v3"),
    Fault("aging.young_bitmap", "        at = last", "        at = at + 32", "6.9", protocol="v3"),
    Fault("aging.young_bitmap", "if walk and not answer & YOUNG:", "if False:", "6.9", protocol="v2"),
    Fault("engine", "return walk and space.kvm, not ends", "return space.kvm, not ends", "6.9", "legacy", protocol="v5"),
    Fault("engine", "and (space.kvm or bool(features & f.SHORTCUT_ENDS_FOR_ALL))", "and space.kvm", "6.9", kit="beside",
          protocol="v7"),
    Fault("aging.look_around", "& which_of(s.folios, block * 64, 64, GEN_MASK)", "", "7.3"),
    Fault("eviction.shrink_folio_list", "word[LISTED] = word[LISTED + 1] = -1", "pass", "7.3"),
    Fault("aging.look_around", "if shift + count > 64 else", "if shift + count > 96 else", "7.3"),
    Fault("aging.look_around", "folios, page, cleared, ad", "folios, page, 0, ad", "6.15", "tdp-noad"),
    Fault("eviction.uniform_batch", "&= 255 - cleared", "&= 255", "6.18"),
    Fault("eviction.isolate", "if to == oldest * 2 + kind:", "if False:", "6.18", kit="nested"),
    Fault("eviction.isolate", "sort_folios(s, moving, kind, oldest)\n                m", "m", "6.18", kit="crowded"),
    Fault("aging.page_table_walk", "s.space[space, S_USED] = 0", "s.space[space, S_USED] = 1"),
    Fault("aging.look_around", "page - BATCH // 2), end", "page - BATCH // 2 + 1), end"),
    Fault("aging.look_around", "young += 1", "young += 0"),
    Fault("aging.generations", "return (meta & ~REFS_FLAGS_OLD) | ACTIVE", "return meta & ~REFS_FLAGS_OLD"),
    Fault("eviction.isolate", "while budget_left and isolated < BATCH", "while budget_left and isolated < BATCH + 1"),
    Fault("eviction.reclaim", "share = evictable_pages(word) >> word[PRIORITY]", "share = (evictable_pages(word) >> word[PRIORITY]) + 1"),
    Fault("eviction.reclaim", "if not done or should_abort(word, goal, seq) or", "if not done or", "7.3"),
    Fault("eviction.reclaim", "word[SWAPPINESS] = 1\n", "word[SWAPPINESS] = 0\n"),
    Fault("access.folio_batches", "if waiting >= word[ADD_BATCH]", "if waiting >= word[ADD_BATCH] - 1"),
    Fault("access.mm_fault", "return mark_accessed(s, page, meta)  # FOLL_TOUCH", "return meta"),
    Fault("access.mm_fault", "return meta | at.REFS_MASK | at.WORKINGSET", "return meta | at.WORKINGSET"),
    Fault("access.kvm_fault", "PTE_PREFETCH_NUM = 8", "PTE_PREFETCH_NUM = 4", "6.18", "legacy"),
    Fault("access.kvm_fault", "marks = i64(at.REFERENCED)  # get", "marks = i64(0)  # get", "6.12", "legacy"),
    Fault("access.kvm_fault", "meta = finish_fault(s, folio, meta)\n    if", "pass\n    if"),
    Fault("eviction.reclaim", "order_base_2(inactive + 1) - 1", "order_base_2(inactive + 1)", "6.9", kit="crowded"),
    Fault("eviction.reclaim", "DEF_PRIORITY // 2 if", "0 if", "6.12", kit="crowded"),
    Fault("eviction.reclaim", "or goal < BATCH:", "or goal < BATCH // 3:", "6.9", kit="crowded"),
    Fault("eviction.reclaim", "free > word[HIGH] + BATCH)", "free > word[HIGH])", "6.12", kit="crowded"),
    Fault("eviction.reclaim", "word[RECLAIMED] - word[LAST_RECLAIMED] >= goal", "word[RECLAIMED] >= goal", kit="decisions"),
    Fault("eviction.reclaim", "free < word[HIGH if kswapd else LOW]", "free < word[HIGH]", kit="decisions"),
    Fault("eviction.reclaim", "word[RECLAIMED] += BATCH\n", "pass\n", kit="decisions"),
    Fault("eviction.reclaim", "word[AGE_NODE] = 1\n", "pass\n", "6.1", kit="crowded"),
    Fault("eviction.reclaim", "word[AGE_NODE] = 0\n                break", "break", "6.1", kit="crowded"),
    Fault("eviction.reclaim", "if word[AGE_NODE] and should_run_aging", "if should_run_aging", "6.1", kit="crowded"),
    Fault("access.kvm_fault", "<= word[at.LOW])", "< word[at.LOW])", "6.18", kit="crowded"),
    Fault("eviction.shrink_folio_list", "if is_queued(word, folio):", "if False and is_queued(word, folio):", "6.1", "process", kit="scattered"),
    Fault("aging.tiers", "return order_base_2(refs + 1)", "return order_base_2(refs)", kit="nested"),
    Fault("aging.tiers", "bool(refs + workingset == 5)", "bool(refs + workingset == 6)", "6.18", kit="nested"),
    Fault("aging.generations", "if refs + workingset != 5:", "if refs + workingset != 6:", "6.18", kit="nested"),
    Fault("access.kvm_fault", "tdp & (at.W_TDP | at.LOST_W_TDP) == at.W_TDP", "tdp & at.W_TDP", "6.1", "tdp-noad"),
    Fault("access.kvm_fault", "(at.W_SHADOW | at.LOST_W_SHADOW) == at.W_SHADOW", "at.W_SHADOW", "6.1", "legacy-noad"),
    Fault("aging.page_table_walk", "if not word[SWAPPINESS]:", "if False:", kit="swappiness"),
    Fault("aging.generations", "kind == ANON and swappiness == 0", "kind == ANON and swappiness < 0", "6.18", kit="swappiness"),
    Fault("aging.page_table_walk", "meta |= TRACKED_TDP | LOST_W_TDP", "meta |= TRACKED_TDP", "6.18", "tdp-noad"),
    Fault("aging.tiers", "& 1) * (PTES - 1)", "& 1) * (PTES - 2)", "6.18", "tdp-huge"),
    Fault("access.folio_batches", "or meta & HUGE", "", "6.18", "tdp-huge"),
    Fault("aging.page_table_walk", "keep = 255 - drop", "keep = 255 - (drop & A_TDP)", "6.12", "tdp-huge"),
    Fault("aging.page_table_walk", "if not everyone and not accessed", "if not accessed", "6.18", "tdp-huge"),
    Fault("aging.look_around", "i64(ASK_HUGE_TARGET)", "i64(3)", "6.1", "tdp-huge"),
    Fault("eviction.isolate", "word[NR_PAGES + number] -= isolated", "pass"),
    Fault("eviction.isolate", "| WORKINGSET | REFS_MASK | HUGE  #", "| HUGE  #", "6.1"),
    Fault("aging.generations", "SWAPCACHE | WORKINGSET | REFERENCED | HUGE  #", "SWAPCACHE | HUGE  #", "6.18"),
    Fault("aging.generations", "+= (i - since) * nr_pages(alike)", "+= nr_pages(alike)"),
    Fault("classic_lru.reclaim", "word[NR_ACTIVE if active else NR_INACTIVE] -= taken", "pass", policy="two-list"),
    Fault("eviction.isolate", "isolated += pages", "isolated += 1", "7.3", "tdp-huge"),
    Fault("eviction.shrink_folio_list", "for each in range(folio, folio + pages):", "for each in range(folio, folio + 1):", "6.18", "process-huge"),
    Fault("access.mm_fault", "if room and word[at.FEATURES] & f.COPIES_HUGE_ZERO:", "if room:", "6.12", "process-huge"),
    Fault("access.mm_fault", "- at.PTES >= word[at.MINIMUM]", ">= word[at.MINIMUM]", "6.18", "tdp-huge"),
    Fault("access.kvm_fault", "(at.GD_SHADOW if write else 0)) >> shift", "(at.GD_SHADOW if write else 0))", "6.18", "shadow", kit="nested"),
    Fault("access.kvm_fault", "meta & (at.GA_SHADOW >> shift):", "meta & at.GA_SHADOW:", "6.18", "shadow", kit="nested"),
    Fault("access.kvm_fault", "direct or meta & (at.GD_SHADOW >> shift):", "direct or meta & at.GD_SHADOW:", "6.12", "shadow", kit="both"),
    Fault("access.kvm_fault", "meta & (at.GD_SHADOW >> shift)) else", "meta & at.GD_SHADOW) else", "6.12", "shadow", kit="nested"),
    Fault("access.kvm_fault", "& ~spte\n", "& ~(spte | at.GUEST_BITS)\n", "6.18", "shadow", kit="nested"),
    Fault("access.kvm_fault", "if not kept & at.GUEST_BITS:", "if True:", "6.18", "shadow", kit="nested"),
    Fault("access.kvm_fault", "if not kept & at.GUEST_BITS:", "if False:", "6.18", "legacy", kit="nested"),
    Fault("access.kvm_fault", "set_written(s, i64(near), space)", "pass", "6.12", "shadow", kit="both"),
    Fault("access.kvm_fault", "own if small & at.A_TDP else first", "first", "6.12", "shadow-huge", kit="both"),
    Fault("access.kvm_fault", "own if small & at.A_SHADOW else first", "first", "6.12", "tdp-huge", kit="both"),
    Fault("aging.page_table_walk", "range(2):  # the shadow", "range(1):  # the shadow", "6.12", "shadow-noad-huge", kit="both"),
    Fault("engine", "at.A_TDP | (at.A_SHADOW if space.shadow else 0)", "at.A_TDP", "6.18", "shadow-huge"),
    Fault("aging.page_table_walk", "drop |= P_SHADOW >> shift | WRITTEN", "drop |= WRITTEN", "6.18", "tdp-noad-huge"),
    Fault("access.kvm_fault", "direct, i64(1 if kind & at.P_TDP else 0))", "direct, i64(0))", "6.18", "legacy-huge"),
    Fault("access.kvm_fault", "if small or not is_huge(s.pmd, page):", "if True:", "6.18", "legacy-huge"),
    Fault("classic_lru.lists", "> word[NR_ACTIVE])", "> word[NR_ACTIVE] + word[NR_INACTIVE])", policy="two-list"),
    Fault("classic_lru.lists", "word[T_COST] //= 2", "word[T_COST] //= 4", policy="two-list"),
    Fault("eviction.reclaim", "word[LAST_RECLAIMED] = word[RECLAIMED]\n", "pass\n", "6.1", kit="partly"),
    Fault("aging.page_table_walk", "pmd - s.space[space, S_FIRST] // PTES) % PTES", "pmd) % PTES", kit="anywhere"),
    Fault("aging.page_table_walk", "    return bool(tables)", "    return True", kit="anywhere"),
    Fault("aging.page_table_walk", "s.counts[c.NONLEAF_FOUND] += 1", "pass"),
    Fault("access.mm_fault", "meta & ~at.SWAPCACHE) | at.DIRTY", "meta & ~at.SWAPCACHE)", "7.3"),
    Fault("aging.generations", "return False  # the budget", "pass  # the budget", kit="scaled"),
    Fault("eviction.isolate", "if isolated or scanned:", "if isolated and scanned:", kit="scaled"),
    Fault("access.memoised_fault", "RECENT | (shadow & 7) << SHADOW_SHIFT", "RECENT", kit="tiers"),
    Fault("access.kvm_fault", "at.M_YOUNG] = 1  # the CPU", "at.M_YOUNG] |= 0  # the CPU", "6.9", "process", kit="beyond"),
    Fault("access.memoised_fault", "writes = write // (at.WRITTEN // WRITES)", "writes = i64(0)", "6.1"),
    Fault("access.memoised_fault", "word[at.Q_ADD], word[at.ADD_BATCH] - 1", "word[at.Q_ADD], word[at.ADD_BATCH]"),
    Fault("access.memoised_fault", "- word[at.HELD] - word[at.LOW]", "- word[at.HELD] - word[at.MINIMUM]", kit="crowded"),
    Fault("access.memoised_fault", "+ (flags >> TIER_SHIFT & 3)", "+ 0", "6.18"),
    Fault("access.memoised_fault", "at.N_GENS + 1, i64(2", "at.N_GENS, i64(2", "6.18"),
    Fault("access.memoised_fault", "(word[at.T_AGE] - clock)", "0", policy="two-list"),
    Fault("access.memoised_fault", "(word[at.Q_ACTIVATE] - activated)", "0", policy="two-list"),
    Fault("access.memoised_fault", "flags &= ~at.GEN_MASK", "pass"),
    Fault("access.memoised_fault", "folios[page, META] = enters", "folios[page, META] = enters & ~at.ACTIVE", "6.18"),
    Fault("access.memoised_fault", "meta &= at.GUEST_BITS", "meta = i64(0)", "6.1", kit="tiers"),
    Fault("access.memoised_fault", "at.M_STATE] == at.TABLE and", "at.M_STATE] >= 0 and", kit="anywhere"),
    Fault("access.kvm_fault", "if which >= 0 and s.space[space, at.S_INVALIDATED] == seq:", "if which >= 0:"),
    Fault("access.memoised_fault", "s.intervals[bit_length(now - s.evicted_at[page])] += 1", "pass"),
    Fault("access.memoised_fault", "s.by_region[region, c.BY_REFAULTS] += 1", "pass"),
    Fault("access.memoised_fault", "return writes | BACK if is_far", "return writes if is_far", policy="two-list"),
    Fault("eviction.uniform_batch", "s.evicted_at[page] = now", "pass"),
    Fault("eviction.uniform_batch", "now - s.used_at[page] < s.word[HOT_AFTER]", "now - s.used_at[page] <= s.word[HOT_AFTER]"),
    Fault("eviction.uniform_batch", "    if bits & USED_NOW:\n        s.used_at[folio] = now", "    if False:\n        pass"),
    Fault("access.mm_fault", "s.by_region[region, c.BY_REFAULTS] += 1", "pass"),
    Fault("access.mm_fault", "s.intervals[bit_length(away)] += 1", "pass"),
    Fault("access.batch", "s.used_at[page] = now\n        s.pte_bits", "s.pte_bits"),
    Fault("access.memoised_fault", "if faults == room:", "if faults > room:", kit="crowded"),
    Fault("access.memoised_fault", "s.space[space, at.S_RSS] += faults - since\n            since", "since", kit="mixed"),
    Fault("access.hit_path", "kind & misses - 1", "kind"),
    Fault("access.hit_path", "take_back(s, r, i, stopped + 1, count, missed)", "pass"),
    Fault("access.hit_path", "take_back(s, r, i, stopped + 1, count, missed)", "take_back(s, r, i, stopped, count, 0)"),
    Fault("access.hit_path", "range(count - 1, first - start - 1, -1)", "range(first - start, count)", kit="mixed"),
    Fault("eviction.uniform_batch", "pte_bits[folio] & A_ANY != bits or", "bits < 0 or"),
    Fault("eviction.uniform_batch", "if word[Q_ADD] | word[Q_ACTIVATE]:", "if False:", "6.1", "tdp", kit="scattered"),
    Fault("eviction.uniform_batch", "s.space[space, S_INVALIDATED] += count", "pass"),
    Fault("eviction.uniform_batch", "stays = kept_flags(word, set_refs(word, alike))", "stays = kept_flags(word, alike)", "6.18"),
    Fault("eviction.uniform_batch", "word[LISTED] = word[LISTED + 1] = -1", "pass", "6.18", kit="crowded"),
    Fault("eviction.uniform_batch", "by_tier >> 16 * tier & 0xFFFF", "by_tier & 0xFFFF"),
    Fault("classic_lru.reclaim", "= shadow_rest(clock, meta)", "= 0", policy="two-list"),
    Fault("classic_lru.reclaim", "        clock += 1\n", "        pass\n", policy="two-list"),
    Fault("eviction.uniform_batch", "not first <= folio < end", "False", kit="beside"),
    Fault("classic_lru.reclaim", "10 * gib", "11 * gib", kit="decisions"),
    Fault("classic_lru.reclaim", "2 * cost + 1", "cost + 1", kit="decisions"),
    Fault("classic_lru.reclaim", "if meta & REFERENCED else", "if not meta & REFERENCED else", policy="two-list"),
    Fault("classic_lru.reclaim", "& ~ACTIVE) | WORKINGSET", "& ~ACTIVE)", policy="two-list"),
    Fault("classic_lru.reclaim", "word[T_AGE] += activated", "word[T_AGE] += 0", policy="two-list"),
    Fault("access.folio_batches", "meta |= ACTIVE\n", "pass\n", policy="two-list"),
)  # fmt: skip


class Patched(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one engine module with one line changed, all others as they are."""

    def __init__(self, fault: Fault) -> None:
        self.name = f"agewalk.engine.{fault.module}"
        self.path = Path(next(iter(agewalk.__path__))) / "engine" / f"{fault.module.replace('.', '/')}.py"
        text = self.path.read_text()
        assert text.count(fault.before) >= 1, f"{fault.module}: nothing reads {fault.before!r} any more"
        self.text = text.replace(fault.before, fault.after, 1)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.text, str(self.path), "exec"), module.__dict__)


@contextmanager
def seeded(fault: Fault) -> Iterator[None]:
    """Whoever imports the engine, or a test of it, inside has one with this fault."""
    _forget()
    patched = Patched(fault)
    sys.meta_path.insert(0, patched)
    try:
        yield
    finally:
        sys.meta_path.remove(patched)
        _forget()


def _forget() -> None:
    """Also those that hold on to the engine's classes: two_lists.py."""
    ours = (
        "agewalk.engine",
        "agewalk.study.two",
        "tests.engine.conf",
        "tests.engine.t",
        "tests.engine.d",
        "tests.engine.s",
    )
    for name in [n for n in sys.modules if n.startswith(ours)]:
        del sys.modules[name]


def _stories(kit: Any, fault: Fault, pages: int) -> Iterator[tuple[dict[str, Any], Any]]:
    """Memory sizes and what happens there, the most telling first."""
    if fault.kit == "crowded":
        for n in range(12):
            yield kit.CROWDED[n % 4], kit.pressure_of(n, pages)
    elif fault.kit == "nested":
        for n in range(8):
            yield {"memory": 300}, kit.nested_of(n, pages)
    elif fault.kit == "both":
        both: Any = importlib.import_module("tests.engine.test_nested")
        for n in range(6):
            yield {"memory": 2 * pages}, both.both_of(n, pages)
    elif fault.kit == "swappiness":
        for swappiness in (0, 1):
            yield {"memory": 400, "swappiness": swappiness}, kit.story_of(3)
    elif fault.kit == "tiers":
        for n in range(4):
            yield {"memory": 140}, kit.tiers_of(n, pages)
    elif fault.kit == "mixed":
        for n in range(6):
            yield (
                {"memory": 150, "marks": (2, 8, 30), "spaces": [(pages, "tdp"), (pages, "tdp")]},
                kit.mixed_of(n, pages),
            )
    elif fault.kit == "beyond":
        yield {"memory": 60}, kit.beyond_memory(pages)
    elif fault.kit == "beside":
        yield {"memory": 300, "spaces": [(pages, fault.mmu), (pages, "process")]}, kit.in_turns(pages)
    elif fault.kit == "partly":
        yield {"memory": 620, "marks": (2, 8, 100)}, kit.partly_used(608, 384)
    elif fault.kit == "anywhere":
        for before in (1, 300):
            host = {
                "memory": 600,
                "base": (1 << 31) - before * 4096,
                "spaces": [(pages, fault.mmu), (pages, "process")],
            }
            for used in (range(before), range(before, pages, 3)):
                yield host, kit.some_of(used)
    elif fault.kit == "scattered":
        for n in range(3):
            yield {"memory": 2 * pages}, kit.scattered_of(n, pages)
    elif "huge" in fault.mmu:
        huge: Any = importlib.import_module("tests.engine.test_huge")
        for n in range(6):
            yield {"memory": (1200, 900, 2200)[n % 3]}, huge.huge_story(n, pages, fault.mmu)
    else:
        yield {"memory": 95}, kit.story_of(3)
        for n in range(4):
            yield {"memory": 90 + 60 * n}, kit.chance_of(n, pages)


def _lists_say(fault: Fault) -> str:
    """The same, with MGLRU switched off."""
    kit: Any = importlib.import_module("tests.engine.test_two_list")
    try:
        for memory in (110, 80):
            kit.tell(fault.kernel, [(130, fault.mmu), (70, "process")], memory, kit.story_of(3, process=True))
    except (AssertionError, IndexError) as difference:
        return str(difference) or repr(difference)
    return ""


def _both_say(kit: str) -> str:
    """decisions, scaled or test_lists: whether both readings do alike."""
    try:
        importlib.import_module(f"tests.engine.{kit}").alike()
    except (AssertionError, IndexError) as difference:
        return str(difference).split("\n")[0] or repr(difference)
    return ""


def catches(fault: Fault) -> str:
    """What the kit says about the fault; empty if it sees nothing."""
    with seeded(fault):
        if fault.policy == "two-list":
            return _lists_say(fault)
        if fault.kit in ("decisions", "scaled", "test_lists"):
            return _both_say(fault.kit)
        kit: Any = importlib.import_module("tests.engine.test_conformance")
        protocol = fault.protocol or profile(fault.kernel).protocol
        pages = {"crowded": 900, "partly": 900, "scattered": 1000, "anywhere": 1800, "beyond": 600}.get(
            fault.kit, 1100 if "huge" in fault.mmu else 130
        )
        for memory, story in _stories(kit, fault, pages):
            host = {"kernel": fault.kernel, "protocol": protocol, "spaces": [(pages, fault.mmu)], **memory}
            try:
                kit.tell(host, story)
            except (AssertionError, IndexError) as difference:
                return str(difference) or repr(difference)
    return ""


def report(tried: Iterable[tuple[str, str]]) -> int:
    """A line for each fault and what is said about it, `MISSED` if that is nothing. Exit code: 1 if any was missed."""
    missed = 0
    for fault, said in tried:
        missed += not said
        print(f"{'caught' if said else 'MISSED'}  {fault}  ({said[:60]})", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(report((f"{fault.module}: {fault.before.strip()}", catches(fault)) for fault in FAULTS))
