"""Round and multiply alike on a GPU and under Triton's interpreter.

Without this module the interpreter truncates fp32 to bf16, where a GPU rounds, and multiplies bf16 matrices as
integers.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """Return fp32 `x` in `dtype`, rounded to nearest, ties to even."""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        x = (bits + 0x7FFF + ((bits >> 16) & 1)).to(tl.float32, bitcast=True)
    return x.to(dtype)


@triton.jit
def product(a, b):
    """Return `a @ b` in fp32, for matrices of one dtype, accumulated in fp32; TF32 is never used."""
    if INTERPRETED:  # in float64, because BLAS sums transposes in another order, which would change fp32 results
        return tl.dot(a.to(tl.float64), b.to(tl.float64), out_dtype=tl.float64).to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")
