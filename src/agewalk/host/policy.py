"""How much cold memory to take back from one VM: numbers in, bytes and a reason out. No reading, no writing, no clock.

The budget is what was just read to be cold, never a share of what is there: a request beyond the cold pages brought 1,088
refaults on 6.12 before PSI moved. Refaults are asked first for the same reason. More swap in use, more refaults or more
pressure never give more bytes.
"""

from typing import Final, NamedTuple

MIB: Final = 1 << 20


class Limits(NamedTuple):
    """Settings of a user. Bytes, milliseconds; pressure in hundredths of a per cent.

    cold_ms: unused for so long is cold. margin: cold bytes that stay. floor: the VM keeps at least so much. step, step_percent:
    at most so much at once. swap_percent: no more than so much of the swap in use. swap_out_rate: bytes a second of the whole
    host. pressure_10, pressure_60: of memory and of io, some, over 10 and 60 s (oomd's Senpai plugin asks for 0.1 %).
    calm_ms: pause after a refault or pressure. fresh_ms: how old the reading of the generations may be.
    """

    cold_ms: int = 120_000
    margin: int = 16 * MIB
    floor: int = 100 * MIB
    step: int = 10 * MIB
    step_percent: int = 1
    swap_percent: int = 80
    swap_out_rate: int = MIB
    pressure_10: int = 10
    pressure_60: int = 10
    calm_ms: int = 60_000
    fresh_ms: int = 5_000


class Seen(NamedTuple):
    """One VM at one moment. Bytes, but refaults: pages since the last decision; *_ms: ages; pressure as in Limits.

    sees_guests: does aging ask KVM? alone: are the cgroup's numbers the VM's own? same_cgroup: is its id that of the start?
    other_controller: did memory.high or memory.max change, or memory fall without a request of ours?
    calm_ms: since the last refault or pressure.
    """

    current: int
    cold_anon: int
    cold_file: int
    read_ms: int
    memory_min: int = 0
    memory_low: int = 0
    swap_total: int = 0
    swap_free: int = 0
    swap_out_rate: int = 0
    refaults: int = 0
    memory_10: int = 0
    memory_60: int = 0
    io_10: int = 0
    io_60: int = 0
    calm_ms: int = 1 << 40
    sees_guests: bool = True
    alone: bool = True
    same_cgroup: bool = True
    other_controller: bool = False


class Decision(NamedTuple):
    """Bytes to ask memory.reclaim for, 0 for none, and the reason: the guard that said no, or what bounds the step."""

    bytes: int
    reason: str


def decide(limits: Limits, seen: Seen) -> Decision:
    """The next step for one VM. The order is that of trust: whose memory is it, does it hurt already, how much is cold."""
    if refusal := _refusal(limits, seen) or _hurt(limits, seen):
        return Decision(0, refusal)
    room_in_swap = seen.swap_free - seen.swap_total * (100 - limits.swap_percent) // 100
    bounds = {
        "cold memory less the margin": seen.cold_file + min(seen.cold_anon, max(room_in_swap, 0)) - limits.margin,
        "the floor, memory.min and memory.low": seen.current - max(limits.floor, seen.memory_min, seen.memory_low),
        "bytes a step": limits.step,
        "share a step": seen.current * limits.step_percent // 100,
    }
    reason = min(bounds, key=lambda name: bounds[name])
    if bounds[reason] <= 0:
        return Decision(0, f"nothing to take: {reason}")
    return Decision(bounds[reason], f"bounded by {reason}")


def _refusal(limits: Limits, seen: Seen) -> str:
    """Why these numbers say nothing about this VM."""
    if not seen.same_cgroup:
        return "the cgroup has gone, or another has its name"
    if not seen.alone:
        return "others share its cgroup: whose memory is cold is unknown"
    if not seen.sees_guests:
        return "aging is not known to see guests here: their memory may look cold"
    if seen.other_controller:
        return "another controller is at work on this cgroup"
    if seen.read_ms > limits.fresh_ms:
        return "the generations were read too long ago"
    return ""


def _hurt(limits: Limits, seen: Seen) -> str:
    """Signs that reclaim hurts the VM. Refaults come first: PSI rises only after the damage."""
    if seen.refaults > 0:
        return "pages came back since the last step"
    if max(seen.memory_10, seen.io_10) > limits.pressure_10:
        return "pressure over 10 s"
    if max(seen.memory_60, seen.io_60) > limits.pressure_60:
        return "pressure over 60 s"
    if seen.calm_ms < limits.calm_ms:
        return "the last refault or pressure was not long ago"
    if seen.swap_out_rate > limits.swap_out_rate:
        return "the host swaps out already"
    if (seen.swap_total - seen.swap_free) * 100 > seen.swap_total * limits.swap_percent:
        return "too much of the swap is in use"
    return ""
