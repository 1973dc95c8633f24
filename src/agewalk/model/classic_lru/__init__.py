"""The classic LRU with an active and an inactive list: the kernel with MGLRU switched off (mm/swap.c, mm/vmscan.c)."""
