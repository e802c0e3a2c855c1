"""A folder on disk: a run's, its checkpoints, and the cache."""
