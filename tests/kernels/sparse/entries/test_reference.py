"""Test the references of reading and writing a few entries."""

from kernel_cases.entries import *  # noqa: F403
