"""2 MiB folios age and go as one."""

from __future__ import annotations

import pytest

from agewalk.core.units import Bytes, Pages
from agewalk.model.machine import Machine
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol


def sizes(machine: Machine) -> dict[int, int]:
    """Pages by how many generations they lie below the youngest."""
    gens = machine.lruvec.nr_pages
    return {below: gens[(machine.max_seq - below) % 4][0].value for below in range(4)}


@pytest.mark.parametrize("kernel", ["6.12", "6.18", "7.3"])
def test_one_touch_of_the_guest_promotes_512_pages(kernel: str) -> None:
    known = profile(kernel)
    machine = Machine(known, get_protocol(known.protocol), memory=Pages(1 << 16))
    process = machine.add_process("p", Pages(2048), huge=True)
    vm = machine.start_vm(process)
    for page in range(0, 2048, 64):
        machine.touch_guest(vm, page, write=True)
    for _ in range(3):
        machine.age()
    machine.touch_guest(vm, 600, write=False)
    machine.age()
    assert sizes(machine) == {0: 0, 1: 512, 2: 0, 3: 1536}
    assert machine.reclaim(Bytes(1 << 20)) == 0
    assert sum(sizes(machine).values()) == 1536
    assert machine.memory.free.value == (1 << 16) - 1536
    for page in (0, 700, 1100, 2047):  # what went comes back page by page, what stayed is still one folio
        machine.touch_guest(vm, page, write=False)
    machine.drain()
    total = sum(sizes(machine).values())
    assert 1536 <= total < 2048
    assert total % 512 in {1, 2}


def test_61_does_not_see_the_guest() -> None:
    known = profile("6.1")
    machine = Machine(known, get_protocol(known.protocol), memory=Pages(1 << 16))
    process = machine.add_process("p", Pages(1024), huge=True)
    vm = machine.start_vm(process)
    for page in (0, 600):
        machine.touch_guest(vm, page, write=True)
    for _ in range(3):
        machine.age()
    machine.touch_guest(vm, 600, write=False)
    machine.age()
    assert sizes(machine)[3] == 1024
