"""The timed executor: the model on modelled CPUs. Its inner modules are imported compiled if that was done (`compiled.py`)."""

from agewalk.timing.compiled import install

install()
