"""Page tables, folios, reverse mapping, faults, mmu notifiers (the kernel's mm/)."""
