"""Folders on disk: the folder of a run, its checkpoints, and the cache."""
