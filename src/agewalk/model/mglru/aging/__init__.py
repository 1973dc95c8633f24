"""A new generation and what decides who is in it: page-table walks, look-around, promotion, tiers (mm/vmscan.c)."""
