"""The debugfs files of a whole host."""

from __future__ import annotations

from agewalk.core.units import Ns, Pages
from agewalk.model.machine import Machine
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol


def test_text_follows_commands() -> None:
    kernel = profile("6.12")
    machine = Machine(kernel, get_protocol(kernel.protocol), memory=Pages(1 << 16))
    process = machine.add_process("p", Pages(1000))
    for page in range(1000):
        machine.touch_host(process, page, write=True)
    machine.drain()
    machine.advance(Ns(2_000_000_000))
    assert machine.lru_gen_write("+ 1 0 3 1 1") == 0
    machine.advance(Ns(2_100_000_000))
    assert machine.lru_gen() == (
        "memcg     1 /\n"
        " node     0\n"
        "          1       2100          0           0 \n"
        "          2       2100          0           0 \n"
        "          3       2100       1000           0 \n"
        "          4        100          0           0 \n"
    )
    assert machine.lru_gen(full=True).splitlines()[-1] == (
        "                             1000T       1000Y          2F          2A"
    )
    assert machine.lru_gen_write("+ 1 0 4 1 0") == -34
