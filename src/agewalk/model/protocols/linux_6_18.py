"""Kernel 6.18: 6.15's protocol on the MGLRU that 6.14 reworked."""

from __future__ import annotations

from agewalk.model.protocols.linux_6_15 import Linux615


class Linux618(Linux615):
    """Differs from 6.15 only in the kernel around it (promotion at the second access, tiers, types)."""

    name = "linux-6.18"
    summary = "6.15's protocol with 6.14's reworked MGLRU: the first access seen by aging only marks the page."
    cite = "20250204004038.1680123-1-jthoughton@google.com (6.15); 19f903c7ef86 dde8e91e2fef 74b157f90055 07ecb86441b5 (6.14)"
    profile = "6.18"
