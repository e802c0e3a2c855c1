"""Folders on disk: a run's folder, its record, checkpoints and seals, and the cache."""
