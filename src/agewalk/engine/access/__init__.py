"""What an access does: the hit path, faults of KVM and of the process, folios on their way to a list."""
