"""/sys/kernel/debug/lru_gen and lru_gen_full, byte for byte: what they print, and the commands that lru_gen takes.

mm/vmscan.c: lru_gen_seq_show(), lru_gen_seq_show_full(), lru_gen_seq_write(), run_cmd().
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agewalk.core.effects import Load, Step
from agewalk.core.units import Ns
from agewalk.model.mglru.aging.generations import (
    EINVAL,
    MAX_NR_GENS,
    MAX_NR_TIERS,
    MAX_SWAPPINESS,
    SWAPPINESS_ANON_ONLY,
    TYPES,
    lru_gen_from_seq,
)
from agewalk.model.mglru.aging.tiers import protected_slot
from agewalk.model.mglru.commands import run_aging, run_eviction
from agewalk.model.mglru.eviction.scan_control import ReclaimOps, ScanControl, get_swappiness
from agewalk.model.mglru.features import MglruFeatures
from agewalk.model.mglru.state import LEAF_OLD, NONLEAF_TOTAL, NR_MM_STATS, LruGen, load_min_seq

_NS_PER_MS: Final = 1_000_000
JIFFY: Final = Ns(4_000_000)  # CONFIG_HZ=250
_ULONG: Final = 1 << 64


@dataclass(frozen=True)
class Command:
    """One command: '+' ages, '-' evicts (run_cmd()). None where a field was left out.

    swappiness: can_swap of '+' up to 6.14. option: force_scan of '+', nr_to_reclaim of '-'.
    """

    verb: str
    memcg: int
    node: int
    seq: int
    swappiness: int | None = None
    option: int | None = None

    @property
    def force_scan(self) -> bool:
        """Of '+': everything but 0 forces, and so does leaving it out."""
        return self.option != 0

    @property
    def nr_to_reclaim(self) -> int:
        """Of '-': no limit if left out."""
        return _ULONG - 1 if self.option is None else self.option

    def text(self) -> str:
        """As written to lru_gen."""
        fields = [self.verb, self.memcg, self.node, self.seq, self.swappiness, self.option]
        return " ".join(str(f) for f in fields if f is not None)


def header(features: MglruFeatures, memcg: int, path: str, node: int = 0) -> str:
    """The first two lines of a lruvec, the memcg's on the first node only."""
    name = f"memcg {memcg} {path}\n" if features.memcg_id_wide else f"memcg {memcg:5d} {path}\n"
    return (name if not node else "") + f" node {node:5d}\n"


