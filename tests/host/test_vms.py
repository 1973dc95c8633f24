"""VMs and interfaces of recorded trees."""

from pathlib import Path
from typing import Any

import pytest
from tests.host.dumps import FULL, PSI, RMAPS, SCOPE, SMAPS, tree

from agewalk.core.errors import InputError
from agewalk.host.capabilities import aging_sees_guests, pieces, profile
from agewalk.host.tree import Host
from agewalk.host.vms import find_vms, owner

UUID = "8f6c1d2e-0000-4000-8000-0123456789ab"
#: lru_gen_full of 6.1: six counts a walk.
BLIND = FULL.replace("9T          8Y          0F          0A", "9L 8O 7Y 6N 5F 4A").replace(
    "0x          0x          0x          0x\n          3", "0x 0x 0x 0x 0x 0x\n          3"
)


def vm(root: Path, pid: int, argv: list[str], exe: str, cgroup: str, **more: Any) -> None:
    """A process with one VM of two vCPUs."""
    proc, debug = f"/proc/{pid}", f"/sys/kernel/debug/kvm/{pid}-4"
    files = {
        f"{proc}/cmdline": "\0".join(argv) + "\0",
        f"{proc}/cgroup": f"0::{cgroup}\n",
        f"{proc}/smaps": more.get("smaps", SMAPS),
        f"{debug}/mmu_rmaps_stat": more.get("rmaps", ""),
        f"{debug}/nested_run": f"{more.get('nested', 0)}\n",
    }
    links = {f"{proc}/fd/4": "anon_inode:kvm-vm", f"{proc}/exe": exe}
    links |= {f"{proc}/fd/{5 + n}": f"anon_inode:kvm-vcpu:{n}" for n in range(2)}
    links[f"{proc}/fd/9"] = "anon_inode:kvm-vm-stats"
    tree(root, files, links)


def group(root: Path, cgroup: str, pids: str) -> None:
    at = f"/sys/fs/cgroup{cgroup}"
    tree(root, {f"{at}/cgroup.procs": pids, f"{at}/memory.stat": "anon 5\nsec_pagetables 12288\n"})


def test_a_vm_of_libvirt(tmp_path: Path) -> None:
    argv = ["qemu", "-name", "guest=web,debug-threads=on", "-m", "size=65536k", "-uuid", UUID]
    vm(tmp_path, 202, argv, "/usr/bin/qemu-system-x86_64 (deleted)", f"{SCOPE}/libvirt/emulator")
    group(tmp_path, SCOPE, "202\n")
    group(tmp_path, f"{SCOPE}/libvirt/vcpu0", "202\n")
    [found] = find_vms(Host(tmp_path))
    assert (found.vmm, found.name, found.uuid) == ("QEMU (libvirt)", "web", UUID)
    assert (found.cgroup, found.vcpus, found.alone, found.notes) == (SCOPE, 2, True, ())
    assert (found.guest_bytes, found.size_from, found.backing, found.mmu) == (64 << 20, "argv", "anon", "TDP MMU")
    assert (found.page_tables, found.nested_run) == (12288, 0)
    assert found.thp_share == pytest.approx(65536 / 65544)


@pytest.mark.parametrize(
    ("argv", "exe", "expected"),
    [
        (["x", "--memory", "size=1G", "--api-socket", "/run/a.sock"], "/b/cloud-hypervisor", ("a.sock", 1 << 30)),
        (["x", "--id=vm-7"], "/jail/firecracker/vm-7/root/firecracker", ("vm-7", 66 << 20)),
        (["x", "-m", "2048", "-name", "plain"], "/usr/bin/qemu-kvm", ("plain", 2 << 30)),
        (["x", "-m"], "/usr/bin/other", ("g", 66 << 20)),
    ],
)
def test_other_vmms(tmp_path: Path, argv: list[str], exe: str, expected: tuple[str, int]) -> None:
    vm(tmp_path, 7, argv, exe, "/g", rmaps=RMAPS, nested=3)
    group(tmp_path, "/g", "7\n")
    [found] = find_vms(Host(tmp_path))
    assert (found.name, found.guest_bytes) == expected
    assert (found.mmu, found.nested_run) == ("with rmaps", 3)


def test_vms_that_cannot_be_told_apart_are_said_so(tmp_path: Path) -> None:
    for pid, cgroup in ((1, "/both"), (2, "/both"), (3, "/"), (4, "/session"), (5, "/own")):
        vm(tmp_path, pid, ["qemu"], "/usr/bin/qemu", cgroup)
    group(tmp_path, "/both", "1\n2\n")
    group(tmp_path, "/session", "4\n77\n78\n")
    group(tmp_path, "/own", "5\n")
    found = {x.pid: x for x in find_vms(Host(tmp_path))}
    assert {pid: x.alone for pid, x in found.items()} == {1: False, 2: False, 3: False, 4: False, 5: True}
    assert "2 VMs share" in found[1].notes[0]
    assert "no cgroup of its own" in found[3].notes[0]
    assert "2 other processes" in found[4].notes[0]


