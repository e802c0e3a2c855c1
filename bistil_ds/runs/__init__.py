"""Folders on disk: that of a run, its checkpoints, and the cache."""