def show(lruvec: LruGen, *, memcg: int, path: str, now: Ns, full: bool, jiffy: Ns = JIFFY) -> Step[str]:
    """lru_gen_seq_show(): one memcg's text. Ages are whole jiffies (CONFIG_HZ = 250 in Debian), in milliseconds."""
    features = lruvec.features
    max_seq: int = yield Load(lruvec.max_seq)
    min_seq = yield from load_min_seq(lruvec)
    if full:
        first = max(0, max_seq - MAX_NR_GENS + 1)
    else:
        first = min(min_seq) if features.by_evictable_type else min_seq[0]
    text = [header(features, memcg, path)]
    for seq in range(first, max_seq + 1):
        gen = lru_gen_from_seq(seq)
        birth: int = yield Load(lruvec.timestamps[gen])
        age = (now // jiffy - birth // jiffy) * jiffy // _NS_PER_MS
        text.append(f" {seq:10d} {age:10d}")
        for type_ in TYPES:
            size = max((yield Load(lruvec.nr_pages[gen][type_])), 0)
            text.append(f" {size:10d}{'x' if full and seq < min_seq[type_] else ' '}")
        text.append("\n")
        if full:
            text.append((yield from _show_full(lruvec, max_seq, min_seq, seq)))
    return "".join(text)


def _show_full(lruvec: LruGen, max_seq: int, min_seq: tuple[int, int], seq: int) -> Step[str]:
    """lru_gen_seq_show_full(): refaults by tier, and what the walks saw."""
    features = lruvec.features
    blank = "   " if features.blank_empty_stats else "xxx"
    rework = features.workingset_protection
    text: list[str] = []
    for tier in range(MAX_NR_TIERS):
        text.append(f"            {tier:10d}")
        for type_ in TYPES:
            marks, numbers = blank, [0, 0, 0]
            if seq == max_seq:
                marks = "RT" + blank[0]
                numbers[0] = yield Load(lruvec.avg_refaulted[type_][tier])
                numbers[1] = yield Load(lruvec.avg_total[type_][tier])
            elif seq == min_seq[type_]:
                marks = "rep"
                numbers[0] = yield Load(lruvec.refaulted[type_][tier])
                numbers[1] = yield Load(lruvec.evicted[type_][tier])
                slot = protected_slot(tier, workingset_protection=rework)
                if slot is not None:
                    numbers[2] = yield Load(lruvec.protected[type_][slot])
            text += [f" {n:10d}{mark}" for n, mark in zip(numbers, marks, strict=True)]
        text.append("\n")
    kept = [i for i in range(NR_MM_STATS) if features.six_mm_stats or i not in {LEAF_OLD, NONLEAF_TOTAL}]
    letters = "LOYNFA" if features.six_mm_stats else "TxYxFA"
    text.append("                      ")
    for i in kept:
        if seq == max_seq:
            text.append(f" {(yield Load(lruvec.mm_stats[i])):10d}{letters[i]}")
        else:
            text.append(f" {0:10d}{' ' if features.blank_empty_stats else 'x'}")
    text.append("\n")
    return "".join(text)


# --- commands -------------------------------------------------------------------------------------------------------

# " %c %u %u %lu %n %u %n %lu %n" up to 6.14; then the fifth field is a string of at most four characters
_NUMBERS: Final = re.compile(r"\s*(\S)\s*(\d+)\s+(\d+)\s+(\d+)(?:\s+(\d+)(?:\s+(\d+))?)?\s*")
_STRING: Final = re.compile(r"\s*(\S)\s*(\d+)\s+(\d+)\s+(\d+)\s*(?:(\S{1,4})(?:\s*(\d+))?)?\s*")


def _kstrtouint(text: str) -> int | None:
    """kstrtouint() with base 0: decimal, 0x or octal behind a 0."""
    digits = text[2:] if text[:2].lower() == "0x" else text
    base = 16 if digits is not text else 8 if text[0] == "0" else 10
    try:
        number = int(digits, base)
    except ValueError:
        return None
    return number if digits.isalnum() and number < 1 << 32 else None


def parse_command(text: str, features: MglruFeatures) -> Command | int:
    """One command as sscanf() of lru_gen_seq_write() reads it; -EINVAL if fewer than four fields, or anything behind them."""
    match = (_STRING if features.anon_only_swappiness else _NUMBERS).fullmatch(text)
    if match is None or match[1] not in {"+", "-"}:
        return EINVAL
    swappiness: int | None = None
    if match[5] is not None:
        max_word = features.anon_only_swappiness and match[5] == "max"
        swappiness = SWAPPINESS_ANON_ONLY if max_word else _kstrtouint(match[5])
        if not features.anon_only_swappiness:
            swappiness = int(match[5])
        if swappiness is None or swappiness > (
            SWAPPINESS_ANON_ONLY if features.anon_only_swappiness else MAX_SWAPPINESS
        ):
            return EINVAL
    option = None if match[6] is None else int(match[6])
    return Command(match[1], int(match[2]), int(match[3]), int(match[4]), swappiness, option)


def parse_commands(text: str, features: MglruFeatures) -> list[Command | int]:
    """All commands of a write, separated by ',', ';' or newline; the list ends behind the first error."""
    commands: list[Command | int] = []
    for part in re.split(r"[,;\n]", text):
        if not part.strip():
            continue
        commands.append(parse_command(part, features))
        if isinstance(commands[-1], int):
            break
    return commands


def enabled_show(*, core: bool = True, mm_walk: bool = True, nonleaf_young: bool = True) -> str:
    """/sys/kernel/mm/lru_gen/enabled (enabled_show()): the capabilities that the hardware backs."""
    return f"0x{core | mm_walk << 1 | nonleaf_young << 2:04x}\n"


def enabled_store(text: str) -> int:
    """What a write to `enabled` asks for (enabled_store()): a mask of capabilities, or -EINVAL."""
    if text[:1].lower() == "n":
        return 0
    if text[:1].lower() == "y":
        return 0x7
    try:
        return int(text.strip(), 0) & 0x7
    except ValueError:
        return EINVAL


def lru_gen_seq_write(
    lruvec: LruGen, ops: ReclaimOps, text: str, *, memcg: int = 1, default_swappiness: int = 60
) -> Step[int]:
    """A write to lru_gen: its commands one after the other; 0, or the errno of the first that fails. `memcg` is the number of
    this lruvec's memcg; there is node 0 alone."""
    for command in parse_commands(text, lruvec.features):
        if isinstance(command, int):
            return command
        if command.memcg != memcg or command.node:
            return EINVAL
        error = yield from run_cmd(lruvec, ops, command, default_swappiness)
        if error:
            return error
    return 0


def run_cmd(lruvec: LruGen, ops: ReclaimOps, command: Command, default_swappiness: int) -> Step[int]:
    """run_cmd()."""
    if command.verb == "+":
        swappiness = command.swappiness
        if swappiness is None:
            swappiness = yield from get_swappiness(ScanControl(ops, swappiness=default_swappiness))
        return (yield from run_aging(lruvec, command.seq, swappiness, force_scan=command.force_scan))
    error, _ = yield from run_eviction(
        lruvec,
        ops,
        command.seq,
        command.swappiness,
        command.nr_to_reclaim,
        default_swappiness=default_swappiness,
    )
    return error
