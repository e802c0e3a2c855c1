"""Fixtures of training: silent model loading and the folder of a tiny base model."""

from sparse_material import base, quiet

__all__ = ["base", "quiet"]
