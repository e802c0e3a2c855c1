"""Benchmark zero-shot transfer by running the commands that a user types."""
