"""Scenarios: a host, its VMs and their traces, and what to compare; read from a file, made and changed in Python."""
