"""From a request for memory to folios taken: how much to scan, isolation, shrink_folio_list(), refaults (mm/vmscan.c)."""
