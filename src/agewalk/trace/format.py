"""What a trace is: batches of columns, metadata, and the protocol that recorded and synthetic traces share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from agewalk.core.units import PAGE_SIZE, Bytes, Ns, Pages, pages_of

GUEST: Final = 0  # a guest's access through the TDP MMU
NESTED: Final = 1  # a nested guest's access through the shadow MMU
HOST: Final = 2  # a host process's access through the primary MMU
CONTEXTS: Final = ("guest", "nested guest", "host process")

DEFAULT_ROWS: Final = 1 << 18  # of a batch: 5 MB of columns


@dataclass(frozen=True, slots=True)
class Phase:
    """A moment at which the workload changed: its number, guest time and a text for people."""

    mark: int
    time_ns: Ns
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceMeta:
    """A trace's metadata. Only `memory_bytes` must be known; unknown numbers are None, unknown texts empty.

    memory_bytes: size of the guest's memory, a multiple of 4 KiB; every gfn is below `pages`.
    page_size: always 4096; larger mappings are a matter of the host that a trace is replayed on.
    vcpus: how many vCPUs the guest had; every row's vcpu is below it.
    row_epoch_ns: length of a time slot.
    other: metadata that agewalk keeps when it copies a trace but does not use.
    """

    memory_bytes: Bytes
    page_size: int = PAGE_SIZE
    vcpus: int | None = None
    workload: str = ""
    kernel: str = ""
    row_epoch_ns: Ns | None = None
    phases: tuple[Phase, ...] = ()
    capture: str = ""
    licence: str = ""
    other: dict[str, str] = field(default_factory=dict)

    @property
    def pages(self) -> Pages:
        """4 KiB pages of guest memory."""
        return pages_of(self.memory_bytes)


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows as columns of equal length: row i says that `vcpu[i]` touched `gfn[i]` in the slot at `time_ns[i]`.

    Read-only by convention; a column may be a view of a larger one.
    """

    time_ns: NDArray[np.uint64]
    vcpu: NDArray[np.uint8]
    gfn: NDArray[np.uint64]
    write: NDArray[np.bool_]
    context: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time_ns)

    def __getitem__(self, rows: slice) -> "Batch":
        """The rows of a slice, as views."""
        return Batch(self.time_ns[rows], self.vcpu[rows], self.gfn[rows], self.write[rows], self.context[rows])

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Batch":
        """The rows that an index or a mask selects, copied."""
        return Batch(self.time_ns[rows], self.vcpu[rows], self.gfn[rows], self.write[rows], self.context[rows])

    @staticmethod
    def of(
        time_ns: object, gfn: object, *, vcpu: object = 0, write: object = False, context: object = GUEST
    ) -> "Batch":
        """A batch of array-likes; scalars for `vcpu`, `write` and `context` stand for every row. Values are not checked."""
        time = np.asarray(time_ns, np.uint64)

        def column(values: object, dtype: type[np.generic]) -> NDArray[np.generic]:
            array = np.asarray(values, dtype)
            return np.full(len(time), array, dtype) if array.ndim == 0 else array

        return Batch(
            time,
            column(vcpu, np.uint8),  # type: ignore[arg-type]
            np.asarray(gfn, np.uint64),
            column(write, np.bool_),  # type: ignore[arg-type]
            column(context, np.uint8),  # type: ignore[arg-type]
        )

    @staticmethod
    def concatenate(parts: "list[Batch]") -> "Batch":
        """One batch of several, in their order."""
        if len(parts) == 1:
            return parts[0]
        return Batch(
            np.concatenate([p.time_ns for p in parts]),
            np.concatenate([p.vcpu for p in parts]),
            np.concatenate([p.gfn for p in parts]),
            np.concatenate([p.write for p in parts]),
            np.concatenate([p.context for p in parts]),
        )


class Trace(Protocol):
    """What replays read; see the package's docstring."""

    @property
    def name(self) -> str:
        """For messages: a path, or what was synthesised."""

    @property
    def meta(self) -> TraceMeta:
        """The metadata, checked."""

    @property
    def rows(self) -> int:
        """How many rows `batches` yields in all, at least 1."""

    def batches(self, max_rows: int = DEFAULT_ROWS) -> Iterator[Batch]:
        """All rows in ascending time, in batches of 1..max_rows. Raises TraceError at the first bad row."""


def recut(parts: Iterator[Batch], max_rows: int) -> Iterator[Batch]:
    """The same rows in batches of exactly `max_rows` (the last may be shorter), however they came."""
    held: list[Batch] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count >= max_rows:
            whole = Batch.concatenate(held)
            full = count - count % max_rows
            for start in range(0, full, max_rows):
                yield whole[start : start + max_rows]
            held, count = [whole[full:]], count - full
    if count:
        yield Batch.concatenate(held)
