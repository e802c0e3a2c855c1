"""Part (b): try every family of kernels in every dtype against float64, at sizes of XLM-R-base.

As a program (`python -m`), this module prints the findings of a rehearsal, one JSON object a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from bistil_kernels.runtime.choice import has_triton
from bistil_kernels.runtime.dispatch import taking_cpu_tensors
from bistil_kernels.self_check import CHECKS, XLMR_BASE, Sizes, complaint_of

from bistil_ds.benchmarking.gpu.setting import Emit, Finding, Setting, Skip
from bistil_ds.runs.bounded import load_json

DTYPES = (torch.bfloat16, torch.float32, torch.float16)  # the dtype of most runs first
TOY = Sizes((2, 8, 16), (1, 20, 1, 16), (6, 40, 16), ((7, 5), (40,)))


def measure(setting: Setting, emit: Emit) -> None:
    """Emit a finding for each dtype and family: the complaint, or None if the family is as exact as PyTorch.

    Raises:
        Skip: Triton is not installed.
    """
    if not has_triton():
        raise Skip("triton is not installed")
    for finding in _interpreted() if setting.rehearsal else findings(setting.device, DTYPES, XLMR_BASE):
        emit.finding(finding)
        setting.check_time()


def findings(device: torch.device, dtypes: Sequence[torch.dtype], sizes: Sizes) -> Iterator[Finding]:
    """Yield the finding of each family in each dtype."""
    for dtype in dtypes:
        for family in CHECKS:
            begun = time.perf_counter()
            complaint = complaint_of(family, device, dtype, sizes)
            finding = {"family": family, "dtype": str(dtype).removeprefix("torch."), "complaint": complaint}
            yield {**finding, "seconds": time.perf_counter() - begun}


def _interpreted() -> Iterator[Finding]:
    """Yield the findings of toy cases in fp32, which Triton's interpreter runs in a process of its own.

    Triton reads TRITON_INTERPRET when it is first imported, and transformers has imported it in this process.
    """
    with TemporaryDirectory() as folder:
        found = Path(folder, "findings.json")
        words = [sys.executable, "-m", "bistil_ds.benchmarking.gpu.checks", str(found)]
        subprocess.run(words, env={**os.environ, "TRITON_INTERPRET": "1"}, check=True)
        yield from load_json(found)


def main(output: str) -> None:
    """Write the findings of a rehearsal to a JSON file; TRITON_INTERPRET=1 must be set."""
    with taking_cpu_tensors():
        found = list(findings(torch.device("cpu"), (torch.float32,), TOY))
    Path(output).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
