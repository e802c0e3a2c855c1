"""Reading and writing a few positions."""

from kernel_cases.entries import *  # noqa: F403
