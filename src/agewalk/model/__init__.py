"""The kernel, as generators that yield effects. Standard library only.

mm/           page tables, folios, reverse mapping, faults, mmu notifiers     (mm/*.c)
kvm/          memslots, notifier, dirty log; kvm/mmu/: SPTEs, TDP MMU, shadow MMU with rmaps, page faults (virt/kvm, arch/x86/kvm)
mglru/        state, lists, debugfs; mglru/aging/: walk, look-around, tiers; mglru/eviction/: isolation, refaults (mm/vmscan.c)
classic_lru/  the active and the inactive list                                (mm/swap.c, mm/vmscan.c)
protocols/    who is asked about a page's age, and what is concluded; protocols/tables/: the same as truth tables
profiles      kernels as sets of named features
machine/      a host assembled from all of these, and the events it takes
"""
