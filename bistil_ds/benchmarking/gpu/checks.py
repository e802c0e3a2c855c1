"""Part (b): try every family of kernels in every dtype against float64, at sizes of XLM-R-base."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext

import torch

from bistil_ds.benchmarking.gpu.setting import Emit, Setting, Skip

DTYPES = (torch.bfloat16, torch.float32, torch.float16)  # the dtype of most runs first


def measure(setting: Setting, emit: Emit) -> None:
    """Emit a finding for each dtype and family: the complaint, or None if the family is as exact as PyTorch.

    In a rehearsal, Triton's interpreter runs the kernels, in one dtype.
    """
    if setting.rehearsal:
        os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is first imported, which is below
    from bistil_kernels.runtime.choice import has_triton
    from bistil_kernels.runtime.dispatch import taking_cpu_tensors
    from bistil_kernels.self_check import CHECKS, SMALL, XLMR_BASE, complaint_of

    if not has_triton():
        raise Skip("triton is not installed")
    dtypes, sizes = ((torch.float32,), SMALL) if setting.rehearsal else (DTYPES, XLMR_BASE)
    with taking_cpu_tensors() if setting.rehearsal else nullcontext():
        for dtype in dtypes:
            for family in CHECKS:
                setting.check_time()
                begun = time.perf_counter()
                complaint = complaint_of(family, setting.device, dtype, sizes)
                finding = {"family": family, "dtype": str(dtype).removeprefix("torch."), "complaint": complaint}
                emit.finding({**finding, "seconds": time.perf_counter() - begun})
