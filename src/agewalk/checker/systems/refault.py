"""Does a question end, however often others change what it wants to change?"""

from __future__ import annotations

from agewalk.checker.system import Result, System, Thread, sometimes
from agewalk.checker.systems.aging import TARGET, ager, ask, primary, spte_rules
from agewalk.checker.systems.hosts import build
from agewalk.core.effects import Again, Step
from agewalk.model.protocols.base import AgingProtocol


def agers_vs_refault(protocol: AgingProtocol, mmu: str) -> System:
    """Two agers and a vCPU that reads and writes a page in turns, for ever; one of the agers asks once: does it ever end?"""
    host = build(protocol, mmu, write=True)
    entry = primary(host)

    def other() -> Step[None]:
        while True:
            yield from ask(host, entry, TARGET)
            yield Again()

    def vcpu() -> Step[None]:
        while True:
            yield from host.touch(write=False)
            yield from host.touch(write=True)
            yield Again()

    return System(
        "agers-vs-refault",
        (
            Thread("ager", ager(host, entry, TARGET)),
            Thread("other", other, daemon=True),
            Thread("vcpu", vcpu, daemon=True),
        ),
        (
            *spte_rules(host, host.leaf()),
            sometimes("the eviction finds it young", lambda r: r == (TARGET, True), Result("ager")),
        ),
        about=(agers_vs_refault.__doc__ or "").strip(),
    )
