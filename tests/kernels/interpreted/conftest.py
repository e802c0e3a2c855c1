"""These tests run the Triton kernels on the CPU. Triton must be told before it is first imported, so they are only
collected in a process started with TRITON_INTERPRET=1: `tests/kernels/test_interpreted.py` starts one for each file."""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_*.py"]
