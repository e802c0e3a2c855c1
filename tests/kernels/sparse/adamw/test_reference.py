"""Deltas beside frozen weights, and their optimizer."""

from kernel_cases.adamw import *  # noqa: F403
