"""The cost table in integer picoseconds."""

from __future__ import annotations

from agewalk.core.errors import ModelError
from agewalk.timing.hardware.costs import CostTable


class Prices:
    """What the machine charges, in ps; `hit` and `store` include the instructions around an access (`cpu.step`)."""

    def __init__(self, costs: CostTable) -> None:
        ps = costs.ps
        step = ps("cpu.step")
        self.hit = ps("line.hit") + step
        self.store = ps("line.store") + step
        self.atomic = ps("atomic.local")
        self.memory = ps("line.memory")
        self.core = ps("line.core_to_core")
        self.socket = ps("line.socket_to_socket")
        self.shared_read = ps("line.shared_read")
        self.sequential = costs.number("line.sequential")
        self.retention = costs.number("line.retention")
        self.lock = ps("lock.uncontended")
        self.wakeup = ps("lock.wakeup")
        self.rcu_read = ps("rcu.read")
        self.srcu_read = ps("rcu.srcu_read")
        self.grace_period = ps("rcu.grace_period")
        self.indirect = ps("call.retpoline") if costs.number("call.mitigated") else ps("call.indirect")
        self.slab = ps("alloc.slab")
        self.function = ps("call.function")
        self.tlb_send = ps("tlb.send")
        self.tlb_remote = ps("tlb.remote")
        self.tlb_latency = ps("tlb.latency")
        self.tlb_local = ps("tlb.local")
        self.tlb_kick = ps("tlb.kick")
        self.smt = costs.number("topology.smt_slower") - 1
        self.slice = ps("sched.slice")
        self.switch = ps("sched.switch")
        noise = costs.number("noise.work")
        self.quiet = 1.0 - noise / 2
        self.loud = noise
        self._work = {name.removeprefix("work."): ps(name) for name in costs if name.startswith("work.")}
        self.counts = {name.removeprefix("count."): ps(name) for name in costs if name.startswith("count.")}

    def work(self, what: str) -> int:
        """Picoseconds of `Work(what)`. Raises ModelError for a kind that has no cost."""
        cost = self._work.get(what)
        if cost is None:
            raise ModelError(
                f"Work({what!r}) has no cost", hint=f"add work.{what} to the cost table; known: {', '.join(self._work)}"
            )
        return cost
