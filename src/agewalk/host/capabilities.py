"""Capabilities of a host. They are found by the presence of files and answers, never by the version."""

import fcntl
import os
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from agewalk.core.errors import AgewalkError
from agewalk.host.lru_gen import lru_gen
from agewalk.host.tree import Host

ENABLED: Final = "/sys/kernel/mm/lru_gen/enabled"
FULL: Final = "/sys/kernel/debug/lru_gen_full"
#: /dev/userfaultfd, UFFDIO_API and PAGEMAP_SCAN: include/uapi/linux/userfaultfd.h and fs.h, x86 and arm64.
_NEW, _API, _SCAN = 0xAA00, 0xC018AA3F, 0xC0606610
_RWP, _RWP_ASYNC = 1 << 17, 1 << 18
_ENOTTY: Final = 25


class Piece(NamedTuple):
    """One interface. present: None where this user, or a recorded tree, cannot tell. lost: what is not possible without it.
    enable: a command, or "" where nothing can be done."""

    name: str
    present: bool | None
    detail: str
    lost: str
    enable: str


def pieces(host: Host) -> list[Piece]:
    """Every interface that agewalk knows, in the order in which one would enable them."""
    bits = _enabled(host)
    debugfs = bool(host.exists("/sys/kernel/debug/lru_gen")) or (None if not _may_enter(host) else False)
    statistics = _word(host, "/sys/module/damon_stat/parameters/enabled")
    reclaim = _reclaim(host)
    swaps = _word(host, "/proc/swaps").splitlines()[1:]
    features = _userfaultfd(host)
    return [
        Piece("MGLRU", bits is not None and bool(bits & 1), f"enabled {bits:#06x}" if bits is not None else "not built in",
              "no generations: nothing tells cold memory from warm", f"echo y > {ENABLED}" if bits is not None else ""),
        Piece("MGLRU page-table walks", bits is not None and bool(bits & 2), "bit 0x2",
              "aging looks at pages only when they are evicted", f"echo 7 > {ENABLED}" if bits is not None else ""),
        Piece("debugfs lru_gen", debugfs, "generations of each cgroup, and aging",
              "no working sets, no cold memory", "mount -t debugfs none /sys/kernel/debug"),
        Piece("DAMON", host.exists("/sys/kernel/mm/damon/admin"), "regions with access rates", "no capture by DAMON", ""),
        Piece("DAMON_STAT", statistics == "Y", "it clears accessed bits that MGLRU wants: DISTURBS" if statistics == "Y"
              else "off, as it should be", "nothing is lost: it would clear accessed bits that MGLRU wants", ""),
        Piece("page_idle", host.exists("/sys/kernel/mm/page_idle/bitmap"), "idle bit of each page frame",
              "no idle tracking by page frame; most distributions leave it out", ""),
        Piece("PAGEMAP_SCAN", _scan(host), "written pages of a process", "no exact capture of written pages", ""),
        Piece("userfaultfd RWP", None if features is None else bool(features & _RWP),
              "not asked" if features is None else f"features {features:#x}, async {bool(features & _RWP_ASYNC)}",
              "no page-exact capture of reads and writes", ""),
        Piece("PSI", host.exists("/proc/pressure/memory"), "pressure on memory and io",
              "reclaim cannot see that tasks wait, and refuses", "boot with psi=1"),
        Piece("cgroup v2 memory", "memory" in _word(host, "/sys/fs/cgroup/cgroup.controllers").split(),
              "with cgroup v1 at /sys/fs/cgroup/memory" if host.exists("/sys/fs/cgroup/memory") else "one hierarchy",
              "no memory.reclaim, no pressure of one VM", "boot with systemd.unified_cgroup_hierarchy=1"),
        Piece("memory.reclaim", reclaim, "gives memory back", "agewalk cannot take cold memory back", ""),
        Piece("swap", bool(swaps), f"{len(swaps)} devices", "anonymous memory, most of a VM's, cannot be reclaimed",
              "swapon a device or zram"),
        Piece("zswap", _word(host, "/sys/module/zswap/parameters/enabled") == "Y", "swap compressed in memory",
              "nothing is lost: swapped pages go to the device", "echo Y > /sys/module/zswap/parameters/enabled"),
        Piece("KVM", host.exists("/dev/kvm") or host.exists("/sys/module/kvm"), kvm_parameters(host), "no VMs", "modprobe kvm"),
        Piece("KVM debugfs", host.exists("/sys/kernel/debug/kvm") or (None if not _may_enter(host) else False),
              "MMU kind of each VM", "the MMU of each VM is unknown", "mount -t debugfs none /sys/kernel/debug"),
    ]  # fmt: skip


