"""Test that importing a package does not import Triton."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["bistil_kernels", "bistil_ds"])
def test_importing_a_package_imports_no_triton(package: str) -> None:
    program = f"import sys, {package}; print(sorted(x for x in sys.modules if x.partition('.')[0] == 'triton'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
