"""The timed reading. Its innermost modules are the compiled ones if there are any (`compiled.py`), from the first import on."""

from agewalk.timing.compiled import install

install()
