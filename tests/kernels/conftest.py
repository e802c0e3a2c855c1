"""Collect each `test_fused.py` only in a process that was started with TRITON_INTERPRET=1.

These files run Triton kernels on the CPU, and Triton reads the variable when it is first imported.
`test_interpreted.py` starts the processes.
"""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_fused.py", "**/test_fused.py"]
