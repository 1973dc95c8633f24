"""Counts by name: how often a kernel function ran, how many PTEs a walk read."""

from collections import Counter


class Counters(Counter[str]):
    """Named counts; a name that never counted is 0, and a snapshot subtracts from a later one."""

    def since(self, before: "Counters") -> "Counters":
        """Counts since the snapshot `before`, non-zero names only."""
        return Counters({name: count - before[name] for name, count in self.items() if count != before[name]})

    def snapshot(self) -> "Counters":
        """A copy that later counting leaves alone."""
        return Counters(self)
