"""Pictures of a run: charts and a timeline for Perfetto."""
