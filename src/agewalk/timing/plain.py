"""The plain text that the timed reading runs: the model, and what the threads of an experiment do (core/plain)."""

from __future__ import annotations

from typing import Final

from agewalk.core.plain import PlainCopy

PLAIN: Final = PlainCopy(
    "agewalk_timed",
    of=("agewalk.model", "agewalk.timing.arm64", "agewalk.timing.bodies", "agewalk.timing.world"),
    effects=("agewalk.core.effects", "agewalk.timing.steps"),
    keep=True,
)
