"""Whole workloads on real kernels, and what the model says of the same runs (docs/workload.md)."""

from agewalk.study.workload.file import Workload, read_workloads
from agewalk.study.workload.verify import CellVerdict, verify

__all__ = ["CellVerdict", "Workload", "read_workloads", "verify"]
