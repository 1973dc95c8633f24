"""The engine's front door: build a host, feed it accesses, ask for results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agewalk.core.errors import ModelError, UsageError
from agewalk.engine.access.batch import AHEAD, CHUNK, WORD, EncodedAccesses
from agewalk.engine.access.kvm_fault import nested_change, run_batch
from agewalk.engine.compiler import jit
from agewalk.engine.eviction.reclaim import COMMAND, PROACTIVE, reclaim, run_aging
from agewalk.engine.quality import Assessor, Sample, total
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state import layout as at
from agewalk.engine.state import truth_table as pt
from agewalk.engine.state.arrays import State
from agewalk.engine.state.config import TOO_MANY_PAGES, Host, Space, region_shift
from agewalk.model.protocols.tables.table import ProtocolTable

GOLDEN_RATIO_64: Final = 0x61C8864680B583EB  # include/linux/hash.h
DIRECT_MAP: Final = 0xFFFF_8880_0000_0000
MM_STRIDE: Final = 1 << 30
TWO_LIST: Final = "two-list"


@dataclass(frozen=True)
class HostAccesses:
    """Accesses in the order of time; all columns of one length.

    time_ns: int64 or uint64. space: index into Host.spaces. page: 4 KiB pages from the start of that space.
    context: 0 guest, 1 nested guest, 2 host process.
    """

    time_ns: npt.NDArray[Any]
    space: npt.NDArray[np.uint16]
    page: npt.NDArray[np.uint32]
    write: npt.NDArray[np.bool_]
    context: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SpaceResult:
    """What happened to one space."""

    name: str
    resident_pages: int
    faults: int
    refaults: int
    evictions: int
    hot_evictions: int


@dataclass(frozen=True)
class Result:
    """Totals of a run so far. `counts` by name (`agewalk.engine.state.counters.NAMES`); `costs` what the protocol's answers
    cost, by the names of its `Costs`; `quality` sums over all aging passes, None if none was assessed."""

    accesses: int
    faults: int
    refaults: int
    evictions: int
    hot_evictions: int
    max_seq: int
    min_seq: tuple[int, int]
    counts: dict[str, int]
    costs: dict[str, int]
    spaces: list[SpaceResult]
    refault_intervals: list[int]
    quality: Sample | None = field(default=None)


def bloom_keys(mm_number: int, first_pmd: int, pmds: int) -> npt.NDArray[np.int32]:
    """The two bits of each PMD entry in a Bloom filter: hash_ptr() of where the entry would lie, PMD pages of one mm side by
    side and those of different mms far apart."""
    address = np.uint64(DIRECT_MAP + mm_number * MM_STRIDE) + np.arange(
        first_pmd, first_pmd + pmds, dtype=np.uint64
    ) * np.uint64(8)
    with np.errstate(over="ignore"):
        hashed = (address * np.uint64(GOLDEN_RATIO_64)) >> np.uint64(34)
    return np.stack([hashed & np.uint64(32767), hashed >> np.uint64(15)], axis=1).astype(np.int32)


def build(host: Host, answers: npt.NDArray[np.uint8]) -> State:
    """Lay out an empty host. Raises UsageError if it has no space or no memory, or too many pages."""
    if not host.spaces or host.memory_pages < 1:
        raise UsageError(
            "a host needs a space and a page of memory", hint="Host(spaces=[Space(...)], memory_pages=...)"
        )
    if host.policy not in ("mglru", TWO_LIST):
        raise UsageError(f"there is no policy {host.policy!r}", hint=f"mglru or {TWO_LIST}")
    firsts, total = [], 0
    for space in host.spaces:
        lead = (space.hva >> 12) % at.PTES
        firsts.append(total + lead)
        total += -(-(lead + space.pages) // at.PTES) * at.PTES
    if total >= TOO_MANY_PAGES:
        raise UsageError(f"{total:,} pages in all", hint=f"fewer than {TOO_MANY_PAGES:,} (7.9 TiB) make a host")
    word = np.zeros(at.N_WORDS, np.int64)
    word[at.MAX_SEQ] = at.MIN_GENS + 1
    word[at.WALK_SEQ] = at.MIN_GENS
    word[at.FEATURES] = f.encode(host.features) | (f.TWO_LIST if host.policy == TWO_LIST else 0)
    word[at.SWAPPINESS] = host.swappiness
    word[at.N_PAGES] = total
    word[at.FRAMES] = host.memory_pages
    word[at.MINIMUM] = min(host.memory_pages // 256, 4096)
    step = max(int(word[at.MINIMUM]) // 4, host.memory_pages // 1000)  # __setup_per_zone_wmarks()
    word[at.LOW] = word[at.MINIMUM] + step
    word[at.HIGH] = word[at.LOW] + step
    word[at.N_SPACES] = len(host.spaces)
    word[at.HOT_AFTER] = -(-host.hot_after_ns // host.tick_ns)
    word[at.ADD_BATCH] = host.folio_batch_size
    word[at.ACTIVATE_BATCH] = host.folio_batch_size
    word[at.MEMO_FLAGS : at.MEMO_FLAGS + at.N_MEMOS] = -1
    word[at.MAX_HOLES] = min(total // 8, 1 << 24)
    segments = (
        2 + (total + int(word[at.MAX_HOLES])) // at.SEGMENT + 2 * at.N_LISTS
    )  # any list begins and ends within one
    word[at.FRESH] = at.N_LISTS + 1
    word[at.HEADS : at.HEADS + at.N_LISTS] = np.arange(1, at.N_LISTS + 1) * at.SEGMENT
    word[at.TAILS : at.TAILS + at.N_LISTS] = np.arange(1, at.N_LISTS + 1) * at.SEGMENT
    spaces = np.zeros((len(host.spaces), at.S_COLUMNS), np.int64)
    regions = 0
    pmd = np.zeros((total // at.PTES, at.M_COLUMNS), np.int32)
    for number, (space, first) in enumerate(zip(host.spaces, firsts, strict=True)):
        start, end = first // at.PTES, -(-(first + space.pages) // at.PTES)
        spaces[number, at.S_FIRST] = first
        spaces[number, at.S_PAGES] = space.pages
        spaces[number, at.S_NOTIFIERS] = space.kvm
        spaces[number, at.S_USED] = 1
        spaces[number, at.S_NEW] = number == 0
        spaces[number, at.S_AD] = space.ad_bits
        spaces[number, at.S_TDP] = space.tdp
        spaces[number, at.S_HUGE] = space.huge
        spaces[number, at.S_SMALL] = small_of(space)
        spaces[number, at.S_PMD] = space.hva >> 21
        spaces[number, at.S_MODE] = start_mode(space)
        spaces[number, at.S_ASKED], spaces[number, at.S_SHORTCUT] = walks_of(space, host.spaces, int(word[at.FEATURES]))
        spaces[number, at.S_KINDS : at.S_KINDS + 4] = kinds_of(space)
        spaces[number, at.S_REGION] = regions
        spaces[number, at.S_REGION_SHIFT] = shift = region_shift(space.pages, host.regions)
        regions += (space.pages + (1 << shift) - 1) >> shift
        pmd[start:end, at.M_SPACE] = number
        pmd[start:end, at.M_KEY0 : at.M_KEY1 + 1] = bloom_keys(number, space.hva >> 21, end - start)
    asked = np.zeros(answers.shape, np.int64)
    return State(
        pte_bits=np.zeros(total + at.SPARE, np.uint8)[: -at.SPARE],
        folios=np.zeros((total + at.SPARE, 2), np.int32)[: -at.SPARE],
        used_at=np.zeros(total, np.int32),
        evicted_at=np.zeros(total, np.int32),
        shadow_rest=np.zeros(total if host.policy == TWO_LIST else 1, np.uint16),
        queue=np.zeros(segments * at.SEGMENT + at.SPARE, np.int32),
        after=np.zeros(segments, np.int32),
        word=word,
        space=spaces,
        pmd=pmd,
        ask=answers,
        asked=asked,
        bloom=np.zeros((2, 1 << 15), np.uint8),
        counts=np.zeros(len(c.NAMES), np.int64),
        by_region=np.zeros((regions, c.N_BY_REGION), np.int64),
        listed=np.zeros(2, np.uint64),
        intervals=np.zeros(64, np.int64),
    )


def start_mode(space: Space) -> int:
    """Which MMUs a space starts with: a row of the truth table."""
    if not space.kvm:
        return 0
    return pt.M_NOTIFIERS | pt.M_SUBSCRIBED | space.ad_bits * pt.M_AD | space.tdp * pt.M_TDP


def walks_of(space: Space, spaces: Sequence[Space], features: int) -> tuple[bool, bool]:
    """(S_ASKED, S_SHORTCUT) of a space. What a KVM says of itself is so for all processes of its host."""
    vms = [each for each in ([space] if space.kvm else spaces) if each.kvm]
    likely_fast = not vms or any(vm.tdp and vm.ad_bits for vm in vms)
    walk = bool(features & f.WALK_NOTIFIES and (likely_fast or not features & f.WALK_IF_LIKELY_FAST))
    ends = walk and not features & f.SHORTCUT_NEVER_ENDS and (space.kvm or bool(features & f.SHORTCUT_ENDS_FOR_ALL))
    return walk and space.kvm, not ends


def kinds_of(space: Space) -> tuple[int, int, int, int]:
    """Bits of `pte_bits` that an access needs and sets, by context. The last is for any other context: the guest's."""
    if not space.kvm:
        return (at.P_PRIMARY | at.A_PRIMARY | at.A_TDP | at.USED_NOW,) * 4
    fast, slow = at.P_TDP | at.A_TDP | at.USED_NOW, at.P_SHADOW | at.A_SHADOW | at.USED_NOW
    guest, nested = (fast, slow) if space.tdp else (slow, fast)
    return guest, nested, at.P_PRIMARY | at.A_PRIMARY | at.USED_NOW, guest


