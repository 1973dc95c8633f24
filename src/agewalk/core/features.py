"""Named features: what differs between releases of a program, one field a difference, each with its citation.

Code asks for a feature by name, never for a version; a release is a set of values for all of them.
"""

from __future__ import annotations

from typing import TypeVar, get_type_hints

T = TypeVar("T")


def named_features(bundle: type[T]) -> type[T]:
    """Class decorator, above `@dataclass`: each field is `Annotated[type, "what it does; since which release or commit"]`.

    Raises TypeError for a field without a citation.
    """
    hints = get_type_hints(bundle, include_extras=True)
    missing = [name for name, hint in hints.items() if not hasattr(hint, "__metadata__")]
    if missing:
        raise TypeError(f"{bundle.__name__}: no citation for {', '.join(missing)}")
    return bundle


def cites(bundle: type) -> dict[str, str]:
    """The citation of each feature, by name."""
    hints = get_type_hints(bundle, include_extras=True)
    return {name: " ".join(str(hint.__metadata__[0]).split()) for name, hint in hints.items()}
