"""The kernel, as generators that yield effects. Standard library only.

mm/         page tables, folios, reverse mapping, faults, mmu notifiers     (mm/*.c)
kvm/        memslots, SPTEs, TDP MMU, shadow MMU with rmaps                 (virt/kvm, arch/x86/kvm)
mglru/      generations, walk, look-around, eviction, tiers, refaults       (mm/vmscan.c, mm/workingset.c)
protocols/  who is asked about a page's age, and what is concluded
profiles    kernels as sets of named features
machine     a host assembled from all of these, and the events it takes
"""