def small_of(space: Space) -> int:
    """Which of a VM's SPTEs shadow tables that a guest built: its nested guest's do, and its own under shadow paging."""
    if not space.kvm:
        return 0
    return at.A_SHADOW if space.tdp else at.A_TDP | (at.A_SHADOW if space.shadow else 0)


class Engine:
    """A host that is being simulated, under a protocol as its truth table. assess: compare aging with the truth."""

    def __init__(self, host: Host, protocol: ProtocolTable, *, assess: bool = True) -> None:
        self.host = replace(host, features={**host.features, **dict(protocol.features)})
        host = self.host
        if not protocol.huge and any(space.huge for space in host.spaces):
            raise UsageError(
                f"the table of {protocol.name} does not say what it answers about 2 MiB entries",
                hint="make it anew: agewalk.model.protocols.tables.enumerate.protocol_table()",
            )
        ask, self._costs = pt.encode(protocol)
        if host.features.get("asks_by_bitmap"):  # calls are counted as they are made, not by the page
            self._costs[[at.ASK_WALK, at.ASK_NEIGHBOUR]] = 0
        self.state = build(host, ask)
        self.samples: list[Sample] = []
        self._assess = Assessor(host, self.state) if assess else None
        self._now_ns = 0
        self._next_age = None if host.policy == TWO_LIST else host.age_every_ns or None
        self._chunk = tuple(
            np.zeros(n, kind) for n, kind in ((CHUNK + AHEAD, np.uint32), (CHUNK, np.uint8), (WORD, np.uint8))
        )
        self._run = run_batch
        if host.policy == TWO_LIST:  # its code is compiled, or loaded, only now
            from agewalk.engine.classic_lru.reclaim import run_batch_two_list

            self._run = run_batch_two_list

    def feed(self, batch: HostAccesses) -> None:
        """Take the next accesses. Agings that fall due before an access come before it.

        Raises UsageError for a batch that begins before the last one ended or ends past 2^31 - 1 ticks, of which nothing is taken
        then; and for a row that the host cannot take, by its index: rows before it are taken, that one and the rest are not, and
        the host goes on from there with the next batch. Raises ModelError if it ran out of memory meanwhile, where a kernel would
        kill a process.
        """
        n = len(batch.page)
        if not n:
            return
        accesses = EncodedAccesses(
            np.ascontiguousarray(batch.time_ns, np.int64),
            np.ascontiguousarray(batch.space, np.uint16),
            np.ascontiguousarray(batch.page, np.uint32),
            np.ascontiguousarray(batch.write, np.bool_).view(np.uint8),
            np.ascontiguousarray(batch.context, np.uint8),
            *self._chunk,
        )
        if int(accesses.time_ns[0]) < self._now_ns:
            raise UsageError("accesses run back in time", hint="feed batches in order, and sort each by time_ns")
        self._in_reach(int(accesses.time_ns[-1]))
        done = 0
        while done < n:
            self.advance(int(accesses.time_ns[done]))
            end = n if self._next_age is None else done + int(np.searchsorted(accesses.time_ns[done:], self._next_age))
            stopped = int(self._run(self.state, accesses, done, end, self.host.tick_ns))
            if stopped > done:
                self._now_ns = int(accesses.time_ns[stopped - 1])
            if self.state.word[at.EXHAUSTED]:
                raise ModelError(
                    f"out of memory: {self.host.memory_pages} frames, none can be reclaimed",
                    hint="give the host more memory",
                )
            if stopped < end:
                raise self._refusal(batch, stopped)
            done = end

    def _in_reach(self, time_ns: int) -> None:
        """Ticks of last uses and of evictions are words of 32 bits."""
        if time_ns // self.host.tick_ns >= 1 << 31:
            raise UsageError(
                f"time_ns {time_ns} is past 2^31 - 1 ticks of {self.host.tick_ns} ns",
                hint="count time from the first access, or make tick_ns longer",
            )

    def _refusal(self, batch: HostAccesses, row: int) -> UsageError:
        """Why the host cannot take a row."""
        return UsageError(
            f"row {row}: page {batch.page[row]} of space {batch.space[row]} does not exist",
            hint="space must index Host.spaces, page must be below its size",
        )

    def advance(self, time_ns: int) -> None:
        """Let time pass, with the proactive agings that fall due up to and including `time_ns`.

        Raises UsageError past 2^31 - 1 ticks.
        """
        self._in_reach(time_ns)
        while self._next_age is not None and self._next_age <= time_ns:
            self._set_now(self._next_age)
            self.age()
            self._next_age += self.host.age_every_ns
        self._set_now(time_ns)

    def _set_now(self, time_ns: int) -> None:
        self._now_ns = time_ns
        self.state.word[at.NOW] = time_ns // self.host.tick_ns

    def age(self, *, force_scan: bool = True) -> bool:
        """The '+' command: walk all page tables, open a new generation. False if the kernel refuses (ERANGE)."""
        self._needs_generations()
        done = bool(run_aging(self.state, int(force_scan)))
        if self._assess:
            self.samples.append(self._assess(self.state, self._now_ns))
        return done

    def reclaim(self, pages: int) -> int:
        """memory.reclaim of that many pages; returns how many went."""
        self._needs_generations()
        return int(reclaim(self.state, PROACTIVE, pages, 0))

    def evict(self, seq: int, pages: int) -> int:
        """The '-' command: evict generations up to `seq`; returns pages taken, -1 if refused (EINVAL)."""
        self._needs_generations()
        return int(reclaim(self.state, COMMAND, seq, pages))

    def _needs_generations(self) -> None:
        if self.host.policy == TWO_LIST:
            raise UsageError(
                "the classic lists take no commands here: they age and reclaim under pressure alone",
                hint="feed accesses to a host with less memory than they touch",
            )

    def nested(self, space: int, *, alive: bool) -> None:
        """The nested guest of a VM starts (alive) or ends: its shadow pages are zapped, the rmaps stay."""
        nested_change(self.state, space, int(alive))

    def by_space(self) -> npt.NDArray[np.int64]:
        """Columns of `by_region` (`agewalk.engine.state.counters`), summed up for each space."""
        sums: npt.NDArray[np.int64] = np.add.reduceat(self.state.by_region, self.state.space[:, at.S_REGION])
        return sums

    def costs(self) -> dict[str, int]:
        """What the protocol's answers have cost so far, by name."""
        sums = np.einsum("qr,qrn->n", self.state.asked, self._costs)
        costs = {name: int(n) for name, n in zip(pt.COSTS, sums, strict=True)}
        calls, age_gfn, walks = (int(n) for n in self.state.counts[c.BITMAP_CALLS : c.BITMAP_TDP_WALKS + 1])
        for name, n in (
            ("notifier_calls", calls),
            ("indirect_calls", calls),
            ("age_gfn", age_gfn),
            ("tdp_walks", walks),
        ):
            costs[name] += n
        return costs

    def result(self) -> Result:
        """Totals so far."""
        s = self.state
        counts = {name: int(n) for name, n in zip(c.NAMES, s.counts, strict=True)}
        counts |= {f"{ask}_questions": int(n) for ask, n in zip(pt.ASKS, s.asked.sum(axis=1), strict=True)}
        by_space = self.by_space()
        faults, refaults, _, hot_evictions = (int(n) for n in by_space[:, :4].sum(axis=0))
        counts |= {"faults": faults, "refaults": refaults, "hot_evictions": hot_evictions}
        spaces = [
            SpaceResult(space.name, int(s.space[i, at.S_RSS]), *(int(n) for n in by_space[i, :4]))
            for i, space in enumerate(self.host.spaces)
        ]
        return Result(
            accesses=counts["accesses"],
            faults=faults,
            refaults=refaults,
            evictions=counts["evictions"],
            hot_evictions=hot_evictions,
            max_seq=int(s.word[at.MAX_SEQ]),
            min_seq=(int(s.word[at.MIN_SEQ]), int(s.word[at.MIN_SEQ + 1])),
            counts=counts,
            costs=self.costs(),
            spaces=spaces,
            refault_intervals=[int(n) for n in s.intervals],
            quality=total(self.samples),
        )


def compile_once(say: Callable[[str], None] | None = None) -> None:
    """Compile what a run under MGLRU needs, once per change of the engine's sources; `say` is told when that takes a while.

    The rest is compiled at its first use, in a few seconds: the classic lists, `Engine.reclaim` and `Engine.evict`.
    """
    if jit.is_warm():
        return
    if say is not None:
        say("compiling the engine for this machine, once: about half a minute")
    host = Host([Space("vm", 2048), Space("process", 600, kvm=False)], 1024, {}, age_every_ns=10)
    engine = Engine(host, ProtocolTable("none", (), ()))
    rows = np.arange(2048)
    engine.feed(
        HostAccesses(rows, np.zeros(2048, np.uint16), rows.astype(np.uint32), rows % 2 == 0, np.zeros(2048, np.uint8))
    )
    engine.nested(0, alive=True)
    engine.nested(0, alive=False)
    engine.result()
    jit.mark_warm()
