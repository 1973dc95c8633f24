"""Eviction: reclaim, isolation, what becomes of isolated folios."""
