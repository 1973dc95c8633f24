"""Reductions: one state stands for others (symmetry), or some interleavings are left out (partial order)."""
