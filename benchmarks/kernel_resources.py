"""What each Triton kernel's machine code needs on sm_80 and sm_90, compiled ahead of time: no GPU is used.

`python benchmarks/kernel_resources.py` prints the table and writes benchmarks/results/kernel_resources.{md,json}.
"""

from __future__ import annotations

import json
from pathlib import Path

from bistil_kernels.compile import OPERATIONS, rows

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Collect the rows of every operation, print and write them."""
    import triton

    table = [{"operation": one, **row} for one in OPERATIONS for row in rows(one, every_form=True)]
    columns = list(dict.fromkeys(key for row in table for key in row))
    lines = ["| " + " | ".join(name.replace("_", " ") for name in columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(key, "")) for key in columns) + " |" for row in table]
    versions = f"Compiled with Triton {triton.__version__}; registers a thread, shared bytes a program, wide moves:"
    versions += " global loads and stores of 16 bytes."
    text = "\n".join(["# Resources of the Triton kernels", "", versions, "", *lines, ""])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "kernel_resources.md").write_text(text)
    record = {"triton": triton.__version__, "rows": table}
    (RESULTS / "kernel_resources.json").write_text(json.dumps(record, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