def aging_sees_guests(host: Host) -> tuple[bool | None, str]:
    """Do page-table walks of MGLRU ask KVM about guests' accesses? None: no file tells, with the reason.

    The series that made walks ask (1d4832becdc2, 6.13, and 6.12.y as a backport) also removed two of six counters of the walk
    (ddd6d8e975b1, "remove MM_LEAF_OLD and MM_NONLEAF_TOTAL stats"). lru_gen_full prints them: 4 columns see guests, 6 do not.
    """
    try:
        walks = {len(gen.walk) for lruvec in lru_gen(host.text(FULL)) for gen in lruvec.generations if gen.walk}
    except AgewalkError as error:
        return None, str(error)
    if walks == {4}:
        return True, "walks ask KVM: lru_gen_full counts four things"
    if walks == {6}:
        return False, "aging is blind to guests: lru_gen_full counts six things, as before walks asked KVM"
    return None, "lru_gen_full shows no walks; is this kernel built with walks?"


def profile(host: Host) -> tuple[str, str]:
    """The oldest of our profiles that fits, and why. Later kernels with the same files look the same."""
    sees, why = aging_sees_guests(host)
    if sees is None:
        return "", why
    if not sees:
        return "6.1", "aging does not ask KVM (or 6.9: its files look the same)"
    stat = _word(host, "/proc/vmstat")
    if host.exists("/sys/kernel/debug/kvm/mmu_shadow_pages"):
        return "7.3", "KVM counts mmu_shadow_pages"
    if "pgscan_proactive" in stat:
        return "6.18", "vmstat counts proactive reclaim, KVM has no mmu_shadow_pages"
    return "6.12", "aging asks KVM, vmstat does not count proactive reclaim (or 6.13, 6.15: their files look the same)"


def kvm_parameters(host: Host) -> str:
    """Those that decide how guests are mapped, as "name=value"."""
    names = ("kvm/parameters/tdp_mmu", "kvm_amd/parameters/npt", "kvm_intel/parameters/ept",
             "kvm_intel/parameters/eptad", "kvm_amd/parameters/nested", "kvm_intel/parameters/nested")  # fmt: skip
    found = [(name, _word(host, f"/sys/module/{name}")) for name in names]
    return ", ".join(f"{name.replace('/parameters/', '.')}={value}" for name, value in found if value)


def _enabled(host: Host) -> int | None:
    word = _word(host, ENABLED)
    try:
        return int(word, 16) & 0xFFFF
    except ValueError:
        return None


def _word(host: Host, path: str) -> str:
    """The file without white space around it; "" where it cannot be read."""
    try:
        return host.text(path).strip()
    except AgewalkError:
        return ""


def _may_enter(host: Host) -> bool:
    try:
        host.names("/sys/kernel/debug")
    except AgewalkError:
        return False
    return True


def _reclaim(host: Host) -> bool | None:
    """The root cgroup has no memory.reclaim: look below it."""
    try:
        below = host.names("/sys/fs/cgroup")
    except AgewalkError:
        return None
    return any(host.exists(f"/sys/fs/cgroup/{name}/memory.reclaim") for name in below)


def _asked(host: Host, path: str, ask: Callable[[int], int]) -> int | None:
    """The answer of `ask` for the opened file; None for a recorded tree, or where it cannot be opened."""
    if host.root != "/":
        return None
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC if path.startswith("/dev") else os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return ask(file)
    finally:
        os.close(file)


def _userfaultfd(host: Host) -> int | None:
    """Feature bits of userfaultfd. A descriptor is made and closed: nothing is registered."""

    def ask(file: int) -> int:
        try:
            made = fcntl.ioctl(file, _NEW, os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return 0
        try:
            return int(struct.unpack("=3Q", fcntl.ioctl(made, _API, struct.pack("=3Q", 0xAA, 0, 0)))[1])
        except OSError:
            return 0
        finally:
            os.close(made)

    return _asked(host, "/dev/userfaultfd", ask)


def _scan(host: Host) -> bool | None:
    """PAGEMAP_SCAN of an empty range of this process."""

    def ask(file: int) -> int:
        try:
            fcntl.ioctl(file, _SCAN, struct.pack("=12Q", 96, *([0] * 11)))
        except OSError as error:
            return int(error.errno != _ENOTTY)
        return 1

    found = _asked(host, "/proc/self/pagemap", ask)
    return None if found is None else bool(found)
