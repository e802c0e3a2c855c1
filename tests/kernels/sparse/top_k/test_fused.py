"""Test `top_k_delta` with Triton kernels: the cases of the reference."""

from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401
from kernel_cases.top_k import *  # noqa: F403
