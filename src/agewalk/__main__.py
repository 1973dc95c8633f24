"""`python -m agewalk`: the command line."""

from agewalk.cli.main import main

if __name__ == "__main__":
    main()
