"""The base of all other packages: units, errors, cells, effects, the direct executor. Standard library only."""