def test_a_cgroup_that_cannot_be_read_is_not_taken_for_the_vms_own(tmp_path: Path) -> None:
    vm(tmp_path, 5, ["qemu"], "/usr/bin/qemu", "/gone")
    [found] = find_vms(Host(tmp_path))
    assert not found.alone
    assert "unknown" in found.notes[0]


def test_cgroup_v1_has_a_hierarchy_for_memory(tmp_path: Path) -> None:
    vm(tmp_path, 5, ["qemu"], "/usr/bin/qemu", "/x")
    tree(tmp_path, {"/proc/5/cgroup": "4:cpu:/other\n3:memory:/g\n", "/sys/fs/cgroup/memory/g/cgroup.procs": "5\n"})
    [found] = find_vms(Host(tmp_path))
    assert (found.cgroup, found.alone) == ("/g", True)


def test_hugetlb_is_said_to_be_out_of_reach(tmp_path: Path) -> None:
    smaps = "7f0000000000-7f0040000000 rw-s 00000000 00:01 9 /dev/hugepages/x\nKernelPageSize: 2048 kB\n"
    vm(tmp_path, 7, ["qemu"], "/usr/bin/qemu", "/g", smaps=smaps)
    [found] = find_vms(Host(tmp_path))
    assert (found.backing, found.reclaimable) == ("hugetlb", False)
    assert "cannot be reclaimed" in found.notes[0]


def test_processes_that_end_or_lie_do_not_stop_the_search(tmp_path: Path) -> None:
    """One ended (no cmdline), one is in a cgroup outside of this namespace, one only claims to be a VM by its name."""
    vm(tmp_path, 5, ["qemu"], "/usr/bin/qemu", "/g")
    vm(tmp_path, 6, ["qemu"], "/usr/bin/qemu", "/../../escape")
    tree(
        tmp_path,
        {"/proc/8/comm": "qemu\n"},
        {"/proc/8/fd/1": "/tmp/anon_inode:kvm-vm", "/proc/9/fd/4": "anon_inode:kvm-vm"},
    )
    assert [x.pid for x in find_vms(Host(tmp_path))] == [5]
    with pytest.raises(InputError, match="namespace"):
        owner("/../x")


@pytest.mark.parametrize(("text", "sees", "name"), [(FULL, True, "6.12"), (BLIND, False, "6.1"), ("", None, "")])
def test_whether_aging_sees_guests(tmp_path: Path, text: str, sees: bool | None, name: str) -> None:
    host = Host(tree(tmp_path, {"/sys/kernel/debug/lru_gen_full": text}))
    assert aging_sees_guests(host)[0] is sees
    assert profile(host)[0] == name


def test_kernels_are_told_apart_by_their_files(tmp_path: Path) -> None:
    files = {"/sys/kernel/debug/lru_gen_full": FULL, "/proc/vmstat": "pgscan_proactive 0\n"}
    host = Host(tree(tmp_path, files))
    assert profile(host)[0] == "6.18"
    tree(tmp_path, {"/sys/kernel/debug/kvm/mmu_shadow_pages": "0\n"})
    assert profile(host)[0] == "7.3"


def test_an_empty_tree_has_nothing_and_says_what_that_costs(tmp_path: Path) -> None:
    found = pieces(Host(tmp_path))
    assert {x.name for x in found if x.present} == set()
    assert {x.name: x.present for x in found}["userfaultfd RWP"] is None  # a recorded tree cannot be asked
    assert all(x.lost for x in found)


def test_interfaces_of_a_recorded_host(tmp_path: Path) -> None:
    files = {
        "/sys/kernel/mm/lru_gen/enabled": "0x0003\n",
        "/sys/kernel/debug/lru_gen": "",
        "/sys/module/damon_stat/parameters/enabled": "Y\n",
        "/proc/pressure/memory": PSI,
        "/proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 524284 4 -1\n",
        "/sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        "/sys/fs/cgroup/machine.slice/memory.reclaim": "",
    }
    found = {x.name: x for x in pieces(Host(tree(tmp_path, files)))}
    present = {"MGLRU", "MGLRU page-table walks", "debugfs lru_gen", "DAMON_STAT", "PSI", "cgroup v2 memory",
               "memory.reclaim", "swap"}  # fmt: skip
    assert {name for name, x in found.items() if x.present} == present
    assert "DISTURBS" in found["DAMON_STAT"].detail
