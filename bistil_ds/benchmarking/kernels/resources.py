"""What each Triton kernel's machine code needs on sm_80 and sm_90, compiled ahead of time: no GPU is used.

`python benchmarks/kernel_resources.py` prints the table and writes benchmarks/results/kernel_resources.{md,json}.
"""

from __future__ import annotations

import json
import sys

from bistil_ds.benchmarking.harness.result_file import REPOSITORY, RESULTS


def main() -> None:
    """Collect the rows of every tests/kernels/test_compile_*.py."""
    sys.path.insert(0, str(REPOSITORY))
    import triton

    from tests.kernels.compiling import rows_of

    table = []
    for file in sorted((REPOSITORY / "tests" / "kernels").glob("test_compile_*.py")):
        for row in rows_of(f"tests.kernels.{file.stem}", every_form=True):
            table.append({"file": file.stem.removeprefix("test_compile_"), **row})
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
