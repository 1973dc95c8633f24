"""The VMs of a host: their VMM, names, cgroup, memory and MMUs, from files that anything may have written."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from agewalk.core.errors import AgewalkError, InputError
from agewalk.host.process import Mapping, arguments, mappings
from agewalk.host.texts import cgroup_paths, keyed, number, rmaps
from agewalk.host.tree import Host

CGROUP: Final = "/sys/fs/cgroup"
_DEBUG: Final = "/sys/kernel/debug/kvm"
_VCPU: Final = re.compile(r"anon_inode:\[?kvm-vcpu:(\d{1,6})\]?", re.ASCII)
_SIZE: Final = re.compile(r"(\d{1,12})([KMGTkmgt]?)[iI]?[bB]?", re.ASCII)
_UNIT: Final = {"": 1 << 20, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
#: Children of the cgroup that owns the memory: libvirt's split of threads, QEMU's own.
_CHILD: Final = re.compile(r"(?:/libvirt)?(?:/(?:emulator|vcpu\d{1,6}|iothread\d{1,6}))?$", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class VM:
    """One VM. Sizes are bytes, None where no file tells. name, uuid and cgroup are texts from outside.

    size_from: "argv" or "largest mappings". backing: kind of the guest's mappings by size. mmu: "TDP MMU", "with rmaps" (shadow
    MMU, or TDP without the TDP MMU) or "unknown". alone: may numbers of its cgroup be taken for the VM's?
    """

    pid: int
    vm_fd: int
    vmm: str
    name: str
    uuid: str
    cgroup: str
    cgroup_id: int | None
    vcpus: int
    guest_bytes: int | None
    size_from: str
    backing: str
    thp_share: float | None
    reclaimable: bool
    mmu: str
    nested_run: int | None
    page_tables: int | None
    alone: bool = True
    notes: tuple[str, ...] = field(default=())


def find_vms(host: Host) -> list[VM]:
    """Every VM whose descriptor this user may see. A process that ends meanwhile is left out."""
    found: list[VM] = []
    for pid in host.names("/proc"):
        if pid.isascii() and pid.isdecimal():
            try:
                found += _of_process(host, int(pid))
            except AgewalkError:  # it ended, or is another user's
                continue
    owners = Counter(vm.cgroup for vm in found)
    return [_separable(host, vm, owners[vm.cgroup]) for vm in sorted(found, key=lambda vm: (vm.pid, vm.vm_fd))]


def owner(path: str) -> str:
    """The cgroup that owns the VM's memory: the scope, not libvirt's children of it. Raises InputError for one outside."""
    if ".." in path.split("/"):
        raise InputError(f"cgroup {path!r} is outside of this cgroup namespace", hint="run agewalk on the host itself")
    return _CHILD.sub("", path) or "/"


def _of_process(host: Host, pid: int) -> list[VM]:
    links = []
    for name in host.names(f"/proc/{pid}/fd"):
        try:
            links.append((name, host.link(f"/proc/{pid}/fd/{name}")))
        except AgewalkError:  # closed meanwhile
            continue
    machines = [int(name) for name, target in links if target in {"anon_inode:kvm-vm", "anon_inode:[kvm-vm]"}]
    if not machines:
        return []
    vcpus = len([1 for _, target in links if _VCPU.fullmatch(target)])
    words = arguments(host.read(f"/proc/{pid}/cmdline", limit=4 << 20))
    paths = cgroup_paths(host.text(f"/proc/{pid}/cgroup", limit=1 << 20))
    cgroup = owner(paths.get("memory") or paths.get("") or "/")
    vmm = _vmm(host, pid, words, cgroup)
    name, uuid = _identity(vmm, words, cgroup)
    size = _argv_bytes(words)
    guest = _guest_mappings(host, pid, size)
    total = sum(x.end - x.start for x in guest)
    kinds = Counter[str]()
    for x in guest:
        kinds[x.backing] += x.end - x.start
    resident = sum(x.kb.get("Rss", 0) for x in guest)
    huge = sum(x.kb.get("AnonHugePages", 0) + x.kb.get("ShmemPmdMapped", 0) for x in guest)
    notes = ["its VMM has several VMs: mappings, vCPUs and size are those of all"] if len(machines) > 1 else []
    reclaimable = bool(kinds) and "hugetlb" not in kinds
    if "hugetlb" in kinds:
        notes.append("hugetlb pages are on no LRU: they have no generations and cannot be reclaimed")
    tables = _stat(host, cgroup).get("sec_pagetables")
    return [
        VM(pid, fd, vmm, name, uuid, cgroup, _id(host, cgroup), vcpus, size if size is not None else total or None,
           "argv" if size is not None else "largest mappings" if guest else "unknown",
           "+".join(kind for kind, _ in kinds.most_common()) or "unknown", huge / resident if resident else None, reclaimable,
           _mmu(host, pid, fd), _counter(host, pid, fd, "nested_run"), tables, True, tuple(notes))
        for fd in machines
    ]  # fmt: skip


def _separable(host: Host, vm: VM, sharing: int) -> VM:
    """Say why numbers of the cgroup are not the VM's own, where they are not."""
    why = ""
    if vm.cgroup == "/":
        why = "it has no cgroup of its own: its memory cannot be told from the host's"
    elif sharing > 1:
        why = f"{sharing} VMs share this cgroup: their memory cannot be told apart"
    elif (others := _others(host, vm)) is None:
        why = "its cgroup cannot be read: whether others are in it is unknown"
    elif others:
        why = f"{others} other processes are in its cgroup: their memory counts as the VM's"
    return replace(vm, alone=not why, notes=(*vm.notes, why) if why else vm.notes)


