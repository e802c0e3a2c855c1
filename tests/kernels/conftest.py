"""Each `test_fused.py` runs Triton kernels on the CPU. Triton must be told before it is first imported, so these files
are only collected in a process started with TRITON_INTERPRET=1: `test_interpreted.py` starts one for each of them."""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_fused.py", "**/test_fused.py"]
