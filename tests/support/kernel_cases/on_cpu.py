"""A fixture for tests under Triton's interpreter: the public functions run their Triton kernels on CPU tensors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bistil_kernels.runtime.dispatch import taking_cpu_tensors


@pytest.fixture(autouse=True)
def _triton_serves_the_cpu() -> Iterator[None]:
    with taking_cpu_tensors():
        yield
