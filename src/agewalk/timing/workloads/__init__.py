"""What an experiment runs: its host, and the programs of its threads."""
