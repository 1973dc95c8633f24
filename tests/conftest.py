"""What holds for all tests."""

import os

# The timed machine is interpreted, unless a test asks for more (tests/timing/test_compiled.py): no test waits for a compiler.
os.environ.setdefault("AGEWALK_TIMING", "text")
