"""Fixtures of sparse training: silent model loading, the folder of a tiny base model, and a whole run on it."""

from sparse_material import base, quiet, run

__all__ = ["base", "quiet", "run"]
