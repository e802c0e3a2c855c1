"""Test the references of deltas beside frozen weights and of their optimizer."""

from kernel_cases.adamw import *  # noqa: F403
