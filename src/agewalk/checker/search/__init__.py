"""The search over all interleavings, and single runs of a system."""
