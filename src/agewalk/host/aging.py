"""Aging a cgroup through debugfs lru_gen. This changes the host: it clears accessed bits, and asks KVM about each young page."""

from typing import Final

from agewalk.core.errors import MissingError
from agewalk.host.lru_gen import Lruvec, lru_gen
from agewalk.host.tree import Gone, Host

LRU_GEN: Final = "/sys/kernel/debug/lru_gen"


class Stale(MissingError):
    """The kernel took the write and did nothing: another ager was faster, or the number was old."""


def age(host: Host, before: Lruvec, *, swappable: bool = True) -> Lruvec:
    """Make one new generation in `before`, and return what is there now.

    A write with an old seq succeeds and does nothing (run_cmd() of mm/vmscan.c, 6.12 and 7.3), so the file is read again.
    Raises Gone where the cgroup has gone, or its id is another cgroup's now: nothing is written then.
    Raises Stale where the youngest generation is no newer; Denied, Busy or Refused as the kernel says.
    """
    current = _same(host, before)
    host.write(LRU_GEN, f"+ {current.memcg} {current.node} {current.max_seq} {int(swappable)} 1\n")
    after = _same(host, before)
    if after.max_seq <= current.max_seq:
        raise Stale(
            f"aging made no generation after {current.max_seq}: the kernel ignored the write",
            hint="does something else age this host? Read lru_gen again, then try once more",
        )
    return after


def _same(host: Host, wanted: Lruvec) -> Lruvec:
    """The lruvec of the same id, node and path as `wanted`."""
    for found in lru_gen(host.text(LRU_GEN)):
        if found.memcg == wanted.memcg and found.node == wanted.node:
            if found.path == wanted.path:
                return found
            break
    raise Gone("the cgroup has gone, or its id is another cgroup's now", hint="find the VM again: agewalk host probe")
