"""Gradients computed in forward meet their upstream gradient: in place, and not touched at all where that is one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bistil_kernels.triton_hidden_state import _may_be_overwritten


def scaled(
    gradients: Sequence[Tensor], factors: Tensor, upstream: Tensor, dtypes: Sequence[torch.dtype]
) -> Sequence[Tensor]:
    """`gradients[i] · factors[i] · upstream[i]` in `dtypes[i]`; factors and upstream fp32 [P] on the device."""
    if _may_be_overwritten(gradients[0]) and [x.dtype for x in gradients] == list(dtypes):
        torch.ops.bistil_kernels.scale_gradients_(gradients, factors, upstream)
        return gradients
    return torch.ops.bistil_kernels.scale_gradients(gradients, factors, upstream, [x == torch.float16 for x in dtypes])