def _others(host: Host, vm: VM) -> int | None:
    """How many processes beside the VMM are in its cgroup or below; None where that cannot be read."""
    found: set[str] = set()
    todo = [_directory(host, vm.cgroup)]
    for place in todo:
        try:
            found |= set(host.text(f"{place}/cgroup.procs").split())
            names = host.names(place)
        except AgewalkError:
            if place == todo[0]:
                return None
            continue  # removed meanwhile
        if len(todo) < 10_000:
            todo += [f"{place}/{x}" for x in names if host.exists(f"{place}/{x}/cgroup.procs")]
    return len(found - {str(vm.pid)})


def _directory(host: Host, cgroup: str) -> str:
    """Directory of the cgroup. In cgroup v1 the memory controller has a hierarchy of its own."""
    top = (
        CGROUP
        if host.exists(f"{CGROUP}/cgroup.controllers") or not host.exists(f"{CGROUP}/memory")
        else f"{CGROUP}/memory"
    )
    return f"{top}{cgroup.rstrip('/')}"


def _vmm(host: Host, pid: int, words: list[str], cgroup: str) -> str:
    """By the executable; its name in argv where the link cannot be read. comm can say anything, and is not asked."""
    try:
        path = host.link(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except AgewalkError:
        path = words[0] if words else ""
    name = path.rsplit("/", 1)[-1]
    kinds = {"qemu": "QEMU", "kvm": "QEMU", "cloud-hypervisor": "cloud-hypervisor", "firecracker": "Firecracker"}
    kind = next((kind for start, kind in kinds.items() if name.startswith(start)), name or "unknown")
    if kind == "QEMU" and any(word.startswith("guest=") and "kubevirt" in word for word in words):
        return "QEMU (kubevirt)"
    if any("/run/vc/" in word or "/run/kata" in word for word in words):
        return f"{kind} (Kata)"
    if "kubepods" in cgroup:
        return f"{kind} (Kubernetes)"
    return f"{kind} (libvirt)" if re.search(r"machine[-.].*qemu", cgroup) else kind


def _after(words: list[str], *options: str) -> str:
    for at, word in enumerate(words):
        for option in options:
            if word == option:
                return words[at + 1] if at + 1 < len(words) else ""
            if option.startswith("--") and word.startswith(f"{option}="):
                return word[len(option) + 1 :]
    return ""


def _identity(vmm: str, words: list[str], cgroup: str) -> tuple[str, str]:
    """Name and uuid: of the VMM's options, or the end of its cgroup's name."""
    if vmm.startswith("QEMU"):
        parts = dict(part.partition("=")[::2] for part in _after(words, "-name", "--name").split(","))
        name = parts.get("guest") or next((key for key, value in parts.items() if key and not value), "")
        uuid = _after(words, "-uuid", "--uuid")
    else:
        name = _after(words, "--id") or _after(words, "--api-socket").removeprefix("path=").rsplit("/", 1)[-1]
        uuid = ""
    if not _UUID.fullmatch(uuid):
        uuid = name if _UUID.fullmatch(name) else ""
    return name or cgroup.rsplit("/", 1)[-1] or "unnamed", uuid


def _argv_bytes(words: list[str]) -> int | None:
    """Guest memory as the command line says: QEMU's -m, cloud-hypervisor's --memory. None: it does not."""
    for text in (_after(words, "-m"), _after(words, "--memory")):
        for part in text.split(","):
            key, _, value = part.rpartition("=")
            match = _SIZE.fullmatch(value)
            if match and key in {"", "size"}:
                bytes_alone = bool(key) and not match[2] and "--memory" in "".join(words)
                return int(match[1]) * (1 if bytes_alone else _UNIT[match[2].lower()])
    return None


def _guest_mappings(host: Host, pid: int, size: int | None) -> list[Mapping]:
    """Writable mappings, largest first, up to the guest's size; without a size the largest, and those at least half of it."""
    try:
        all_of = mappings(host.text(f"/proc/{pid}/smaps"))
    except AgewalkError:
        try:
            all_of = mappings(host.text(f"/proc/{pid}/maps"))
        except AgewalkError:
            return []
    large = sorted((x for x in all_of if "w" in x.perms), key=lambda x: x.start - x.end)
    found: list[Mapping] = []
    for x in large:
        span, sofar = x.end - x.start, sum(y.end - y.start for y in found)
        if found and (sofar >= size if size is not None else span * 2 < found[0].end - found[0].start):
            break
        found.append(x)
    return found


def _mmu(host: Host, pid: int, fd: int) -> str:
    """mmu_rmaps_stat has rows as soon as the VM has rmaps: with the TDP MMU alone it is empty."""
    try:
        return "with rmaps" if rmaps(host.text(f"{_DEBUG}/{pid}-{fd}/mmu_rmaps_stat")) else "TDP MMU"
    except AgewalkError:
        return "unknown"


def _counter(host: Host, pid: int, fd: int, name: str) -> int | None:
    try:
        return number(host.text(f"{_DEBUG}/{pid}-{fd}/{name}"), name)
    except AgewalkError:
        return None


def _stat(host: Host, cgroup: str) -> dict[str, int]:
    try:
        return keyed(host.text(f"{_directory(host, cgroup)}/memory.stat"))
    except AgewalkError:
        return {}


def _id(host: Host, cgroup: str) -> int | None:
    try:
        return host.inode(_directory(host, cgroup))
    except AgewalkError:
        return None
