"""What the engine holds: bits of a page, rows of a space, lists, counters, truth tables."""
