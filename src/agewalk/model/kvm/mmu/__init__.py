"""KVM's MMUs: SPTEs, the TDP MMU, the shadow MMU with its rmaps, guest page faults (arch/x86/kvm/mmu/)."""
