"""Aging: page-table walks, generations, look-around, tiers."""
