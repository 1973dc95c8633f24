"""The base class of effects, and the names of memory orders and lock modes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, TypeAlias, TypeVar

T = TypeVar("T")
Step: TypeAlias = Generator["Effect", Any, T]

# Memory order of an access. PLAIN may be torn from its neighbours by compiler and CPU; ONCE is READ_ONCE / WRITE_ONCE.
PLAIN: Final = "plain"
ONCE: Final = "once"
ACQUIRE: Final = "acquire"
RELEASE: Final = "release"
FULL: Final = "full"

# How a lock is held.
WRITE: Final = "write"  # exclusively; the only way to hold a spinlock or mutex
READ: Final = "read"


class Effect:
    """One indivisible step on shared state."""

    __slots__ = ()

    def __repr__(self) -> str:
        slots = (s for c in reversed(type(self).__mro__) for s in getattr(c, "__slots__", ()))
        return f"{type(self).__name__}({', '.join(str(getattr(self, s)) for s in slots)})"
