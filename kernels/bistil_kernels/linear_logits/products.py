"""Matrix products of the two linear heads: by cuBLAS, accumulated in fp32, into memory that the caller allocated."""

from __future__ import annotations

import torch
from torch import Tensor


def multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write a @ b to `out`, which is fp32."""
    if out.is_meta:  # nothing to compute, and torch 2.11 does not know `out_dtype` on the meta device
        return
    if a.dtype == b.dtype != torch.float32 and not a.is_cpu:
        torch.mm(a, b, out_dtype=torch.float32, out=out)
    else:
        torch.mm(a.float(), b.float(), out=out)


def add_product(total: Tensor, a: Tensor, b: Tensor, factor: float, first: bool) -> None:
    """Add factor · (a @ b) to `total`; if `first`, replace what `total` holds.

    If `total` is not fp32, call this only once for each `total`, so that the sum is rounded once. cuBLAS may still
    split a bf16 sum and round its parts, if the program allows reductions in bf16, as torch does by default.
    """
    if total.is_meta:
        return
    beta = 0.0 if first else 1.0
    if a.dtype == b.dtype == total.dtype and not (a.is_cpu and a.dtype != torch.float32):
        total.addmm_(a, b, beta=beta, alpha=factor)
    elif total.dtype != torch.float32:
        total.copy_(torch.mm(a.float(), b.float()).mul_(factor))
    elif a.dtype == b.dtype and not a.is_cpu:
        torch.addmm(total, a, b, out_dtype=torch.float32, beta=beta, alpha=factor, out=total)
    else:
        total.addmm_(a.float(), b.float(), beta=beta, alpha=factor)
