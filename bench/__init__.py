"""Published benchmarks: `make bench`, `make bench-smoke`. Each module has `run(smoke) -> dict` and prints as it goes."""
