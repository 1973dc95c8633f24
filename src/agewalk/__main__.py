"""`python -m agewalk`: the command line."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109 - as Python wrote it there
    del sys.path[0]  # -m puts the current directory first, where a file may be called random.py

from agewalk.cli.main import main

if __name__ == "__main__":
    main()
