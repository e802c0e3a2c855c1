"""Benchmarks: one folder for each, and the harness that they share."""
