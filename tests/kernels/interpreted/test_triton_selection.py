"""`top_k_delta` as Triton kernels: what holds for the reference."""

from tests.kernels.test_selection import *  # noqa: F403
from tests.kernels.triton_on_cpu import _triton_serves_the_cpu  # noqa: F401
