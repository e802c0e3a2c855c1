"""Formats of task data for the fuzz test: makers of random valid files, writers, and simple readers."""
