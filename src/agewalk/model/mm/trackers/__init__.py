"""Who else asks whether pages are young: page_idle and DAMON, through the same bits and the same mmu notifiers as the LRU."""
