"""Recordings of real kernels, page by page, and what the model says of the same steps (docs/witness.md)."""

from agewalk.study.witness.file import Observation, Recording, Witness, read_witness
from agewalk.study.witness.verify import FileVerdict, Mismatch, verify

__all__ = ["FileVerdict", "Mismatch", "Observation", "Recording", "Witness", "read_witness", "verify"]
