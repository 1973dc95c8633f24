"""Accesses and the faults they take, small and huge; get_user_pages() (mm/memory.c, huge_memory.c, gup.c)."""
