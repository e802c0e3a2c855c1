"""Estimate the time, memory and disk space of a run: arithmetic, timing of the first steps, table of a dry run."""
