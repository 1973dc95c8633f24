"""Small texts of the kernel: pressure (PSI), files of cgroups, numbers, KVM's statistics. Each reader raises InputError alone."""

import re
from typing import Final, NamedTuple

from agewalk.core.errors import InputError

_STALL: Final = re.compile(
    r"(some|full) avg10=(\d{1,3}\.\d\d) avg60=(\d{1,3}\.\d\d) avg300=(\d{1,3}\.\d\d) total=(\d{1,20})", re.ASCII
)
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")
_LEVEL: Final = re.compile(r"Level=(\w{1,8}):((?:\s+[0-9]{1,20})*)\s*", re.ASCII)


class Stall(NamedTuple):
    """Shares of time in hundredths of a per cent, over 10, 60 and 300 seconds; total in microseconds."""

    avg10: int = 0
    avg60: int = 0
    avg300: int = 0
    total_us: int = 0


class Pressure(NamedTuple):
    """some: at least one task waited; full: all of them did."""

    some: Stall
    full: Stall


def number(text: str, what: str = "the file") -> int:
    """A file of one decimal number."""
    word = text.strip()
    if not _NUMBER.fullmatch(word):
        raise InputError(f"{what} holds {word[:40]!r}, no number", hint="agewalk host probe")
    return int(word)


def limit(text: str, what: str = "the file") -> int | None:
    """A limit of cgroup v2: bytes, or None for "max"."""
    return None if text.strip() == "max" else number(text, what)


def pressure(text: str) -> Pressure:
    """PSI: psi_show() of kernel/sched/psi.c. /proc/pressure/cpu of old kernels has no line "full": it is all 0."""
    found: dict[str, Stall] = {}
    for line in text.splitlines():
        match = _STALL.fullmatch(line)
        if not match or match[1] in found:
            raise InputError(f"{line[:80]!r} is no line of PSI", hint="is PSI on? Boot with psi=1")
        short, middle, long = (int(match[at].replace(".", "")) for at in (2, 3, 4))
        found[match[1]] = Stall(short, middle, long, int(match[5]))
    if "some" not in found:
        raise InputError("PSI without its line 'some'", hint="the file was cut: read it again")
    return Pressure(found["some"], found.get("full", Stall()))


def keyed(text: str) -> dict[str, int]:
    """Lines "key number", as in memory.stat, memory.events and vmstat. A later line with the same key is refused."""
    found: dict[str, int] = {}
    for at, line in enumerate(text.splitlines(), start=1):
        key, _, value = line.partition(" ")
        if not key or key in found or not _NUMBER.fullmatch(value.strip()):
            raise InputError(f"line {at} is no 'key number': {line[:80]!r}", hint="the file was cut, or is another's")
        found[key] = int(value)
    return found


def cgroup_paths(text: str) -> dict[str, str]:
    """/proc/PID/cgroup: path by controller, "" for cgroup v2. Backslashes are the name's own and stay."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3 or not parts[2].startswith("/"):
            raise InputError(f"{line[:80]!r} is no line of /proc/PID/cgroup", hint="the file was cut: read it again")
        for controller in parts[1].split(","):
            found[controller] = parts[2].removesuffix(" (deleted)")
    return found


def rmaps(text: str) -> dict[str, int]:
    """mmu_rmaps_stat of KVM's debugfs: guest pages with at least one rmap entry, by level. Empty: the VM has no rmaps at all,
    so the TDP MMU alone maps it (kvm_mmu_rmaps_stat_show(), arch/x86/kvm/debugfs.c)."""
    lines = text.splitlines()
    if lines and not lines[0].startswith("Rmap_Count:"):
        raise InputError("mmu_rmaps_stat without its heading", hint="the file was cut: read it again")
    found: dict[str, int] = {}
    for line in lines[1:]:
        match = _LEVEL.fullmatch(line)
        counts = [int(word) for word in match[2].split()] if match else []
        if not match or not counts or match[1] in found:
            raise InputError(f"{line[:80]!r} is no line of mmu_rmaps_stat", hint="the file was cut: read it again")
        found[match[1]] = sum(counts[1:])
    return found
