"""Which CPUs run threads: their sockets and cores, as the scheduler places busy threads."""

from __future__ import annotations

from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.threads import CpuState


def spread(cpus: int, costs: CostTable) -> list[int]:
    """The socket of each busy CPU: few stay on one node, more are spread evenly, as the scheduler places them at fork
    (adjust_numa_imbalance(), kernel/sched/fair.c; imb_numa_nr, kernel/sched/topology.c, 6.12)."""
    sockets = int(costs.number("topology.sockets"))
    together = int(costs.number("topology.numa_imbalance"))
    return [0] * cpus if cpus <= together else [n * sockets // cpus for n in range(cpus)]


def pair(cpus: list[CpuState], costs: CostTable) -> None:
    """Fill in each CPU's core: the scheduler fills a socket's cores before their second threads
    (select_idle_core(), kernel/sched/fair.c, 6.12)."""
    cores = int(costs.number("topology.cores"))
    of_core: dict[tuple[int, int], list[CpuState]] = {}
    on_socket: dict[int, int] = {}
    for cpu in cpus:
        nth = on_socket[cpu.socket] = on_socket.get(cpu.socket, -1) + 1
        of_core.setdefault((cpu.socket, nth % cores), []).append(cpu)
    for threads in of_core.values():
        for cpu in threads:
            cpu.mates = [c for c in threads if c is not cpu]
            cpu.core = min(c.index for c in threads)
    for cpu in cpus:
        cpu.socket_first = min(c.index for c in cpus if c.socket == cpu.socket)
        cpu.socket_last = max(c.index for c in cpus if c.socket == cpu.socket)


def busy_cpus(cpus: int, costs: CostTable) -> list[CpuState]:
    """So many CPUs on their sockets and cores."""
    found = [CpuState(i, socket) for i, socket in enumerate(spread(cpus, costs))]
    pair(found, costs)
    return found
