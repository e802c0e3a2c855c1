"""Fixtures of sparse training: quiet models and the folder of a tiny base."""

from sparse_material import base, quiet

__all__ = ["base", "quiet"]
