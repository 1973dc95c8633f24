"""What replays one job: the compiled engine, the direct executor, the baselines that see every access."""
