"""What everything else stands on: units, errors, cells, effects, the direct reading. Standard library only."""
