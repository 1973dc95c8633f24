"""Every test starts alike, however the tests were started: from a shell, by nohup, in the background, by CI."""

import os
import signal

for _name in (
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "PYTHONIOENCODING",
    "AGEWALK_DEBUG",
):
    os.environ.pop(_name, None)  # each of them changes what commands print
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's `&` ignores it; tests send it to this process
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The timed machine is interpreted, unless a test asks for more (tests/timing/test_compiled.py): no test waits for a compiler.
os.environ.setdefault("AGEWALK_TIMING", "text")
