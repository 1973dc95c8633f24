"""What a reader did with each row of a file, and what it took for granted: told to the user and kept in the trace."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Account:
    """Rows of a file: `used` and `skipped` (why: how many) are all that were read; `aside` are lines that are no rows.

    A row is what may stand for an access: a line of data, a record, a sample, a region of a snapshot. Aside are headers,
    comments, blank lines and lines of a tool about itself. `assumed`: what the reader guessed, each a sentence that names
    the option that says otherwise.
    """

    used: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    aside: Counter[str] = field(default_factory=Counter)
    assumed: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return self.used + self.skipped_rows

    @property
    def skipped_rows(self) -> int:
        """Rows that stand for no access."""
        return self.skipped.total()

    def skip(self, why: str, count: int = 1) -> None:
        """Count rows that are skipped."""
        if count:
            self.skipped[why] += count

    def set_aside(self, what: str, count: int = 1) -> None:
        """Count lines that are no rows."""
        if count:
            self.aside[what] += count

    def assume(self, sentence: str) -> None:
        """Note a guess, once."""
        if sentence not in self.assumed:
            self.assumed.append(sentence)

    def sentences(self) -> list[str]:
        """Skipped rows, other lines and guesses, for people."""
        told = [f"skipped {count:,} of {self.rows:,} rows: {why}" for why, count in sorted(self.skipped.items())]
        told += [f"no rows: {count:,} {what}" for what, count in sorted(self.aside.items())]
        return told + self.assumed
