"""Check a run's flags before it starts: which have an effect, which fit together, which may change on resuming."""
