"""Fixtures of the models and test files that every test of evaluation uses."""

from evaluation_files import files

__all__ = ["files"]
