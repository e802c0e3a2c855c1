"""Collect each `test_fused.py` only in a process that was started with TRITON_INTERPRET=1.

These files run Triton kernels on the CPU, and Triton reads the variable when it is first imported.
`test_interpreted.py` starts the processes.
"""

import os

from kernel_cases.patch_once import patch_language_once

is_interpreted = os.environ.get("TRITON_INTERPRET") == "1"
collect_ignore_glob = [] if is_interpreted else ["test_fused.py", "**/test_fused.py"]
if is_interpreted:
    patch_language_once()
