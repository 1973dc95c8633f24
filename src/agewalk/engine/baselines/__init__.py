"""Policies that see every access, and the bound none can beat: what a sampled accessed bit is compared with.

Everything here takes pages as a 1-D array of unsigned 32-bit page numbers below `n_pages` and a capacity in pages, and
counts exactly. See `queues` (LRU, FIFO, Clock, random), `curve` (LRU at every size in one pass, SHARDS) and `opt` (Belady).
"""
